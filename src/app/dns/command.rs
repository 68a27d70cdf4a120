//! `wharf dns`: manifests to a served zone, until a signal.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    DnsOptions, ZoneService, bind_group, forwarder, log,
    pages::{self, Ports, Shown},
    serve_logged,
};
use crate::{
    app::signal::Signals,
    dns::{log::Classes, stats::DnsStats},
    model::objects::Objects,
    net::footprint,
    source::{
        directory::Directory,
        watch::{self as manifests, Update},
    },
    task::workers::Workers,
    telemetry::dns::DnsMetrics,
    zone::ZoneOptions,
};

/// Time for the last lines of the query log to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Time for the zone of a change to be built, and for the next change of many to come.
const ZONE_TIME: Duration = Duration::from_millis(500);

/// How the process of `wharf dns` serves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serving {
    /// Threads that answer, each with a socket for datagrams of its own; one at least.
    pub workers: usize,
    /// Ports that tell how it is.
    pub ports: Ports,
    /// Answers of which a line is written to standard output.
    pub log: Option<Classes>,
    /// How long it goes on serving after the signal to stop, no longer ready.
    pub lameduck: Duration,
}

/// Runs the DNS server of `options` until a signal stops it.
///
/// # Errors
/// When an address cannot be bound, or the forwarders cannot be used.
pub async fn run(options: DnsOptions, serving: Serving) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let loops = serving.workers.max(1);
    let workers = Workers::start(loops).context("cannot start the workers")?;
    let sockets = bind_group(options.listen, loops, workers)?;
    let address = sockets.udp.local_addr()?;
    tracing::info!(%address, "listening");
    let stats = Arc::new(DnsStats::new(loops));
    let service = ZoneService {
        sockets,
        domain: options.cluster_domain.clone(),
        options: ZoneOptions { server_id: host_name(), ..options.answering.zone },
        forward: forwarder(&options.answering.forwarding, options.listen)?,
        stats: Arc::clone(&stats),
        settings: options.answering.forwarding.settings,
    };
    let forwards = service.forward.iter().flat_map(|_resolver| ["cache", "forward"]);
    let logs = serving.log.is_some().then_some("log");
    let plugins = ["kubernetes"].into_iter().chain(forwards).chain(logs);
    let plugins = plugins.chain(serving.ports.plugins()).collect();
    let (log, written) = serving.log.map(log::start).transpose()?.unzip();
    let metrics = DnsMetrics::new(Arc::clone(&stats), Some(address), plugins);
    let shown = Arc::new(Shown {
        metrics: metrics.with_log(log.clone()).with_resolver(service.forward.clone()),
        stats,
        ending: AtomicBool::new(false),
    });
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for (address, paths) in pages::spawn(&mut tasks, serving.ports, &shown, &cancel)? {
        tracing::info!(%address, ?paths, "listening");
    }
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    let (publish, objects) = watch::channel(Arc::new(Objects::default()));
    // Generated hosts do not matter to DNS: routes have no names of their own. And nothing is found wrong
    // with a Service once it is read.
    let directory = Directory::new(options.manifests, String::new()).forgetting_texts();
    tasks.spawn(manifests::watch(directory, updates, cancel.clone()));
    tasks.spawn(objects_of(changed, publish));
    tasks.spawn(let_go_of_start(objects.clone(), cancel.clone()));
    tasks.spawn(serve_logged(service, log, objects, cancel.clone()));
    signals.stop().await;
    shown.ending.store(true, Relaxed);
    let ended = async {
        tokio::time::sleep(serving.lameduck).await;
        cancel.cancel();
        while tasks.join_next().await.is_some() {}
        drop(shown);
        if let Some(written) = written {
            // A reader who stops reading does not hold up the end.
            let _late = tokio::time::timeout(LAST_LINES, written).await;
        }
        Ok(())
    };
    signals.unless_again(ended).await
}

/// Lets go of what of the program read manifests and built a zone, each time that this was done.
async fn let_go_of_start(mut objects: watch::Receiver<Arc<Objects>>, cancel: CancellationToken) {
    let work = async {
        while objects.changed().await.is_ok() {
            tokio::time::sleep(ZONE_TIME).await;
            if let Err(error) = footprint::let_go_of_program() {
                tracing::debug!(%error, "what of the program is not needed stays in memory");
                return;
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// What this machine calls itself; empty where Linux does not tell.
fn host_name() -> Arc<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().into()
}

/// Hands on the objects of each update.
async fn objects_of(
    mut updates: watch::Receiver<Arc<Update>>,
    publish: watch::Sender<Arc<Objects>>,
) {
    while updates.changed().await.is_ok() {
        let objects = updates.borrow_and_update().objects.clone();
        publish.send_replace(Arc::new(objects));
    }
}
