//! The name servers of one zone: which is asked first, and how often it is tried.
//!
//! Called by `Resolver`. Always holds: at most [`PoolOptions::attempts`] tries for a question; a server
//! that has not answered is asked last for a while.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::time::Instant;

use super::{ResolveError, exchange, stats::ForwardStats};

/// Which name server is asked first (CoreDNS's `policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The first that is not known to be down; OpenShift's choice.
    #[default]
    Sequential,
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
}

/// How a question is put to name servers.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Which is asked first.
    pub policy: Policy,
    /// Time for one try.
    pub try_timeout: Duration,
    /// Tries for one question, over all servers; a server is tried again once all have been.
    pub attempts: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { policy: Policy::default(), try_timeout: Duration::from_secs(2), attempts: 3 }
    }
}

/// Failed tries in a row after which a server is down (CoreDNS's `max_fails`).
const MAX_FAILS: u32 = 2;

/// How long a server that is down is asked last.
const DOWN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    fails: AtomicU32,
    /// Milliseconds since the start of the pool.
    down_until: AtomicU64,
}

/// The name servers of a zone.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Vec<Server>,
    options: PoolOptions,
    turn: AtomicUsize,
    random: RandomState,
    started: Instant,
}

impl Pool {
    pub(super) fn new(servers: &[SocketAddr], options: PoolOptions) -> Self {
        let server = |address: &SocketAddr| Server {
            address: *address,
            fails: AtomicU32::new(0),
            down_until: AtomicU64::new(0),
        };
        Self {
            servers: servers.iter().map(server).collect(),
            options,
            turn: AtomicUsize::new(0),
            random: RandomState::new(),
            started: Instant::now(),
        }
    }

    /// The answer of the first server that has one. A failure that a server tells counts when no
    /// other has better.
    pub(super) async fn ask(
        &self,
        name: &Name,
        record_type: RecordType,
        stats: &ForwardStats,
    ) -> Result<Message, ResolveError> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let seed = usize::from_le_bytes(self.random.hash_one(turn).to_le_bytes());
        let down: Vec<bool> = self.servers.iter().map(|server| self.is_down(server)).collect();
        let order = order(self.options.policy, turn, seed, &down);
        let mut failure = ResolveError::NoServer;
        for index in order.iter().cycle().take(self.options.attempts) {
            let server = &self.servers[*index];
            stats.tries.add_one();
            let asked = exchange::ask(server.address, name, record_type, stats);
            match tokio::time::timeout(self.options.try_timeout, asked).await {
                Ok(Ok(answer)) => {
                    server.fails.store(0, Relaxed);
                    server.down_until.store(0, Relaxed);
                    let rcode = answer.metadata.response_code;
                    if matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
                        return Ok(answer);
                    }
                    failure = ResolveError::Refused(rcode);
                },
                Ok(Err(error)) => self.failed(server, &mut failure, error, stats),
                Err(_elapsed) => {
                    self.failed(server, &mut failure, io::ErrorKind::TimedOut.into(), stats);
                },
            }
        }
        Err(failure)
    }

    /// Notes a try without an answer. What a server has told stays the failure of the question.
    fn failed(
        &self,
        server: &Server,
        failure: &mut ResolveError,
        error: io::Error,
        stats: &ForwardStats,
    ) {
        stats.failed_tries.add_one();
        if server.fails.fetch_add(1, Relaxed) + 1 >= MAX_FAILS {
            let until = self.started.elapsed() + DOWN;
            let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
            server.down_until.store(until, Relaxed);
        }
        if !matches!(failure, ResolveError::Refused(_)) {
            *failure = ResolveError::Lookup(Arc::new(error));
        }
    }

    fn is_down(&self, server: &Server) -> bool {
        u128::from(server.down_until.load(Relaxed)) > self.started.elapsed().as_millis()
    }
}

/// Indexes of the servers in the order in which they are asked: by `policy`, those that are `down`
/// behind the others.
fn order(policy: Policy, turn: usize, mut seed: usize, down: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..down.len()).collect();
    match policy {
        Policy::Sequential => {},
        Policy::RoundRobin => {
            let shift = turn.checked_rem(down.len()).unwrap_or(0);
            order.rotate_left(shift);
        },
        Policy::Random => {
            for place in (1..order.len()).rev() {
                order.swap(place, seed % (place + 1));
                seed /= place + 1;
            }
        },
    }
    order.sort_by_key(|index| down[*index]);
    order
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_policy_decides_who_is_asked_first() {
        let up = [false; 3];
        for turn in 0..6 {
            assert_eq!(order(Policy::Sequential, turn, turn * 7, &up), [0, 1, 2]);
            let wanted = [turn % 3, (turn + 1) % 3, (turn + 2) % 3];
            assert_eq!(order(Policy::RoundRobin, turn, 0, &up), wanted);
        }
        // Every order is as likely as any other.
        let mut seen: HashMap<Vec<usize>, usize> = HashMap::new();
        for seed in 0..600 {
            *seen.entry(order(Policy::Random, 0, seed, &up)).or_default() += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| *count == 100), "{seen:?}");
    }

    #[test]
    fn servers_that_are_down_are_asked_last() {
        assert_eq!(order(Policy::Sequential, 0, 0, &[true, false, true, false]), [1, 3, 0, 2]);
        assert_eq!(order(Policy::RoundRobin, 2, 0, &[false, false, true]), [0, 1, 2]);
        assert_eq!(order(Policy::Sequential, 0, 0, &[true, true]), [0, 1], "all down: all asked");
        assert!(order(Policy::RoundRobin, 0, 0, &[]).is_empty());
    }
}
