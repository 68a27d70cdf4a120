//! Idle connections of one worker, by peer.
//!
//! Called by `proxy::forward` (take) and `proxy::response` (put). Last in, first out, so that what is
//! not needed grows old and is closed. Never shared between workers: no lock.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use super::h1::Sender;

/// Most idle connections kept for one peer by one worker.
pub const MAX_IDLE_PER_PEER: usize = 100;

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>, foldhash::fast::RandomState>>,
    max_age: Duration,
    evicted: Cell<u64>,
}

impl Pool {
    /// An empty pool that closes connections `max_age` after their last request.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self { idle: RefCell::default(), max_age, evicted: Cell::new(0) }
    }

    /// The youngest connection to `peer` that is ready for a request.
    pub fn take(&self, peer: u64, now: Instant) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&peer)?;
        while let Some(Idle { sender, since }) = stack.pop() {
            if now.duration_since(since) > self.max_age {
                // Everything below is older still.
                stack.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps `sender` for the next request to `peer`. Returns false when it was closed instead.
    pub fn put(&self, peer: u64, sender: Sender, now: Instant) -> bool {
        if sender.is_closed() {
            return false;
        }
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(peer).or_default();
        if stack.len() >= MAX_IDLE_PER_PEER {
            self.evicted.set(self.evicted.get() + 1);
            return false;
        }
        stack.push(Idle { sender, since: now });
        true
    }

    /// Closes what is too old and forgets peers without connections. Called once a second.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, stack| {
            stack.retain(|idle| {
                now.duration_since(idle.since) <= self.max_age && !idle.sender.is_closed()
            });
            !stack.is_empty()
        });
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Number of idle connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// True when nothing is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections closed because a peer's stack was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.get()
    }
}
