//! The data path's threads: one current-thread runtime for each worker.

use std::{net::TcpListener as StdListener, rc::Rc, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    drain::Drain,
    net::{clock, listen},
    proxy::{
        entry,
        record::{Frontend, LogSender},
        stats::RouterStats,
        worker::Worker,
    },
    settings::RouterSettings,
    snapshot::Live,
    telemetry::access,
};

/// Batches of log records that may wait for the writer.
const LOG_BATCHES: usize = 1024;

/// How often a stopping worker looks whether its last connection has ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How often it looks again after everything was to be closed.
const KILL_POLLS: u32 = 25;

/// The traffic listeners.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) http: Vec<StdListener>,
    pub(super) https: Vec<StdListener>,
}

impl Listeners {
    /// Lets connections come; once more changes nothing.
    ///
    /// # Errors
    /// Another process listens there since the ports were bound.
    pub(super) fn open(&self) -> std::io::Result<()> {
        self.http.iter().chain(&self.https).try_for_each(listen::open)
    }

    /// A copy of each descriptor, with the frontend that it belongs to.
    fn copies(&self) -> std::io::Result<Vec<(Frontend, StdListener)>> {
        let plain = self.http.iter().map(|listener| (Frontend::Public, listener));
        let secure = self.https.iter().map(|listener| (Frontend::PublicSsl, listener));
        plain.chain(secure).map(|(kind, listener)| Ok((kind, listener.try_clone()?))).collect()
    }
}

/// The running workers.
#[derive(Debug)]
pub(super) struct DataPath {
    /// Closed when the last worker has ended; nothing is ever sent.
    ended: mpsc::Receiver<()>,
}

impl DataPath {
    /// Starts the workers. Each gets its own copy of all listening descriptors, and accepts from the
    /// moment that `synced` is done: until then connections wait in the kernel's queue.
    pub(super) fn start(
        listeners: &Listeners,
        live: &Arc<Live>,
        settings: &Arc<RouterSettings>,
        stats: &Arc<RouterStats>,
        drain: &Drain,
        synced: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (alive, ended) = mpsc::channel(1);
        let slots = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
        let log =
            settings.access_log.then(|| start_log(alive.clone(), settings, stats)).transpose()?;
        for index in 0..settings.workers {
            let listeners = listeners.copies()?;
            let (live, settings, stats) =
                (Arc::clone(live), Arc::clone(settings), Arc::clone(stats));
            let (drain, slots, alive, log) =
                (drain.clone(), Arc::clone(&slots), alive.clone(), log.clone());
            let synced = synced.clone();
            let seed = seed(index);
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let make = || Worker::new(index, live, settings, stats, drain, log, seed);
                    if let Err(error) = serve(make, listeners, slots, synced) {
                        tracing::error!(index, %error, "a worker could not run");
                    }
                    drop(alive);
                })
                .context("cannot start a worker thread")?;
        }
        Ok(Self { ended })
    }

    /// Returns when the last worker has ended.
    pub(super) async fn ended(&mut self) {
        let _closed = self.ended.recv().await;
    }
}

/// The writer ends when the last worker has dropped its sender; `alive` lasts until what was queued
/// is written.
fn start_log(
    alive: mpsc::Sender<()>,
    settings: &RouterSettings,
    stats: &Arc<RouterStats>,
) -> anyhow::Result<LogSender> {
    let (sender, records) = std::sync::mpsc::sync_channel(LOG_BATCHES);
    let out = Attended { out: std::io::stdout(), _alive: alive };
    access::spawn_writer(records, settings.log.clone(), out, Arc::clone(stats))
        .context("cannot start the access log")?;
    Ok(sender)
}

/// A writer whose end can be waited for.
struct Attended<W> {
    out: W,
    _alive: mpsc::Sender<()>,
}

impl<W: std::io::Write> std::io::Write for Attended<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Seed of a worker's random numbers: from the system, so that replicas differ.
fn seed(index: usize) -> u64 {
    use std::hash::BuildHasher;
    std::collections::hash_map::RandomState::new().hash_one(index)
}

/// The life of one worker's thread.
fn serve(
    make: impl FnOnce() -> Rc<Worker>,
    listeners: Vec<(Frontend, StdListener)>,
    slots: Arc<Semaphore>,
    synced: CancellationToken,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(clock::forget)
        .on_thread_unpark(clock::forget)
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = make();
        tokio::select! {
            () = synced.cancelled() => {},
            () = worker.drain.stopped.cancelled() => return Ok(()),
        }
        // These tasks end with the runtime, below.
        tokio::task::spawn_local(Rc::clone(&worker).housekeeping());
        tokio::task::spawn_local(Rc::clone(&worker.stages).follow(worker.drain.clone()));
        for (frontend, listener) in listeners {
            let listener = TcpListener::from_std(listener)?;
            let (worker, slots) = (Rc::clone(&worker), Arc::clone(&slots));
            tokio::task::spawn_local(entry::accept(worker, listener, frontend, slots));
        }
        worker.drain.stopped.cancelled().await;
        while worker.busy() > 0 && !worker.drain.killed.is_cancelled() {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        // What was killed ends by itself, and says so in its record.
        for _ in 0..KILL_POLLS {
            if worker.busy() == 0 {
                break;
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        worker.flush();
        Ok(())
    })
}
