//! `sh` and `dh`: a table of 256 buckets that servers fill in turn.
//!
//! Always holds: an address has the same server until servers or weights change. `sh` gives each
//! server as many buckets in a row as its weight; `dh` does not look at weights.

use std::net::IpAddr;

use super::{Server, folded};

const BITS: u32 = 8;
const SIZE: usize = 1 << BITS;
/// Multiplier of the kernel's 32-bit hash: the golden ratio.
const GOLDEN: u32 = 0x61C8_8647;

/// Index of the server of each bucket; empty without servers.
#[derive(Debug, Default)]
pub(super) struct Buckets(Vec<usize>);

impl Buckets {
    /// Fills the buckets, `share` of them at a time. A server of share 0 has one too: who hashes to it
    /// is served by nobody.
    pub(super) fn fill(&mut self, servers: &[Server], share: impl Fn(&Server) -> u32) {
        self.0.clear();
        while self.0.len() < SIZE && !servers.is_empty() {
            for (index, server) in servers.iter().enumerate() {
                let share = usize::try_from(share(server).max(1)).unwrap_or(SIZE);
                let rest = SIZE - self.0.len();
                self.0.extend(std::iter::repeat_n(index, share.min(rest)));
            }
        }
    }

    pub(super) fn get(&self, address: IpAddr) -> Option<usize> {
        let bucket = folded(address).wrapping_mul(GOLDEN) >> (u32::BITS - BITS);
        self.0.get(usize::try_from(bucket).ok()?).copied()
    }
}
