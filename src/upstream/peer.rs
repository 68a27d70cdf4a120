//! The identity of an endpoint that decides connection reuse, with what outlives snapshots.
//!
//! Made and carried over by `compile`; read by the pool, the balancer and `probe`.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::stats::{Counter, Gauge};

/// Identity of a peer. Two peers with equal keys may share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Address and port.
    pub address: SocketAddr,
    /// Pod, so that a reused address is not taken for the old pod (F-11).
    pub pod: std::sync::Arc<str>,
}

/// One address that is dialled, with its health and load.
#[derive(Debug)]
pub struct Peer {
    /// Number that is never used again in this process; key of the pools.
    pub id: u64,
    /// Identity.
    pub key: PeerKey,
    /// Requests and tunnels in flight, over all routes and workers.
    pub in_flight: Gauge,
    /// Failed checks, written by `probe` alone.
    pub check_failures: Counter,
    up: AtomicBool,
}

impl Peer {
    /// A peer that is up until a check says otherwise [HC-2].
    #[must_use]
    pub fn new(key: PeerKey) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            key,
            in_flight: Gauge::default(),
            check_failures: Counter::default(),
            up: AtomicBool::new(true),
        }
    }

    /// False after checks have marked it down.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Sets the outcome of checks.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
    }
}
