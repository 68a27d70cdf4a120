//! L2: the rate limits of routes: what each client of a route has open and has asked for of late
//! (`rate-limit-connections`, [RATE-1..7]).
//!
//! A [`Rates`] is made by `compile` for a route with the annotation and carried over from snapshot to
//! snapshot; `proxy::rates` asks it once for each request, or for each connection that is passed through.
//! No I/O and no clock: the caller says what time it is. Always holds: a table has at most as many
//! entries as it was made for, whoever comes (S-53); the only lock is that of one part of the table, held
//! for some arithmetic.

mod counter;
mod table;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::table::{Shard, Slot};

#[cfg(test)]
mod tests;

/// Window of `rate-tcp` [RATE-3].
pub const CONNECTION_PERIOD: u32 = 3_000;

/// Window of `rate-http` [RATE-4].
pub const REQUEST_PERIOD: u32 = 10_000;

/// How long a client that asks for nothing is remembered [RATE-1].
pub const IDLE: u32 = 30_000;

/// Most parts of a table, and the fewest entries that are worth a part.
const SHARDS: usize = 16;
const SHARD_SIZE: usize = 1024;

/// What a route allows each client; `None` is no limit. Zero refuses everybody [RATE-6].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `concurrent-tcp`: so many at once are refused, the new one included [RATE-2].
    pub concurrent: Option<u32>,
    /// `rate-tcp`: so many in three seconds are refused, the new one and refused ones included
    /// [RATE-3].
    pub connections: Option<u32>,
    /// `rate-http`: once so many were let pass in ten seconds, the next is refused [RATE-4].
    pub requests: Option<u32>,
}

impl Limits {
    /// True when nothing is limited.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.concurrent.is_none() && self.connections.is_none() && self.requests.is_none()
    }

    /// True when no client can ever get past: the newcomer counts with the two limits of connections
    /// [RATE-2, RATE-3].
    #[must_use]
    pub fn refuse_everybody(&self) -> bool {
        let least = |limit: Option<u32>, least| limit.is_some_and(|limit| limit <= least);
        least(self.concurrent, 1) || least(self.connections, 1) || least(self.requests, 0)
    }
}

/// The clients of one route, over all workers.
#[derive(Debug)]
pub struct Rates {
    shards: Box<[Mutex<Shard>]>,
    hasher: foldhash::fast::RandomState,
    /// The bits of an IPv6 address that tell clients apart.
    mask: u128,
}

/// Who counts as one client: an address, in the form that IPv6 has for it, as far as the table tells
/// addresses apart.
type Client = [u8; 16];

/// One request or connection of a client that is counted as open until this is dropped.
#[derive(Debug)]
pub struct Tracked {
    rates: Arc<Rates>,
    shard: u32,
    slot: Slot,
}

/// What a table says to a newcomer.
#[derive(Debug)]
pub enum Verdict {
    /// It may go on.
    Passed {
        /// To be kept while it runs, where it counts.
        tracked: Option<Tracked>,
        /// Another client was forgotten before its time to make room.
        purged: bool,
    },
    /// Everybody in the table is busy and it is full: as in HAProxy, the newcomer is not counted and
    /// goes on.
    Untracked,
    /// It is over a limit.
    Refused(Refused),
}

/// A newcomer that was refused, with the counters that refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    limits: Limits,
    entry: table::Counts,
    now: u32,
    /// Another client was forgotten before its time to make room.
    pub purged: bool,
}

impl Refused {
    /// Seconds after which the same client would get past if it asked for nothing meanwhile and had
    /// nothing open; `None` when it never would.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        let longest = 2 * REQUEST_PERIOD / 1000 + 1;
        (1..=longest).find(|seconds| {
            let mut entry = table::Counts { open: 0, ..self.entry };
            entry.ask(&self.limits, self.now.wrapping_add(seconds * 1000))
        })
    }
}

impl Rates {
    /// A table for at most `size` clients, at least one. `prefix` is how many bits of an IPv6 address tell
    /// clients apart, from 1 to 128.
    #[must_use]
    pub fn new(size: usize, prefix: u8) -> Arc<Self> {
        let size = size.clamp(1, u32::MAX as usize / 2);
        let count = (size / SHARD_SIZE).clamp(1, SHARDS);
        let bound = |index| size / count + usize::from(index < size % count);
        let bits = u32::from(prefix.clamp(1, 128));
        Arc::new(Self {
            shards: (0..count).map(|index| Mutex::new(Shard::new(bound(index)))).collect(),
            hasher: foldhash::fast::RandomState::default(),
            mask: u128::MAX << (128 - bits),
        })
    }

    /// A request or connection of `address` begins, `now` after any fixed moment.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits, now: Duration) -> Verdict {
        let client = self.client(address);
        let hash = self.hash(&client);
        let index = self.shard_of(hash);
        let mut shard = self.lock(index);
        let now = shard.advance(millis(now));
        let hasher = |client: &Client| self.hash(client);
        shard.expire(now, 2, hasher);
        let Some((slot, purged)) = shard.find_or_insert(&client, hash, hasher, now) else {
            drop(shard);
            // What nobody may do is not counted to be refused.
            return if limits.refuse_everybody() {
                let entry = table::Counts::new(now);
                Verdict::Refused(Refused { limits: *limits, entry, now, purged: false })
            } else {
                Verdict::Untracked
            };
        };
        let entry = shard.counts(slot);
        if !entry.ask(limits, now) {
            let entry = *entry;
            return Verdict::Refused(Refused { limits: *limits, entry, now, purged });
        }
        if limits.concurrent.is_none() {
            return Verdict::Passed { tracked: None, purged };
        }
        shard.open(slot);
        drop(shard);
        let shard = u32::try_from(index).unwrap_or(0);
        let tracked = Some(Tracked { rates: Arc::clone(self), shard, slot });
        Verdict::Passed { tracked, purged }
    }

    /// Forgets clients that have asked for nothing for [`IDLE`], at most `most` in each part of the table.
    /// A part that somebody uses is left for the next time.
    pub fn sweep(&self, now: Duration, most: usize) {
        for shard in &self.shards {
            if let Ok(mut shard) = shard.try_lock() {
                let now = shard.advance(millis(now));
                shard.expire(now, most, |client| self.hash(client));
            }
        }
    }

    /// Clients in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..self.shards.len()).map(|index| self.lock(index).len()).sum()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, address: IpAddr) -> Client {
        match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & self.mask).octets(),
        }
    }

    fn hash(&self, client: &Client) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, client)
    }

    /// By bits that the table of a part does not look at.
    fn shard_of(&self, hash: u64) -> usize {
        (hash >> 32) as usize % self.shards.len()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.rates.lock(self.shard as usize).close(self.slot);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
