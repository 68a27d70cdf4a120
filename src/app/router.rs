//! `wharf router`: one router process, or one of the routers of `wharf up`.
//!
//! [`start`] binds the listeners, starts the workers and the control tasks, and returns once
//! everything is bound; [`Router::finish`] runs the stop. Control tasks live in a `JoinSet` that the
//! handle owns.

mod admin;
mod client_auth;
mod control;
mod data;
mod default_cert;
mod descriptors;
mod dns;
mod files;
mod followed;
mod memory;
mod pace;
mod pages;
mod sampler;
mod service_ca;

use std::{net::SocketAddr, sync::Arc, time::Duration};

pub use self::control::{compiler, host_suffix};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::files::Files;
use super::{bind, dns::Answering, node_health};
use crate::{
    admin::{self as admin_port, readiness::Readiness},
    compile::Compiler,
    drain::Drain,
    model::objects::Objects,
    proxy::stats::RouterStats,
    settings::{RouterSettings, env::Config},
    snapshot::Live,
    source::{
        directory::Directory,
        watch::{self as manifests, Update},
    },
    zone::Zone,
};

/// A running router.
#[derive(Debug)]
pub struct Router {
    /// Where plain HTTP is served, in the order of the settings.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// Where the admin port is.
    pub admin: SocketAddr,
    /// Where DNS is served, if it is.
    pub dns: Option<SocketAddr>,
    /// Where the node's health is answered, if it is.
    pub node_health: Option<SocketAddr>,
    /// The snapshot that serves now.
    pub live: Arc<Live>,
    /// Counters of the process.
    pub stats: Arc<RouterStats>,
    drain: Drain,
    readiness: Arc<Readiness>,
    settings: Arc<RouterSettings>,
    data: data::DataPath,
    control: JoinSet<()>,
    cancel: CancellationToken,
}

/// Starts a router whose DNS server, if it has one, answers the cluster's names alone. `extra` are
/// objects beside those of the manifests (`wharf up` puts the slices of its pods there).
///
/// # Errors
/// When a port cannot be bound or the default certificate cannot be used; the text says what to do.
pub async fn start(settings: RouterSettings, extra: Objects) -> anyhow::Result<Router> {
    start_with(settings, extra, Answering::default()).await
}

/// [`start`] with a DNS server that answers as `answering` says.
///
/// # Errors
/// Those of [`start`]; or names cannot be forwarded as it says.
pub async fn start_with(
    mut settings: RouterSettings,
    extra: Objects,
    answering: Answering,
) -> anyhow::Result<Router> {
    fit(&mut settings);
    let settings = Arc::new(settings);
    let (http, http_at) = bind::closed_tcp_all(&settings.http)?;
    let (https, https_at) = bind::closed_tcp_all(&settings.https)?;
    let port = bind::tokio_tcp(settings.admin)?;
    let admin_at = port.local_addr()?;
    let (mut compiler, files, clients) = prepare(&settings)?;
    compiler.set_zone_options(answering.zone.clone());
    let live = Arc::new(Live::from_pointee(Compiler::empty()));
    let stats = Arc::new(RouterStats::new(settings.workers));
    let readiness = Arc::new(Readiness::default());
    let drain = Drain::default();
    let cancel = CancellationToken::new();
    let synced = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    let suffix = host_suffix(&settings);
    let directory = Directory::new(settings.manifests.clone(), suffix);
    tasks.spawn(manifests::watch(directory, updates, cancel.clone()));
    let zone = Arc::new(ArcSwap::from_pointee(Zone::default()));
    let (check, checked) = watch::channel(Arc::default());
    let tls = admin::Tls::open(&settings.admin_port)?;
    let plain = http_at.first().copied().context("there is no plain port")?;
    let state = admin::state(&settings, plain, &live, &stats, &readiness, tls.as_ref())?;
    if let Some(tls) = tls {
        tasks.spawn(tls.follow(cancel.clone()));
    }
    tasks.spawn(sampler::run(Arc::clone(&live), Arc::clone(&stats), cancel.clone()));
    let listeners = Arc::new(data::Listeners { http, https });
    if !settings.bind_after_sync {
        listeners.open()?;
    }
    let clients = control::follow_clients(&mut tasks, &mut compiler, clients, &cancel);
    let publisher = control::Publisher {
        admin: Arc::clone(&state),
        compiler,
        files,
        settings: Arc::clone(&settings),
        live: Arc::clone(&live),
        zone: Arc::clone(&zone),
        readiness: Arc::clone(&readiness),
        closed: Some(Arc::clone(&listeners)),
        synced: synced.clone(),
        checked: check,
        clients,
        extra,
    };
    control::spawn(&mut tasks, publisher, changed, checked, &cancel);

    let data = data::DataPath::start(&listeners, &live, &settings, &stats, &drain, &synced)?;
    readiness.set_listening();
    tasks.spawn(admin_port::serve(port, state, cancel.clone()));
    let dns = match settings.dns {
        Some(address) => Some(dns::spawn(&mut tasks, address, (zone, answering), &stats, &cancel)?),
        None => None,
    };
    let node_health = match settings.node_health {
        Some(address) => {
            let service = &settings.node_health_service;
            let asked = Arc::clone(&readiness);
            let health = Arc::new(move || node_health::NodeHealth {
                endpoints: asked.is_ready().into(),
                healthy: true,
            });
            Some(node_health::spawn(&mut tasks, address, service, health, &cancel)?)
        },
        None => None,
    };
    Ok(Router {
        http: http_at,
        https: https_at,
        admin: admin_at,
        dns,
        node_health,
        live,
        stats,
        drain,
        readiness,
        settings,
        data,
        control: tasks,
        cancel,
    })
}

