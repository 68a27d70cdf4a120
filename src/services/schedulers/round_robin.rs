//! `rr` and `wrr`: servers in turn.
//!
//! Always holds: when a server leaves, the turn of `rr` goes on where it was.

use std::net::SocketAddr;

use super::{Server, divisor, heaviest};

/// The server that was chosen last.
#[derive(Debug, Default)]
struct Last {
    /// Its place, or where the turn goes on from once it has left; none before the first.
    index: Option<usize>,
    address: Option<SocketAddr>,
}

impl Last {
    fn set(&mut self, servers: &[Server], index: usize) {
        (self.index, self.address) = (Some(index), Some(servers[index].address));
    }

    /// Finds it again. Once it has left, the one that followed it is in its place and is next.
    fn changed(&mut self, servers: &[Server]) {
        let (Some(index), Some(address)) = (self.index, self.address) else { return };
        if let Some(found) = servers.iter().position(|server| server.address == address) {
            self.index = Some(found);
        } else {
            self.index = index.checked_sub(1);
            self.address = self.index.and_then(|index| servers.get(index)).map(|one| one.address);
        }
    }

    fn next(&self, count: usize) -> usize {
        self.index.map_or(0, |index| (index + 1) % count)
    }
}

/// `rr`: the next in turn.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    last: Last,
}

impl RoundRobin {
    pub(super) fn changed(&mut self, servers: &[Server]) {
        self.last.changed(servers);
    }

    pub(super) fn pick(&mut self, servers: &[Server]) -> Option<usize> {
        let count = servers.len();
        if count == 0 {
            return None;
        }
        let first = self.last.next(count);
        let mut turn = (0..count).map(|step| (first + step) % count);
        let index = turn.find(|index| servers[*index].weight > 0)?;
        self.last.set(servers, index);
        Some(index)
    }
}

/// `wrr`: rounds in which only servers of at least the current weight have a turn; it goes down from
/// the highest weight by the divisor of all, and starts over.
#[derive(Debug, Default)]
pub(super) struct WeightedRoundRobin {
    last: Last,
    current: u32,
    highest: u32,
    step: u32,
}

impl WeightedRoundRobin {
    pub(super) fn changed(&mut self, servers: &[Server]) {
        // As the kernel does: the round goes on from the first server.
        self.last = Last::default();
        self.step = divisor(servers).max(1);
        // So that the last round is that of weight 1, whatever the step.
        self.highest = heaviest(servers).saturating_sub(self.step - 1);
        if self.current == 0 || self.current > self.highest {
            self.current = self.highest;
        } else if self.step > 1 {
            // The rounds are those of highest, highest - step, and so on.
            self.current = self.current / self.step * self.step + 1;
        }
    }

    pub(super) fn pick(&mut self, servers: &[Server]) -> Option<usize> {
        if heaviest(servers) == 0 || self.highest == 0 {
            return None;
        }
        let mut next = self.last.index.map_or(0, |index| index + 1);
        // Two passes over all weights find the heaviest server at the latest.
        loop {
            let rest = servers.get(next..).unwrap_or_default();
            if let Some(step) = rest.iter().position(|server| server.weight >= self.current) {
                self.last.set(servers, next + step);
                return Some(next + step);
            }
            next = 0;
            self.current = self
                .current
                .checked_sub(self.step)
                .filter(|weight| *weight > 0)
                .unwrap_or(self.highest);
        }
    }
}
