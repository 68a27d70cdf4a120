//! `lblc` and `lblcr`: a destination keeps its servers until they are overloaded.
//!
//! Always holds: at most [`CAPACITY`] destinations are remembered, and for [`EXPIRY`] after their last
//! use.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    Server,
    least::{lighter, overhead, weighted_connections},
};

/// Most destinations that are remembered: 16 for each of the kernel's 1024 buckets.
const CAPACITY: usize = 16 * 1024;
/// How long one is, and after how long a set that did not grow loses its most loaded server.
const EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is remembered of each destination.
#[derive(Debug)]
struct Memory<T>(HashMap<IpAddr, (T, Instant)>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Memory<T> {
    /// What is remembered of `destination`, which is in use now.
    fn get(&mut self, destination: IpAddr, now: Instant) -> Option<&mut T> {
        let (value, used) = self.0.get_mut(&destination)?;
        if now.saturating_duration_since(*used) > EXPIRY {
            return None;
        }
        *used = now;
        Some(value)
    }

    /// Remembers a new destination; a full memory first forgets what is over, or else the one that
    /// was not used for longest.
    fn put(&mut self, destination: IpAddr, value: T, now: Instant) {
        if self.0.len() >= CAPACITY && !self.0.contains_key(&destination) {
            self.0.retain(|_, (_, used)| now.saturating_duration_since(*used) <= EXPIRY);
            if self.0.len() >= CAPACITY {
                let oldest = self.0.iter().min_by_key(|(_, (_, used))| *used);
                if let Some(oldest) = oldest.map(|(destination, _)| *destination) {
                    self.0.remove(&oldest);
                }
            }
        }
        self.0.insert(destination, (value, now));
    }
}

/// True when `server` has more connections than its weight while another has less than half of its
/// own.
fn overloaded(server: &Server, servers: &[Server]) -> bool {
    let idle = |other: &Server| u64::from(other.active) * 2 < u64::from(other.weight);
    server.active > server.weight && servers.iter().any(idle)
}

fn find(servers: &[Server], address: SocketAddr) -> Option<usize> {
    let index = servers.iter().position(|server| server.address == address)?;
    (servers[index].weight > 0).then_some(index)
}

/// `lblc`: one server for each destination.
#[derive(Debug, Default)]
pub(super) struct Servers(Memory<SocketAddr>);

impl Servers {
    /// Number of destinations that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.0.0.len()
    }

    pub(super) fn pick(
        &mut self,
        servers: &[Server],
        destination: IpAddr,
        now: Instant,
    ) -> Option<usize> {
        let known = self.0.get(destination, now).and_then(|address| find(servers, *address));
        if let Some(index) = known.filter(|index| !overloaded(&servers[*index], servers)) {
            return Some(index);
        }
        let index = weighted_connections(servers)?;
        self.0.put(destination, servers[index].address, now);
        Some(index)
    }
}

/// The servers of one destination.
#[derive(Debug)]
struct Set {
    members: Vec<SocketAddr>,
    grown: Instant,
}

/// `lblcr`: a set of servers for each destination. It grows when its least loaded one is overloaded,
/// and loses its most loaded one when it did not grow for a day.
#[derive(Debug, Default)]
pub(super) struct ServerSets(Memory<Set>);

impl ServerSets {
    pub(super) fn pick(
        &mut self,
        servers: &[Server],
        destination: IpAddr,
        now: Instant,
    ) -> Option<usize> {
        let Some(set) = self.0.get(destination, now) else {
            let index = weighted_connections(servers)?;
            let set = Set { members: vec![servers[index].address], grown: now };
            self.0.put(destination, set, now);
            return Some(index);
        };
        set.members.retain(|address| servers.iter().any(|server| server.address == *address));
        let least = set.extreme(servers, |a, b| lighter(overhead, a, b));
        if set.members.len() > 1 && now.saturating_duration_since(set.grown) > EXPIRY {
            let most = set.extreme(servers, |a, b| lighter(overhead, b, a));
            if let Some(most) = most.map(|index| servers[index].address) {
                set.members.retain(|address| *address != most);
                set.grown = now;
            }
        }
        if let Some(index) = least.filter(|index| !overloaded(&servers[*index], servers)) {
            return Some(index);
        }
        let index = weighted_connections(servers)?;
        if !set.members.contains(&servers[index].address) {
            // The newest is looked at first, and has what equals share, as in the kernel.
            set.members.insert(0, servers[index].address);
            set.grown = now;
        }
        Some(index)
    }
}

impl Set {
    /// The first member that none beats. Members of weight 0 do not count.
    fn extreme(
        &self,
        servers: &[Server],
        beats: impl Fn(&Server, &Server) -> bool,
    ) -> Option<usize> {
        let mut members = self.members.iter().filter_map(|address| find(servers, *address));
        let first = members.next()?;
        Some(members.fold(
            first,
            |best, one| {
                if beats(&servers[one], &servers[best]) { one } else { best }
            },
        ))
    }
}
