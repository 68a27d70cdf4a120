//! `rr` and `wrr`: servers in turn.
//!
//! Always holds: when servers leave or come, the turn of `rr` goes on where it was.

use std::{collections::HashMap, net::SocketAddr};

use super::{Server, divisor, heaviest};

/// `rr`: the next in turn.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// Place of the one that was chosen last; none when the turn begins with the first.
    last: Option<usize>,
    /// Who the servers are.
    order: Vec<SocketAddr>,
}

impl RoundRobin {
    /// Finds the one that was chosen last again. Once it has left, the turn goes on behind the nearest one
    /// before it that stays, as the kernel's does: its place moves back with each that is taken out.
    pub(super) fn changed(&mut self, servers: &[Server]) {
        let places: HashMap<SocketAddr, usize> =
            servers.iter().enumerate().map(|(place, server)| (server.address, place)).collect();
        let known = self.last.and_then(|last| self.order.get(..=last)).unwrap_or_default();
        self.last = known.iter().rev().find_map(|address| places.get(address)).copied();
        self.order = servers.iter().map(|server| server.address).collect();
    }

    pub(super) fn pick(&mut self, servers: &[Server]) -> Option<usize> {
        let count = servers.len();
        if count == 0 {
            return None;
        }
        let first = self.last.map_or(0, |last| last + 1);
        let mut turn = (0..count).map(|step| (first + step) % count);
        let index = turn.find(|index| servers[*index].weight > 0)?;
        self.last = Some(index);
        Some(index)
    }
}

/// `wrr`: rounds in which only servers of at least the current weight have a turn; it goes down from
/// the highest weight by the divisor of all, and starts over.
#[derive(Debug, Default)]
pub(super) struct WeightedRoundRobin {
    /// Place of the one that was chosen last; none when a pass begins.
    last: Option<usize>,
    current: u32,
    highest: u32,
    step: u32,
}

impl WeightedRoundRobin {
    pub(super) fn changed(&mut self, servers: &[Server]) {
        // As the kernel does: the round goes on from the first server.
        self.last = None;
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
        let mut next = self.last.map_or(0, |last| last + 1);
        // Two passes over all weights find the heaviest server at the latest.
        loop {
            let rest = servers.get(next..).unwrap_or_default();
            if let Some(step) = rest.iter().position(|server| server.weight >= self.current) {
                self.last = Some(next + step);
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
