//! What one data-path thread owns: its pool, its log buffer, its random numbers.
//!
//! Made by `app::router`, one for each thread; shared by that thread's connections through `Rc`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    handshake::Turns,
    record::{AccessRecord, LogSender},
    spelling::Spelling,
    stage::Stages,
    stats::RouterStats,
};
use crate::{
    drain::Drain,
    headers::actions::Actions,
    model::{grammar::action::Side, logformat::Needs},
    net::{alarm::Spare, clock},
    settings::{RouterSettings, log::Filter},
    snapshot::Live,
    upstream::{
        h1::Wire,
        pool::{Limits, Pool},
    },
};

/// Records gathered before a batch is sent early.
const LOG_BATCH: usize = 256;

/// Longest time a record waits in a worker.
const LOG_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes that the fields of most requests need, and how many such spaces are kept.
const SPACE: usize = 2048;
const SPACES: usize = 256;

/// Most clients that rate limits forget in one go, in each part of each table.
const FORGOTTEN: usize = 4096;

/// How often old pool connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// One data-path thread.
#[derive(Debug)]
pub struct Worker {
    /// Number of the worker, from 0; index of its counter cells.
    pub index: usize,
    /// The snapshot that serves now.
    pub live: Arc<Live>,
    /// Settings of the process.
    pub settings: Arc<RouterSettings>,
    /// Counters of the process.
    pub stats: Arc<RouterStats>,
    /// Idle upstream connections.
    pub pool: Pool,
    /// Timers that no request uses.
    pub alarms: Spare,
    space: RefCell<Vec<Vec<u8>>>,
    /// Stop of the process.
    pub drain: Drain,
    /// What the router itself does to every request and response.
    pub actions: RouterActions,
    /// Spelling of header names towards HTTP/1, where it is set.
    pub spelling: Option<Spelling>,
    /// Turns for TLS handshakes.
    pub handshakes: Turns,
    /// The same, as its connections see it.
    pub stages: Rc<Stages>,
    /// What its records must have for the formats that are in use.
    pub needs: Needs,
    numbers: Cell<u64>,
    filter: Option<Filter>,
    only_errors: bool,
    sampled: Cell<u32>,
    log: Option<LogSender>,
    batch: RefCell<Vec<AccessRecord>>,
    random: Cell<u64>,
    busy: Cell<usize>,
    requests: Cell<usize>,
    compressing: Cell<usize>,
}

/// Header actions of the router itself [ENV-HDR].
#[derive(Debug)]
pub struct RouterActions {
    /// On requests, before their route is looked up [ORD-1].
    pub request: Actions,
    /// On responses of pods, behind the route's own [ORD-4].
    pub response: Actions,
}

impl RouterActions {
    fn new(settings: &RouterSettings) -> Self {
        let lists = &settings.headers.actions;
        Self {
            request: Actions::compile(&lists.request, Side::Request),
            response: Actions::compile(&lists.response, Side::Response),
        }
    }
}

/// Held by a connection or tunnel while it runs.
#[derive(Debug)]
pub struct Busy(Rc<Worker>);

impl Busy {
    /// Whose it is.
    #[must_use]
    pub const fn worker(&self) -> &Rc<Worker> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

impl Worker {
    /// A worker. `seed` starts its random numbers; `log` takes its access log, if there is one.
    #[must_use]
    pub fn new(
        index: usize,
        live: Arc<Live>,
        settings: Arc<RouterSettings>,
        stats: Arc<RouterStats>,
        drain: Drain,
        log: Option<LogSender>,
        seed: u64,
    ) -> Rc<Self> {
        let needs = settings.log.needs(log.is_some());
        let filter = Some(settings.log.filter).filter(|filter| !filter.is_open());
        Rc::new(Self {
            index,
            needs,
            numbers: Cell::new(0),
            filter,
            only_errors: settings.log.only_errors(),
            sampled: Cell::new(0),
            live,
            actions: RouterActions::new(&settings),
            spelling: Spelling::new(&settings),
            handshakes: Turns::new(settings.max_handshakes),
            pool: Pool::new(
                Limits {
                    idle: settings.timeouts.pool_idle,
                    age: settings.timeouts.pool_age,
                    total: settings.pool_connections,
                },
                Wire { case: settings.header_case, max_head: settings.limits.head() },
            ),
            alarms: Spare::default(),
            space: RefCell::default(),
            settings,
            stats,
            drain,
            stages: Rc::default(),
            log,
            batch: RefCell::default(),
            random: Cell::new(seed | 1),
            busy: Cell::new(0),
            requests: Cell::new(0),
            compressing: Cell::new(0),
        })
    }

