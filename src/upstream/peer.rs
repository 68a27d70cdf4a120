//! The identity of an endpoint that decides connection reuse, with what outlives snapshots.
//!
//! Made and carried over by `compile`; read by the pool, the balancer and `probe`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::secure::Secure;
use crate::{
    balance,
    health::outlier::{Outlier, Ramp},
    net::clock,
    stats::{Counter, Gauge},
    tls::client::{Identity, Policy},
};

/// What a pod is spoken to in without TLS; over TLS it chooses by ALPN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge [ALPN-4].
    Http2,
}

impl Protocol {
    /// The protocol that the `appProtocol` of an endpoint's port asks for [ALPN-4].
    #[must_use]
    pub fn from_app_protocol(name: Option<&str>) -> Self {
        match name {
            Some("h2c" | "kubernetes.io/h2c") => Self::Http2,
            _ => Self::Http1,
        }
    }
}

/// Identity of a peer. Two peers with equal keys may share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Address and port.
    pub address: SocketAddr,
    /// What it speaks, where TLS does not tell.
    pub protocol: Protocol,
    /// How TLS is spoken with it; plain when absent. Routes that trust other authorities never share
    /// its connections.
    pub tls: Option<Arc<Identity>>,
    /// Pod, so that a reused address is not taken for the old pod (F-11).
    pub pod: Arc<str>,
}

/// One address that is dialled, with its health and load.
#[derive(Debug)]
pub struct Peer {
    /// Number that is never used again in this process; key of the pools.
    pub id: u64,
    /// Identity.
    pub key: PeerKey,
    /// TLS with it, if its key says so.
    pub tls: Option<Box<Secure>>,
    /// Requests and tunnels in flight, over all routes and workers.
    pub in_flight: Gauge,
    /// Failed checks, written by `probe` alone.
    pub check_failures: Counter,
    /// What its failed connections amount to (reliability.md 2.4).
    pub outlier: Outlier,
    ramp: Ramp,
    slow_start: Duration,
    check_millis: AtomicU64,
    downtime: Mutex<Downtime>,
    up: AtomicBool,
    departed: AtomicBool,
}

/// When a peer was down. Locked at changes and by scrapes.
#[derive(Debug, Default)]
struct Downtime {
    since: Option<Instant>,
    before: Duration,
    changed: Option<Instant>,
    times: u64,
}

impl Downtime {
    fn set(&mut self, up: bool, now: Instant) {
        self.changed = Some(now);
        if up {
            self.before = self.total(now);
            self.since = None;
        } else {
            self.since = Some(now);
            self.times += 1;
        }
    }

    fn total(&self, now: Instant) -> Duration {
        self.before
            + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Peer {
    /// A peer that is up until a check says otherwise [HC-2].
    #[must_use]
    pub fn new(key: PeerKey) -> Self {
        Self::with(key, None)
    }

    /// One that is spoken to over TLS, by `policy`, which its key names.
    #[must_use]
    pub fn secure(key: PeerKey, policy: &Policy) -> Self {
        Self::with(key, Some(Box::new(Secure::new(policy))))
    }

    fn with(key: PeerKey, tls: Option<Box<Secure>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            key,
            tls,
            in_flight: Gauge::default(),
            check_failures: Counter::default(),
            outlier: Outlier::default(),
            ramp: Ramp::default(),
            slow_start: Duration::ZERO,
            check_millis: AtomicU64::new(0),
            downtime: Mutex::default(),
            up: AtomicBool::new(true),
            departed: AtomicBool::new(false),
        }
    }

    /// The same peer, which takes this long to get its whole share when it comes or comes back
    /// (reliability.md 2.6); zero for at once.
    #[must_use]
    pub fn slow_start(mut self, length: Duration) -> Self {
        self.slow_start = length;
        self
    }

    /// Begins a slow start, if there is such a thing.
    pub fn begin_slow_start(&self) {
        if !self.slow_start.is_zero() {
            self.ramp.begin(clock::millis());
        }
    }

    /// True while its failed connections keep requests away from it.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        !self.outlier.is_clear() && self.is_still_ejected()
    }

