//! `wharf proxy`: manifests in, Services on their virtual addresses, until a signal.
//!
//! Called by `cli`. Always holds: what cannot be served is said once, and tried again at every change;
//! rules that somebody else has changed are right again within the period.

mod path;
mod ports;
mod status;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use self::{path::Mode, ports::Bind};
use self::{
    path::{Applied, Path},
    ports::HealthPorts,
    status::Status,
};
use super::{findings::log_new, signal::Signals};
use crate::{
    model::objects::Objects,
    net::descriptors,
    services::{Service, build},
    source::{
        directory::Directory,
        watch::{self as manifests, Update},
    },
};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What `wharf proxy` is asked to do.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Manifest files and directories.
    pub manifests: Vec<PathBuf>,
    /// The data path.
    pub mode: Mode,
    /// How long connections may go on after SIGTERM.
    pub grace: Duration,
    /// How often the path is looked after.
    pub period: Duration,
    /// Where `/healthz` and `/livez` are.
    pub health: Bind,
    /// Where `/metrics` is.
    pub metrics: Bind,
}

/// Serves until a signal stops it.
///
/// # Errors
/// When signals or a port that was asked for cannot be had, and when rules cannot be removed.
pub async fn run(options: ProxyOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let totals = match &options.mode {
        Mode::Userspace(vip) => Some(Arc::clone(&vip.totals)),
        Mode::Nftables { .. } => None,
    };
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let status = Arc::new(Status::new(totals));
    let mut tasks = JoinSet::new();
    ports::spawn(&mut tasks, [options.health, options.metrics], &status)?;
    let cancel = CancellationToken::new();
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    // Generated hosts do not matter here: routes are not read.
    let directory = Directory::new(options.manifests, String::new());
    let watching = tokio::spawn(manifests::watch(directory, updates, cancel.clone()));
    let mode = options.mode;
    let health = HealthPorts::new(mode.node_addresses().to_vec(), mode.node().clone(), &status);
    let mut proxy = Proxy {
        path: Path::new(mode),
        health,
        status: Arc::clone(&status),
        services: Vec::new(),
        said: BTreeSet::new(),
        is_behind: false,
        period: options.period,
    };
    tokio::select! {
        () = signals.stop() => tracing::info!("draining"),
        () = proxy.follow(changed) => {},
    }
    status.drain();
    cancel.cancel();
    let stop = async {
        proxy.path.stop(options.grace).await?;
        watching.await?;
        Ok(())
    };
    signals.unless_again(stop).await
}

/// What follows the manifests.
struct Proxy {
    path: Path,
    health: HealthPorts,
    status: Arc<Status>,
    services: Vec<Arc<Service>>,
    said: BTreeSet<String>,
    /// The last change could not be applied.
    is_behind: bool,
    period: Duration,
}

impl Proxy {
    /// Applies every update.
    async fn follow(&mut self, mut updates: watch::Receiver<Arc<Update>>) {
        let mut known = Vec::new();
        let mut ticks = tokio::time::interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once, before there is anything.
        ticks.tick().await;
        loop {
            tokio::select! {
                changed = updates.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let update = Arc::clone(&updates.borrow_and_update());
                    log_new(&known, &update.findings);
                    known.clone_from(&update.findings);
                    self.services = services(&update.objects);
                    self.status.came();
                    self.apply().await;
                },
                () = tokio::time::sleep(RETRY), if self.is_behind => self.apply().await,
                _ = ticks.tick(), if !self.is_behind => self.check().await,
            }
        }
    }

    async fn apply(&mut self) {
        let begun = Instant::now();
        self.health.update(&self.services);
        match self.path.apply(&self.services).await {
            Ok(applied) => {
                self.is_behind = false;
                self.status.applied(begun, &applied);
                self.report(applied);
            },
            Err(error) => self.fails(&error),
        }
    }

    async fn check(&mut self) {
        match self.path.check().await {
            Ok(false) => self.status.is_right(),
            Ok(true) => {
                self.status.is_right();
                tracing::info!("somebody changed the packet filter: the rules are as they were");
            },
            Err(error) => self.fails(&error),
        }
    }

    fn fails(&mut self, error: &std::io::Error) {
        self.status.failed();
        if !self.is_behind {
            tracing::error!("services are not applied, and tried again: {error}");
        }
        self.is_behind = true;
        self.status.came();
    }

    /// Says how many addresses are served, and each that is not, once.
    fn report(&mut self, applied: Applied) {
        let (services, serving) = (self.services.len(), applied.serving);
        tracing::info!(services, serving, "services applied");
        for failure in applied.failed.difference(&self.said) {
            tracing::warn!("{failure}");
        }
        self.said = applied.failed;
    }
}

/// The Services of `objects`.
fn services(objects: &Objects) -> Vec<Arc<Service>> {
    build::build(objects).into_iter().map(Arc::new).collect()
}
