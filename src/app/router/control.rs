//! The control side of a router: manifests to snapshots, resolved names, health checks.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{client_auth, data::Listeners, default_cert, files::Files, pace::Pace};
use crate::{
    admin::{AdminState, readiness::Readiness},
    app::findings::log_new,
    compile::Compiler,
    dns::resolver::{self, Resolver},
    model::objects::Objects,
    probe,
    settings::RouterSettings,
    snapshot::{Check, Live, Snapshot},
    source::watch::Update,
    tls::{server::Profile, suites::Dropped},
    zone::{Resolved, Zone, names_to_resolve},
};

/// Suffix of generated hosts when ROUTER_DOMAIN is not set [APISRV-1].
const HOST_SUFFIX: &str = "router.default.svc.cluster.local";

/// Longest time for one active check [HC-2].
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a replaced snapshot is kept, so that its last reference is not dropped by a request.
const RETIRE: Duration = Duration::from_secs(1);

type Checks = Arc<Vec<Check>>;

/// Compiles updates and swaps the snapshots in.
pub(super) struct Publisher {
    pub(super) compiler: Compiler,
    pub(super) files: Files,
    pub(super) settings: Arc<RouterSettings>,
    pub(super) live: Arc<Live>,
    pub(super) zone: Arc<ArcSwap<Zone>>,
    pub(super) admin: Arc<AdminState>,
    pub(super) readiness: Arc<Readiness>,
    /// What opens with the first snapshot; not kept, since a stop closes the workers' copies [PIPE-2].
    pub(super) closed: Option<Arc<Listeners>>,
    /// Done once the first snapshot serves.
    pub(super) synced: CancellationToken,
    pub(super) checked: watch::Sender<Checks>,
    /// Client certificates, as they are in force.
    pub(super) clients: watch::Receiver<Arc<client_auth::State>>,
    pub(super) extra: Objects,
}

/// Suffix of generated hosts [APISRV-1].
#[must_use]
pub fn host_suffix(settings: &RouterSettings) -> String {
    if settings.domain.is_empty() { HOST_SUFFIX.to_owned() } else { settings.domain.clone() }
}

/// A compiler with the default certificate of `settings` [DCERT-1].
///
/// # Errors
/// When the certificate cannot be read or used.
pub fn compiler(settings: &Arc<RouterSettings>) -> anyhow::Result<Compiler> {
    let profile = Profile::new(&settings.tls).context("cannot set up TLS")?;
    for Dropped { setting, word, why } in profile.dropped() {
        tracing::warn!(setting, word, "left out: it {why}");
    }
    let texts = default_cert::texts(settings)?;
    Compiler::new(Arc::clone(settings), profile, (&texts.certificate, &texts.key))
        .context("the default certificate cannot be used")
}

/// Follows what client certificates are verified with, if they are, and puts the present state into
/// `compiler`.
pub(super) fn follow_clients(
    tasks: &mut JoinSet<()>,
    compiler: &mut Compiler,
    source: Option<client_auth::Source>,
    cancel: &CancellationToken,
) -> watch::Receiver<Arc<client_auth::State>> {
    let Some(source) = source else { return watch::channel(Arc::default()).1 };
    let state = source.state();
    if let Some(auth) = &state.auth {
        compiler.set_client_auth(Arc::clone(auth));
    }
    let (publish, clients) = watch::channel(Arc::new(state));
    tasks.spawn(source.follow(publish, cancel.clone()));
    clients
}

/// Starts the control tasks.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    publisher: Publisher,
    updates: watch::Receiver<Arc<Update>>,
    checked: watch::Receiver<Checks>,
    cancel: &CancellationToken,
) {
    let (want, wanted) = watch::channel(BTreeSet::new());
    let (publish, resolved) = watch::channel(Arc::new(Resolved::new()));
    match Resolver::system() {
        Ok(resolver) => {
            let resolver = Arc::new(resolver);
            tasks.spawn(resolver::keep_resolved(resolver, wanted, publish, cancel.clone()));
        },
        Err(error) => tracing::warn!(%error, "names outside the cluster are not resolved"),
    }
    tasks.spawn(probe::run_checks(checked, CHECK_TIMEOUT, cancel.clone()));
    let clients = publisher.clients.clone();
    let inputs = Inputs { updates, resolved, clients };
    tasks.spawn(publish_updates(publisher, inputs, want, cancel.clone()));
}

/// What makes a new snapshot.
struct Inputs {
    updates: watch::Receiver<Arc<Update>>,
    resolved: watch::Receiver<Arc<Resolved>>,
    clients: watch::Receiver<Arc<client_auth::State>>,
}

