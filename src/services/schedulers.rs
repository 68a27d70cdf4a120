//! The schedulers of IPVS over a table of servers, under the names that kube-proxy and ipvsadm take
//! (spec/l4-dns.md B.4; Linux net/netfilter/ipvs).
//!
//! One [`Scheduler`] for each virtual address and port. Always holds: a server of weight 0 gets
//! nothing new, whatever the scheduler; the same calls give the same choices. After servers or weights
//! have changed the owner calls [`Scheduler::changed`] before the next [`Scheduler::pick`]; counts may
//! change at any time.

mod hash;
mod least;
mod locality;
mod maglev;
mod round_robin;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Instant,
};

use self::{
    hash::Buckets,
    locality::{ServerSets, Servers},
    maglev::Maglev,
    round_robin::{RoundRobin, WeightedRoundRobin},
};

/// One server as a scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is; tells it from the others.
    pub address: SocketAddr,
    /// Its share; 0 means that it gets nothing new.
    pub weight: u32,
    /// Established connections.
    pub active: u32,
    /// Connections that are being made or ended.
    pub inactive: u32,
}

/// What a new connection is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub source: SocketAddr,
    /// The virtual address.
    pub destination: IpAddr,
}

/// Name of a scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Next in turn.
    #[default]
    Rr,
    /// Next in turn, by weight.
    Wrr,
    /// Fewest connections.
    Lc,
    /// Fewest connections for its weight.
    Wlc,
    /// The server of the destination until it is overloaded.
    Lblc,
    /// The servers of the destination, one more when they are overloaded.
    Lblcr,
    /// By the client's address.
    Sh,
    /// By the virtual address.
    Dh,
    /// Shortest expected delay.
    Sed,
    /// An idle one, else shortest expected delay.
    Nq,
    /// By the client's address and port, consistently (Maglev).
    Mh,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Sh,
        Self::Dh,
        Self::Sed,
        Self::Nq,
        Self::Mh,
    ];

    /// Its name on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no scheduler's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no scheduler {0:?}; there are rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq and mh"
)]
pub struct UnknownScheduler(String);

impl FromStr for Kind {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| UnknownScheduler(text.to_owned()))
    }
}

/// A scheduler with what it remembers.
#[derive(Debug)]
pub struct Scheduler(State);

#[derive(Debug)]
enum State {
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    LeastConnections,
    WeightedLeastConnections,
    Locality(Servers),
    LocalityReplicated(ServerSets),
    SourceHash(Buckets),
    DestinationHash(Buckets),
    ShortestDelay,
    NeverQueue,
    Maglev(Box<Maglev>),
}

impl Scheduler {
    /// The scheduler of that name over no servers.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self(match kind {
            Kind::Rr => State::RoundRobin(RoundRobin::default()),
            Kind::Wrr => State::WeightedRoundRobin(WeightedRoundRobin::default()),
            Kind::Lc => State::LeastConnections,
            Kind::Wlc => State::WeightedLeastConnections,
            Kind::Lblc => State::Locality(Servers::default()),
            Kind::Lblcr => State::LocalityReplicated(ServerSets::default()),
            Kind::Sh => State::SourceHash(Buckets::default()),
            Kind::Dh => State::DestinationHash(Buckets::default()),
            Kind::Sed => State::ShortestDelay,
            Kind::Nq => State::NeverQueue,
            Kind::Mh => State::Maglev(Box::default()),
        })
    }

    /// Takes over that servers came, went or changed their weight.
    pub fn changed(&mut self, servers: &[Server]) {
        match &mut self.0 {
            State::RoundRobin(state) => state.changed(servers),
            State::WeightedRoundRobin(state) => state.changed(servers),
            State::SourceHash(buckets) => buckets.fill(servers, |server| server.weight),
            State::DestinationHash(buckets) => buckets.fill(servers, |_| 1),
            State::Maglev(table) => table.fill(servers),
            State::LeastConnections
            | State::WeightedLeastConnections
            | State::Locality(_)
            | State::LocalityReplicated(_)
            | State::ShortestDelay
            | State::NeverQueue => {},
        }
    }

    /// Index of the server for a new connection; none when no server may have it. The hashing ones
    /// have none for a client whose server has weight 0, as they have without their fallback flag.
    pub fn pick(&mut self, servers: &[Server], flow: &Flow, now: Instant) -> Option<usize> {
        let index = match &mut self.0 {
            State::RoundRobin(state) => state.pick(servers),
            State::WeightedRoundRobin(state) => state.pick(servers),
            State::LeastConnections => least::connections(servers),
            State::WeightedLeastConnections => least::weighted_connections(servers),
            State::Locality(state) => state.pick(servers, flow.destination, now),
            State::LocalityReplicated(state) => state.pick(servers, flow.destination, now),
            State::SourceHash(buckets) => buckets.get(flow.source.ip()),
            State::DestinationHash(buckets) => buckets.get(flow.destination),
            State::ShortestDelay => least::delay(servers),
            State::NeverQueue => least::never_queue(servers),
            State::Maglev(table) => table.get(flow.source),
        };
        index.filter(|index| servers.get(*index).is_some_and(|server| server.weight > 0))
    }
}

/// The 32 bits of an address that IPVS hashes: an IPv6 address is folded into its four parts' XOR.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            let part = |index: u32| (bits >> (32 * index)) & u128::from(u32::MAX);
            u32::try_from(part(0) ^ part(1) ^ part(2) ^ part(3)).unwrap_or_default()
        },
    }
}

/// Greatest common divisor of the weights that are not 0; 0 when there is none.
fn divisor(servers: &[Server]) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    servers.iter().fold(0, |known, server| gcd(known, server.weight))
}

fn heaviest(servers: &[Server]) -> u32 {
    servers.iter().map(|server| server.weight).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
