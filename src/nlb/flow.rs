//! Which target a new flow gets: the flow hash and the set of targets that may be chosen (A.3).
//!
//! Pure: the seed is an argument, the states of targets are read by `target`. Called once for each
//! accepted connection. A flow stays with its target because its task holds it; nothing is looked up
//! again.

use std::{hash::BuildHasher, net::IpAddr, net::SocketAddr};

use foldhash::quality::FixedState;

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Also below TLS.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What identifies a new flow (A.3).
#[derive(Clone, Copy, Debug, Hash)]
pub struct Flow {
    /// Protocol.
    pub transport: Transport,
    /// The client.
    pub source: SocketAddr,
    /// The address that it connected to.
    pub destination: SocketAddr,
    /// Sequence number of the SYN; where it is not known, a count of connections serves, since that
    /// differs for two flows of one address and port as well. UDP has none.
    pub sequence: u64,
}

impl Flow {
    /// Hash over protocol, addresses, ports and sequence.
    #[must_use]
    pub fn hash(&self, seed: u64) -> u64 {
        FixedState::with_seed(seed).hash_one(self)
    }
}

/// Hash of a sticky group: the client's address alone.
#[must_use]
pub fn sticky_hash(source: IpAddr, seed: u64) -> u64 {
    FixedState::with_seed(seed).hash_one(source.to_canonical())
}

/// What the choice needs to know of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Stays the same as long as the target is registered.
    pub id: u64,
    /// Whether it may be chosen.
    pub standing: Standing,
}

/// Whether a target may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Registered, but not healthy: chosen only if too few are healthy.
    Candidate,
    /// Chosen.
    Healthy,
    /// Draining, unused or of another zone: never chosen.
    Out,
}

/// The least number of healthy targets (A.6b). With fewer than that of `unhealthy_state_routing`, all
/// candidates are used; with fewer than that of `dns_failover`, the zone leaves DNS. Either limit
/// counts; `None` is `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minimum {
    /// Targets.
    pub count: Option<u32>,
    /// Percentage of the candidates.
    pub percent: Option<u32>,
}

impl Default for Minimum {
    fn default() -> Self {
        Self { count: Some(1), percent: None }
    }
}

impl Minimum {
    pub(super) fn is_met(self, healthy: usize, candidates: usize) -> bool {
        self.count.is_none_or(|count| healthy >= count as usize)
            && self.percent.is_none_or(|percent| healthy * 100 >= candidates * percent as usize)
    }
}

/// The outcome of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the member.
    pub index: usize,
    /// Which rule led to it.
    pub routing: Routing,
}

/// Which targets a choice was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// All candidates, since too few were healthy (fail-open).
    FailOpen,
    /// The healthy ones.
    Healthy,
}

/// Chooses by highest random weight: a target that comes or goes moves only its own share of hashes.
/// `None` if there is no candidate.
pub fn choose<M>(hash: u64, members: M, minimum: Minimum) -> Option<Choice>
where
    M: Iterator<Item = Member> + Clone,
{
    let (mut healthy, mut candidates) = (0, 0);
    for member in members.clone() {
        healthy += usize::from(member.standing == Standing::Healthy);
        candidates += usize::from(member.standing != Standing::Out);
    }
    let routing =
        if minimum.is_met(healthy, candidates) { Routing::Healthy } else { Routing::FailOpen };
    let eligible = |standing| match routing {
        Routing::FailOpen => standing != Standing::Out,
        Routing::Healthy => standing == Standing::Healthy,
    };
    let weigher = FixedState::with_seed(hash);
    members
        .enumerate()
        .filter(|(_, member)| eligible(member.standing))
        .max_by_key(|(_, member)| weigher.hash_one(member.id))
        .map(|(index, _)| Choice { index, routing })
}

/// Index of the weight that `hash` falls on, each with a share of the hashes in proportion to it.
/// `None` if all are 0.
#[must_use]
pub fn weighted(hash: u64, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    // A hash of its own: the same bits choose the target within the group.
    let mut left = FixedState::with_seed(total).hash_one(hash).checked_rem(total)?;
    weights.enumerate().find_map(|(index, weight)| match left.checked_sub(weight.into()) {
        Some(rest) => {
            left = rest;
            None
        },
        None => Some(index),
    })
}

#[cfg(test)]
mod tests;