/// One snapshot for each update of the manifests, of the resolved names, of the files beside the
/// manifests, or of what client certificates are verified with; for several, where RELOAD_INTERVAL holds
/// them back.
async fn publish_updates(
    mut publisher: Publisher,
    mut inputs: Inputs,
    want: watch::Sender<BTreeSet<Arc<str>>>,
    cancel: CancellationToken,
) {
    let mut retired: VecDeque<(Instant, Arc<Snapshot>)> = VecDeque::new();
    let mut tick = tokio::time::interval(RETIRE);
    let mut first = true;
    let mut pace = Pace::new(publisher.settings.reload_interval);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            change = inputs.updates.changed() => if change.is_err() { return },
            Ok(()) = inputs.resolved.changed() => if first { continue },
            Ok(()) = inputs.clients.changed() => if first { continue },
            () = pace.due() => {},
            _ = tick.tick() => {
                while retired.front().is_some_and(|(since, _)| since.elapsed() >= RETIRE) {
                    retired.pop_front();
                }
                let Publisher { files, compiler, .. } = &mut publisher;
                // A mounted folder may be slow.
                if first || !tokio::task::block_in_place(|| files.look(compiler)) {
                    continue;
                }
            },
        }
        first = false;
        if !pace.change(tokio::time::Instant::now()) {
            continue;
        }
        let update = Arc::clone(&inputs.updates.borrow_and_update());
        let names = Arc::clone(&inputs.resolved.borrow_and_update());
        let compile = || publisher.publish(&update, &names, &want);
        // A panic costs this one update: what serves goes on serving, the next change tries again.
        match tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(compile))) {
            Ok(old) => retired.push_back((Instant::now(), old)),
            Err(_panic) => {
                tracing::error!(
                    "compiling the configuration panicked; the last snapshot serves on"
                );
                publisher.admin.extra.applied(Duration::ZERO, true);
            },
        }
    }
}

impl Publisher {
    /// Puts a new state of client certificates in force.
    fn take_clients(&mut self) -> Arc<client_auth::State> {
        let is_new = self.clients.has_changed().unwrap_or(false);
        let state = Arc::clone(&self.clients.borrow_and_update());
        if let Some(auth) = state.auth.as_ref().filter(|_| is_new) {
            self.compiler.set_client_auth(Arc::clone(auth));
        }
        state
    }

    /// Compiles and swaps; returns the snapshot that served before.
    fn publish(
        &mut self,
        update: &Update,
        resolved: &Resolved,
        want: &watch::Sender<BTreeSet<Arc<str>>>,
    ) -> Arc<Snapshot> {
        let start = Instant::now();
        let mut objects = update.objects.clone();
        objects.extend(&self.extra);
        let names = names_to_resolve(
            &objects,
            &self.settings.cluster_domain,
            self.settings.resolve_external_names,
        );
        want.send_if_modified(|old| {
            let changed = *old != names;
            *old = names;
            changed
        });
        let mut findings = update.findings.clone();
        findings.extend(self.files.findings().cloned());
        findings.extend_from_slice(&self.take_clients().findings);
        let compiling = Instant::now();
        let snapshot = self.compiler.compile(&objects, resolved, findings, SystemTime::now());
        self.admin.extra.compiled(compiling.elapsed());
        let admitted = snapshot.routes.iter().filter(|route| route.compiled.is_some()).count();
        tracing::info!(
            generation = snapshot.generation,
            routes = snapshot.routes.len(),
            admitted,
            findings = snapshot.findings.len(),
            took = ?start.elapsed(),
            "snapshot published"
        );
        self.zone.store(Arc::clone(&snapshot.zone));
        let checked = Arc::new(snapshot.checked.clone());
        let snapshot = Arc::new(snapshot);
        let old = self.live.swap(Arc::clone(&snapshot));
        log_new(&old.findings, &snapshot.findings);
        self.set_synced();
        self.admin.extra.applied(start.elapsed(), false);
        self.checked.send_replace(checked);
        old
    }

    /// Ready is said behind open ports.
    fn set_synced(&mut self) {
        match self.closed.take().map_or(Ok(()), |listeners| listeners.open()) {
            Ok(()) => {
                self.readiness.set_synced();
                self.synced.cancel();
            },
            Err(error) => tracing::error!(%error, "the traffic ports cannot be opened"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// [DCERT-2]: for the router's domain or localhost, about ten years.
    #[test]
    fn the_default_is_self_signed_for_the_domain() {
        for (domain, name) in [("", "localhost"), ("apps.example.com", "*.apps.example.com")] {
            let settings =
                RouterSettings { domain: domain.to_owned(), ..RouterSettings::default() };
            let mut compiler = compiler(&Arc::new(settings)).unwrap();
            let now = SystemTime::now();
            let snapshot = compiler.compile(&Objects::default(), &Resolved::new(), Vec::new(), now);
            let certs = snapshot.certs.describe();
            assert_eq!(certs.len(), 1);
            assert_eq!(certs[0].source, "default");
            assert_eq!(certs[0].subject, "CN=openshift-router");
            assert!(certs[0].names.iter().any(|have| have == name), "{:?}", certs[0].names);
            let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let days = (certs[0].not_after - i64::try_from(now).unwrap()) / 86_400;
            assert!((3648..=3650).contains(&days), "{days}");
        }
    }
}