    /// Space for the fields of a request that may have to be sent again.
    pub fn take_space(&self) -> Vec<u8> {
        self.space.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SPACE))
    }

    /// Takes space back.
    pub fn return_space(&self, space: Vec<u8>) {
        let mut spare = self.space.borrow_mut();
        if spare.len() < SPACES && space.capacity() <= SPACE {
            spare.push(space);
        }
    }

    /// A random number (xorshift64*): for balancing only, not for secrets.
    pub fn draw(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Marks a connection or tunnel as running until the mark is dropped.
    pub fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Connections and tunnels that run.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.get()
    }

    /// A request has begun.
    pub fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// A request has ended.
    pub fn end_request(&self) {
        self.requests.set(self.requests.get() - 1);
    }

    /// True when more requests run than may.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.requests.get() > self.settings.max_requests
    }

    /// A number that no other request of this process has; they grow with time on each worker.
    pub fn number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number * self.settings.workers.max(1) as u64 + self.index as u64
    }

    /// True when somebody asks for what a record has.
    #[must_use]
    pub const fn records(&self) -> bool {
        self.log.is_some() || !self.needs.is_empty()
    }

    /// Responses that are being compressed.
    #[must_use]
    pub const fn compressing(&self) -> &Cell<usize> {
        &self.compressing
    }

    /// True when records are wanted at all.
    #[must_use]
    pub const fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Takes a record for the access log.
    pub fn log(&self, record: AccessRecord) {
        if self.only_errors && !record.is_error() {
            return;
        }
        if self.filter.is_some_and(|filter| !self.passes(&filter, &record)) {
            return;
        }
        let mut batch = self.batch.borrow_mut();
        batch.push(record);
        if batch.len() >= LOG_BATCH {
            let full = std::mem::replace(&mut *batch, Vec::with_capacity(LOG_BATCH));
            drop(batch);
            self.send(full);
        }
    }

    /// True when `filter` lets `record` pass; only those that do are counted for its sample.
    fn passes(&self, filter: &Filter, record: &AccessRecord) -> bool {
        if (500..600).contains(&record.status) {
            return true;
        }
        let class = match record.status {
            100..=599 => record.status / 100,
            _ => 0,
        };
        let is_long = u128::from(record.times.total) >= filter.shortest.as_micros();
        // Without a status there is no class to be left out.
        let in_class = class == 0 || filter.classes & 1 << class != 0;
        let passes = in_class && is_long && filter.wants(record.reason);
        let sampled = self.sampled.get();
        if passes {
            self.sampled.set((sampled + 1) % filter.sample.max(1));
        }
        passes && sampled == 0
    }

    fn send(&self, batch: Vec<AccessRecord>) {
        if batch.is_empty() {
            return;
        }
        let Some(log) = &self.log else { return };
        if let Err(error) = log.try_send(batch) {
            let (std::sync::mpsc::TrySendError::Full(lost)
            | std::sync::mpsc::TrySendError::Disconnected(lost)) = error;
            self.stats.workers.cell(self.index).log_dropped.add(lost.len() as u64);
        }
    }

    /// The worker's housekeeping; runs until the process is killed.
    pub async fn housekeeping(self: Rc<Self>) {
        let mut tick = tokio::time::interval(LOG_INTERVAL);
        let mut swept = Instant::now();
        let mut generation = 0;
        let mut idle = 0;
        loop {
            tokio::select! {
                _ = tick.tick() => {},
                () = self.drain.killed.cancelled() => break,
            }
            self.flush();
            let now = Instant::now();
            // Peers that a new snapshot does not name lose their connections at once (F-11).
            let served = std::mem::replace(&mut generation, self.live.load().generation);
            if served != generation || now.duration_since(swept) >= SWEEP_INTERVAL {
                swept = now;
                self.pool.sweep(now);
                self.forget_clients(now);
                let before = std::mem::replace(&mut idle, self.pool.idle());
                self.stats.pool_idle.add(idle as i64 - before as i64);
                self.stats.retries.observe(clock::millis(), self.stats.requests());
            }
        }
        self.flush();
    }

    /// Rate limits forget clients that are idle, by the first worker for all of them.
    fn forget_clients(&self, now: Instant) {
        let since = now.saturating_duration_since(self.stats.started);
        let snapshot = self.live.load();
        for rates in snapshot.rated.iter().filter(|_| self.index == 0) {
            rates.sweep(since, FORGOTTEN);
        }
    }

    /// Sends what has been gathered.
    pub fn flush(&self) {
        let batch = std::mem::take(&mut *self.batch.borrow_mut());
        self.send(batch);
    }
}

impl Drop for Worker {
    /// The last records are those of what was cut when the worker ended.
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Compiler;

    /// F-27: a writer that is behind costs records, counted, and never the worker's time.
    #[test]
    fn f_27_a_full_log_channel_drops_and_counts() {
        let (log, records) = std::sync::mpsc::sync_channel(1);
        let stats = Arc::new(RouterStats::new(1));
        let worker = Worker::new(
            0,
            Arc::new(Live::from_pointee(Compiler::empty())),
            Arc::default(),
            Arc::clone(&stats),
            Drain::default(),
            Some(log),
            7,
        );
        for _ in 0..LOG_BATCH * 3 {
            worker.log(AccessRecord::default());
        }
        let dropped = || stats.workers.sum(|cell| &cell.log_dropped);
        assert_eq!(dropped(), 2 * LOG_BATCH as u64);
        assert_eq!(records.recv().unwrap().len(), LOG_BATCH);
        worker.log(AccessRecord::default());
        drop(worker);
        assert_eq!(records.recv().unwrap().len(), 1, "what is left is sent at the end");
        assert_eq!(dropped(), 2 * LOG_BATCH as u64);
    }
}
