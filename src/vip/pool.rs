//! The servers behind one address for one traffic policy, with their connections.
//!
//! Held by `front`, under its lock. Always holds: a server that left gets nothing new, and its
//! connections go on; when it comes back while it has some, they count.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::services::schedulers::{Flow, Kind, Scheduler, Server};

/// Connections of one server.
#[derive(Debug, Default)]
struct Counts {
    active: AtomicU32,
    inactive: AtomicU32,
}

/// A connection as its server counts it: on its way until [`Carried::established`], gone once it is
/// dropped.
#[derive(Debug)]
pub(super) struct Carried {
    counts: Arc<Counts>,
    active: bool,
}

impl Carried {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.inactive.fetch_add(1, Relaxed);
        Self { counts: Arc::clone(counts), active: false }
    }

    /// The server has accepted.
    pub(super) fn established(&mut self) {
        if !self.active {
            self.active = true;
            self.counts.active.fetch_add(1, Relaxed);
            self.counts.inactive.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let count = if self.active { &self.counts.active } else { &self.counts.inactive };
        count.fetch_sub(1, Relaxed);
    }
}

/// The servers.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Vec<Server>,
    /// Of the servers, and of those that left with connections.
    counts: HashMap<SocketAddr, Arc<Counts>>,
    scheduler: Scheduler,
}

impl Pool {
    pub(super) fn new(kind: Kind) -> Self {
        Self { servers: Vec::new(), counts: HashMap::new(), scheduler: Scheduler::new(kind) }
    }

    /// Takes over which endpoints there are. All have weight 1, as kube-proxy gives them.
    pub(super) fn update(&mut self, endpoints: impl Iterator<Item = SocketAddr>) {
        let (active, inactive, weight) = (0, 0, 1);
        let new: Vec<Server> =
            endpoints.map(|address| Server { address, weight, active, inactive }).collect();
        let places = |servers: &[Server]| servers.iter().map(|one| one.address).collect::<Vec<_>>();
        let changed = places(&new) != places(&self.servers);
        self.servers = new;
        for server in &self.servers {
            self.counts.entry(server.address).or_default();
        }
        self.counts.retain(|address, counts| {
            Arc::strong_count(counts) > 1 || self.servers.iter().any(|one| one.address == *address)
        });
        // A round is not started anew by a change elsewhere.
        if changed {
            self.scheduler.changed(&self.servers);
        }
    }

    /// True when `address` is a server.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.servers.iter().any(|server| server.address == address)
    }

    /// True when there is no server.
    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The server of a new connection: `kept` when it is there, or else the scheduler's choice.
    pub(super) fn pick(
        &mut self,
        flow: &Flow,
        kept: Option<SocketAddr>,
        now: Instant,
    ) -> Option<(SocketAddr, Carried)> {
        let kept = kept.filter(|kept| self.has(*kept));
        let address = match kept {
            Some(address) => address,
            None => {
                for server in &mut self.servers {
                    if let Some(counts) = self.counts.get(&server.address) {
                        server.active = counts.active.load(Relaxed);
                        server.inactive = counts.inactive.load(Relaxed);
                    }
                }
                let index = self.scheduler.pick(&self.servers, flow, now)?;
                self.servers.get(index)?.address
            },
        };
        Some((address, Carried::new(self.counts.get(&address)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn pick(pool: &mut Pool, kept: Option<SocketAddr>) -> (SocketAddr, Carried) {
        let source = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let flow = Flow { source, destination: [172, 30, 0, 1].into() };
        pool.pick(&flow, kept, Instant::now()).unwrap()
    }

    /// [SVC-11]: what left gets nothing, and what it still has counts when it is back.
    #[test]
    fn svc_11_a_server_that_is_back_still_has_its_connections() {
        let mut pool = Pool::new(Kind::Lc);
        pool.update([address(1), address(2)].into_iter());
        let (first, mut carried) = pick(&mut pool, None);
        carried.established();
        assert_eq!(first, address(1));
        pool.update([address(2)].into_iter());
        let others: Vec<_> = (0..3).map(|_| pick(&mut pool, Some(address(1)))).collect();
        assert!(others.iter().all(|(to, _)| *to == address(2)), "gone, even for who had it");
        drop(others);
        pool.update([address(1), address(2)].into_iter());
        assert_eq!(pick(&mut pool, None).0, address(2));
        drop(carried);
        assert_eq!(pick(&mut pool, None).0, address(1));
        pool.update([address(2)].into_iter());
        assert_eq!(pool.counts.len(), 1, "nothing is kept of it");
        assert!(!pool.is_empty());
    }

    /// [SVC-04]
    #[test]
    fn svc_4_a_client_is_given_what_it_had() {
        let mut pool = Pool::new(Kind::Rr);
        pool.update([address(1), address(2)].into_iter());
        for _ in 0..3 {
            assert_eq!(pick(&mut pool, Some(address(2))).0, address(2));
        }
    }

    #[test]
    fn the_turn_goes_on_when_nothing_has_changed() {
        let mut pool = Pool::new(Kind::Wrr);
        for expected in [1, 2, 1, 2] {
            pool.update([address(1), address(2)].into_iter());
            assert_eq!(pick(&mut pool, None).0, address(expected));
        }
    }
}
