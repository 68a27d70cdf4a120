//! One part of a table of clients: entries in one allocation, found by hash, in the order of their use.
//!
//! Used by [`Rates`](super::Rates) under a lock. Always holds: who has something open is in no list and
//! stays, with its place; everybody else is in the list from the one that was seen longest ago to the
//! latest, and free places are in a list of their own.

use hashbrown::HashTable;

use super::{CONNECTION_PERIOD, Client, IDLE, Limits, REQUEST_PERIOD, counter::Counter};

/// Place of an entry.
pub(super) type Slot = u32;

/// No place.
const NONE: Slot = Slot::MAX;

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// Requests or connections that run.
    pub(super) open: u32,
    pub(super) connections: Counter,
    pub(super) requests: Counter,
}

impl Counts {
    pub(super) const fn new(now: u32) -> Self {
        Self { open: 0, connections: Counter::new(now), requests: Counter::new(now) }
    }

    /// A newcomer: true when it may go on, in the order of OpenShift's rules. Not yet counted as open.
    pub(super) fn ask(&mut self, limits: &Limits, now: u32) -> bool {
        if limits.connections.is_some() {
            self.connections.count(CONNECTION_PERIOD, now);
        }
        let open = self.open.saturating_add(1);
        let reaches = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| count >= limit);
        if reaches(open, limits.concurrent)
            || reaches(self.connections.rate(CONNECTION_PERIOD, now), limits.connections)
            || reaches(self.requests.rate(REQUEST_PERIOD, now), limits.requests)
        {
            return false;
        }
        if limits.requests.is_some() {
            self.requests.count(REQUEST_PERIOD, now);
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    client: Client,
    counts: Counts,
    /// When it was seen last.
    seen: u32,
    older: Slot,
    newer: Slot,
}

/// A part of a table.
#[derive(Debug)]
pub(super) struct Shard {
    entries: Vec<Entry>,
    found: HashTable<Slot>,
    bound: usize,
    free: Slot,
    oldest: Slot,
    newest: Slot,
    /// The latest time that was ever said: workers read their clocks apart from each other, and counters
    /// must not see time go back.
    now: u64,
}

impl Shard {
    pub(super) const fn new(bound: usize) -> Self {
        Self {
            entries: Vec::new(),
            found: HashTable::new(),
            bound,
            free: NONE,
            oldest: NONE,
            newest: NONE,
            now: 0,
        }
    }

    /// The time to reckon with, in milliseconds modulo 2^32.
    pub(super) fn advance(&mut self, now: u64) -> u32 {
        self.now = self.now.max(now);
        wrapped(self.now)
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity().max(self.found.capacity())
    }

    /// What is known of the client at `slot`.
    pub(super) fn counts(&mut self, slot: Slot) -> &mut Counts {
        &mut self.entry(slot).counts
    }

    /// The place of `client`, which is seen now, and whether another one was forgotten early for it;
    /// `None` when there is no room and everybody has something open.
    pub(super) fn find_or_insert(
        &mut self,
        client: &Client,
        hash: u64,
        hasher: impl Fn(&Client) -> u64,
        now: u32,
    ) -> Option<(Slot, bool)> {
        let entries = &self.entries;
        let same = |slot: &Slot| entries[*slot as usize].client == *client;
        if let Some(&slot) = self.found.find(hash, same) {
            if self.entries[slot as usize].counts.open == 0 {
                self.unlink(slot);
                self.link(slot);
            }
            self.entry(slot).seen = now;
            return Some((slot, false));
        }
        let purged = self.found.len() >= self.bound;
        if purged {
            let oldest = self.oldest;
            if oldest == NONE {
                return None;
            }
            self.forget(oldest, &hasher);
        }
        let entry = Entry {
            client: *client,
            counts: Counts::new(now),
            seen: now,
            older: NONE,
            newer: NONE,
        };
        let slot = self.place(entry)?;
        let entries = &self.entries;
        self.found.insert_unique(hash, slot, |slot| hasher(&entries[*slot as usize].client));
        self.link(slot);
        Some((slot, purged))
    }

    /// The client at `slot` has one more open; it stays until that is closed.
    pub(super) fn open(&mut self, slot: Slot) {
        if self.entry(slot).counts.open == 0 {
            self.unlink(slot);
        }
        let counts = self.counts(slot);
        counts.open = counts.open.saturating_add(1);
    }

    /// One that was open has ended, which is seen as well.
    pub(super) fn close(&mut self, slot: Slot) {
        let now = wrapped(self.now);
        let entry = self.entry(slot);
        entry.counts.open = entry.counts.open.saturating_sub(1);
        entry.seen = now;
        if entry.counts.open == 0 {
            self.link(slot);
        }
    }

    /// Forgets at most `most` of those that were not seen for [`IDLE`].
    pub(super) fn expire(&mut self, now: u32, most: usize, hasher: impl Fn(&Client) -> u64) {
        for _ in 0..most {
            let oldest = self.oldest;
            if oldest == NONE || now.wrapping_sub(self.entry(oldest).seen) < IDLE {
                return;
            }
            self.forget(oldest, &hasher);
        }
    }

    /// Forgets the client at `slot`, which has nothing open. The memory of a table that nobody uses goes
    /// with its last entry.
    fn forget(&mut self, slot: Slot, hasher: &impl Fn(&Client) -> u64) {
        self.unlink(slot);
        let hash = hasher(&self.entries[slot as usize].client);
        if let Ok(found) = self.found.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        self.entry(slot).newer = self.free;
        self.free = slot;
        if self.found.is_empty() {
            let now = self.now;
            *self = Self { now, ..Self::new(self.bound) };
        }
    }

    /// Puts `entry` where there is room.
    fn place(&mut self, entry: Entry) -> Option<Slot> {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.entries[slot as usize].newer;
            self.entries[slot as usize] = entry;
            return Some(slot);
        }
        let slot = Slot::try_from(self.entries.len()).ok().filter(|slot| *slot != NONE)?;
        self.entries.push(entry);
        Some(slot)
    }

    fn entry(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot as usize]
    }

    /// Makes `slot`, which is in no list, the latest.
    fn link(&mut self, slot: Slot) {
        let before = std::mem::replace(&mut self.newest, slot);
        let entry = self.entry(slot);
        (entry.older, entry.newer) = (before, NONE);
        match before {
            NONE => self.oldest = slot,
            before => self.entry(before).newer = slot,
        }
    }

    /// Takes `slot` out of the list.
    fn unlink(&mut self, slot: Slot) {
        let Entry { older, newer, .. } = *self.entry(slot);
        match older {
            NONE => self.oldest = newer,
            older => self.entry(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entry(newer).older = older,
        }
    }
}

/// Milliseconds modulo 2^32.
const fn wrapped(millis: u64) -> u32 {
    (millis & 0xffff_ffff) as u32
}
