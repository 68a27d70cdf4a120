//! Step 3: which server of the route's backend gets the request.
//!
//! Called by `forward` for the first try and for each further one. Pure but for the counters it
//! reads.

use super::queue;
use crate::{model::reason::Reason, snapshot::Backend};

/// Most tries of one request: the first and three more [RETRY-1].
pub const MAX_TRIES: usize = 4;

/// The servers that were tried in this round.
#[derive(Debug, Default)]
pub struct Tried {
    indexes: [usize; MAX_TRIES],
    len: usize,
}

impl Tried {
    /// Notes a failed server.
    pub fn push(&mut self, index: usize) {
        if self.len < MAX_TRIES {
            self.indexes[self.len] = index;
            self.len += 1;
        }
    }

    /// Starts another round.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// True when nothing was tried in this round.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn as_slice(&self) -> &[usize] {
        &self.indexes[..self.len]
    }
}

/// The tries of one request, or of one connection that is passed through.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The servers that failed in this round.
    pub(super) tried: Tried,
    /// Why the last of them did.
    pub(super) failed: Option<Reason>,
    /// The server that was tried last.
    pub(super) last: Option<usize>,
    count: usize,
}

impl Tries {
    /// Server `index` took nothing: another one is to be tried.
    pub(super) fn exclude(&mut self, index: usize, reason: Reason) {
        self.failed = Some(reason);
        self.tried.push(index);
    }

    /// True when the try that has ended was the last one in any case.
    pub(super) const fn is_last(&self) -> bool {
        self.count + 1 >= MAX_TRIES
    }

    /// True when there may be one more try after one that ended with nothing.
    pub(super) const fn another(&mut self) -> bool {
        self.count += 1;
        self.count < MAX_TRIES
    }
}

/// A server that is up, has weight, and was not tried in this round; an ejected one only where there
/// is no other.
#[must_use]
pub fn choose(backend: &Backend, tried: &Tried, draw: u64) -> Option<usize> {
    let (servers, tried) = (&backend.servers, tried.as_slice());
    if servers.first().is_some_and(|server| server.gate.is_some()) {
        let pick = |usable: &dyn Fn(usize) -> bool| queue::choose(backend, tried, draw, usable);
        return pick(&|index| backend.is_ready(index, draw)).or_else(|| second(backend, pick));
    }
    let load = |index: usize| servers[index].peer.in_flight.load();
    let balancer = &backend.balancer;
    let first = balancer.pick_excluding(draw, tried, |index| backend.is_ready(index, draw), load);
    first.or_else(|| {
        let pick =
            |usable: &dyn Fn(usize) -> bool| balancer.pick_excluding(draw, tried, usable, load);
        second(backend, pick)
    })
}

/// Where no server is ready: one that still starts slowly, since they all may; else one that is
/// ejected. Panic mode is about ejection alone: what checks have found down stays out (decisions 12).
#[cold]
fn second(
    backend: &Backend,
    pick: impl Fn(&dyn Fn(usize) -> bool) -> Option<usize>,
) -> Option<usize> {
    pick(&|index| backend.is_usable(index)).or_else(|| pick(&|index| backend.is_up(index)))
}

/// Why there is nothing to choose [NOMATCH-2].
#[must_use]
pub fn nothing(backend: &Backend) -> Reason {
    if backend.servers.iter().any(|server| server.weight > 0) {
        Reason::AllUnhealthy
    } else {
        Reason::NoEndpoints
    }
}

#[cfg(test)]
mod tests;