    #[cold]
    fn is_still_ejected(&self) -> bool {
        let now = clock::millis();
        if self.outlier.settle(now) {
            tracing::info!(endpoint = %self.key.address, "endpoint is tried again");
            self.begin_slow_start();
        }
        self.outlier.is_ejected(now)
    }

    /// Whether it takes the request with this random number: always, but for a slow start.
    #[must_use]
    pub fn admits(&self, draw: u64) -> bool {
        self.ramp.is_clear() || self.admits_some(draw)
    }

    #[cold]
    fn admits_some(&self, draw: u64) -> bool {
        let now = clock::millis();
        self.ramp.settle(now, self.slow_start);
        self.ramp.admits(now, self.slow_start, balance::draw_for(self.key.address, draw))
    }

    /// Checks have found it well again: what its connections said before counts no more.
    pub fn recover(&self) {
        self.outlier.forgive();
        self.begin_slow_start();
        self.set_up(true);
    }

    /// False after checks have marked it down.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Sets the outcome of checks.
    pub fn set_up(&self, up: bool) {
        if self.up.swap(up, Relaxed) != up {
            self.down().set(up, Instant::now());
        }
    }

    /// How long it was down, in sum and up to now.
    #[must_use]
    pub fn downtime(&self) -> Duration {
        self.down().total(Instant::now())
    }

    /// How long ago checks found it otherwise than before; `None` when they never did.
    #[must_use]
    pub fn last_change(&self) -> Option<Duration> {
        self.down().changed.map(|at| at.elapsed())
    }

    /// How often checks marked it down.
    #[must_use]
    pub fn times_down(&self) -> u64 {
        self.down().times
    }

    fn down(&self) -> std::sync::MutexGuard<'_, Downtime> {
        self.downtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of the last check.
    #[must_use]
    pub fn check_millis(&self) -> u64 {
        self.check_millis.load(Relaxed)
    }

    /// A check is over that took so long.
    pub fn checked(&self, took: Duration) {
        self.check_millis.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// True once no snapshot names it any more: its connections are not kept (F-11).
    #[must_use]
    pub fn is_departed(&self) -> bool {
        self.departed.load(Relaxed)
    }

    /// Notes that the next snapshot does not name it. There is no way back: the same endpoint comes
    /// back as another peer.
    pub fn depart(&self) {
        self.departed.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MET-1]: of all times that it was down, the present one with them.
    #[tokio::test(start_paused = true)]
    async fn downtime_is_the_sum_of_all_times_down() {
        let key = PeerKey {
            address: ([10, 0, 0, 1], 80).into(),
            protocol: Protocol::Http1,
            tls: None,
            pod: "".into(),
        };
        let peer = Peer::new(key);
        let mut seconds = Vec::new();
        for up in [true, false, false, true, true, false] {
            peer.set_up(up);
            tokio::time::advance(Duration::from_secs(10)).await;
            seconds.push(peer.downtime().as_secs());
        }
        assert_eq!(seconds, [0, 10, 20, 20, 20, 30]);
        assert_eq!((peer.times_down(), peer.last_change()), (2, Some(Duration::from_secs(10))));
    }

    /// [ALPN-4]: the two spellings, exactly.
    #[test]
    fn alpn_4_prior_knowledge_only_for_the_two_names_of_h2c() {
        for name in ["h2c", "kubernetes.io/h2c"] {
            assert_eq!(Protocol::from_app_protocol(Some(name)), Protocol::Http2, "{name}");
        }
        for name in
            [None, Some(""), Some("http"), Some("H2C"), Some("h2"), Some("kubernetes.io/ws")]
        {
            assert_eq!(Protocol::from_app_protocol(name), Protocol::Http1, "{name:?}");
        }
    }
}
