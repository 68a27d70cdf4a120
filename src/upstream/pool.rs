//! Idle connections of one worker, by peer.
//!
//! Called by `proxy::forward` (take) and `proxy::response` (put). Last in, first out, so that what is
//! not needed grows old and is closed. Never shared between workers: no lock.

use std::{
    cell::RefCell,
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
}

/// What became of a connection that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It had ended already.
    Closed,
    /// Its peer has as many as are kept; it was closed.
    Full,
    /// It waits for the next request.
    Kept,
}

impl Pool {
    /// An empty pool that closes connections `max_age` after their last request.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self { idle: RefCell::default(), max_age }
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

    /// Keeps `sender` for the next request to `peer`, if it is open and there is room.
    pub fn put(&self, peer: u64, sender: Sender, now: Instant) -> Put {
        if sender.is_closed() {
            return Put::Closed;
        }
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(peer).or_default();
        if stack.len() >= MAX_IDLE_PER_PEER {
            return Put::Full;
        }
        stack.push(Idle { sender, since: now });
        Put::Kept
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
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::{io::DuplexStream, task::LocalSet};

    use super::*;

    const AGE: Duration = Duration::from_secs(4);

    /// A connection and its other end.
    async fn connection() -> (Sender, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::task::spawn_local(async move {
            let _ended = connection.await;
        });
        tokio::task::yield_now().await;
        (sender, far)
    }

    #[tokio::test]
    async fn as_many_as_allowed_are_kept_for_a_peer() {
        let local = LocalSet::new();
        let filled = local.run_until(async {
            let pool = Pool::new(AGE);
            let now = Instant::now();
            let mut ends = Vec::new();
            for _ in 0..MAX_IDLE_PER_PEER {
                let (sender, end) = connection().await;
                ends.push(end);
                assert_eq!(pool.put(1, sender, now), Put::Kept);
            }
            let (sender, _end) = connection().await;
            assert_eq!(pool.put(1, sender, now), Put::Full);
            let (sender, _other) = connection().await;
            assert_eq!(pool.put(2, sender, now), Put::Kept, "another peer has room of its own");
            pool.len()
        });
        assert_eq!(filled.await, MAX_IDLE_PER_PEER + 1);
    }

    #[tokio::test]
    async fn what_is_old_or_closed_is_not_used() {
        let local = LocalSet::new();
        let outcome = local.run_until(async {
            let pool = Pool::new(AGE);
            let now = Instant::now();
            let (old, _old_end) = connection().await;
            let (young, _young_end) = connection().await;
            pool.put(1, old, now);
            pool.put(1, young, now + AGE);
            let later = now + AGE + Duration::from_millis(1);
            assert!(pool.take(1, later).is_some(), "the youngest goes first");
            assert!(pool.take(1, later).is_none(), "the other one is too old");
            let (closed, end) = connection().await;
            drop(end);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert_eq!(pool.put(1, closed, later), Put::Closed);
            let (swept, _swept_end) = connection().await;
            pool.put(3, swept, now);
            pool.sweep(later);
            pool.is_empty()
        });
        assert!(outcome.await);
    }
}