/// Lowers what the limits of the system do not allow.
fn fit(settings: &mut RouterSettings) {
    descriptors::fit(settings);
    memory::fit(settings);
}

/// Reads what a start would read, and binds nothing: the settings as the router would run with them.
///
/// # Errors
/// Those of [`start`], but for ports.
pub fn check(mut config: Config) -> anyhow::Result<Config> {
    config.adjust("limits of the system", fit);
    prepare(&Arc::new(config.settings.clone()))?;
    Ok(config)
}

/// What a compiler needs, read in the order of [START-1]: anything wrong stops the start.
fn prepare(
    settings: &Arc<RouterSettings>,
) -> anyhow::Result<(Compiler, Files, Option<client_auth::Source>)> {
    let files = Files::open(settings)?;
    let mut compiler = compiler(settings)?;
    files.hand_over(&mut compiler);
    let clients = client_auth::Source::open(&settings.tls, compiler.provider())?;
    Ok((compiler, files, clients))
}

impl Drop for Router {
    /// A handle that is let go without [`Router::finish`] takes its workers with it.
    fn drop(&mut self) {
        self.drain.kill();
        self.cancel.cancel();
    }
}

impl Router {
    /// The stop of reliability.md 2.2: not ready at once, accept until the drain delay is over, then
    /// finish what runs within the grace, or within ROUTER_HARD_STOP_AFTER where that is shorter. Returns
    /// when everything has ended.
    pub async fn finish(mut self) {
        let timeouts = self.settings.timeouts;
        self.readiness.set_draining();
        self.drain.begin();
        tracing::info!(delay = ?timeouts.drain_delay, grace = ?timeouts.drain_grace, "draining");
        tokio::time::sleep(timeouts.drain_delay).await;
        self.drain.stop();
        let grace = timeouts
            .hard_stop
            .map_or(timeouts.drain_grace, |hard_stop| hard_stop.min(timeouts.drain_grace));
        if tokio::time::timeout(grace, self.data.ended()).await.is_err() {
            tracing::warn!("the grace is over, closing what is left");
        }
        self.drain.kill();
        if tokio::time::timeout(KILL, self.data.ended()).await.is_err() {
            tracing::error!("a worker did not end");
        }
        self.cancel.cancel();
        self.control.shutdown().await;
    }

    /// Waits until the first objects are served, for at most `limit`.
    ///
    /// # Errors
    /// When that takes longer.
    pub async fn ready(&self, limit: Duration) -> anyhow::Result<()> {
        let ready = async {
            while !self.readiness.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, ready).await.context("the router did not become ready")
    }
}

/// How long workers may take to end once everything is to be closed.
const KILL: Duration = Duration::from_secs(2);

/// Runs one router until a signal stops it.
///
/// # Errors
/// Those of [`start`].
pub async fn run(
    settings: RouterSettings,
    dns: Answering,
) -> anyhow::Result<std::process::ExitCode> {
    let mut signals = super::signal::Signals::new()?;
    let router = start_with(settings, Objects::default(), dns).await?;
    let (http, https) = (bind::shown(&router.http), bind::shown(&router.https));
    let dns = router.dns.map(tracing::field::display);
    tracing::info!(%http, %https, admin = %router.admin, dns, "listening");
    signals.stop().await;
    let stop = async {
        router.finish().await;
        Ok(())
    };
    signals.unless_again(stop).await
}
