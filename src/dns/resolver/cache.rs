//! Answers from outside, kept for as long as they hold.
//!
//! Called by `Resolver`. Pure: time comes in as an argument. Always holds: never more answers than
//! [`CacheOptions`] allows, none older than its time and `serve_stale`, and of one key only one
//! refresh at a time is asked for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType},
};

use super::Found;

/// What is kept, and for how long (CoreDNS's plugin `cache`; the defaults are OpenShift's Corefile,
/// spec/l4-dns.md C.9).
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Longest time for answers with records.
    pub max_ttl: Duration,
    /// Longest time for names and types that do not exist.
    pub max_denial_ttl: Duration,
    /// Shortest time for both, whatever their TTL says.
    pub min_ttl: Duration,
    /// Time for SERVFAIL and other failures that a name server has told.
    pub failure_ttl: Duration,
    /// Answers with records at most; 0 keeps none.
    pub entries: usize,
    /// Denials and failures at most; 0 keeps none.
    pub denial_entries: usize,
    /// How long after its end an answer is given while it is asked again (RFC 8767); zero is never.
    pub serve_stale: Duration,
    /// Asks again before the end what is asked for often.
    pub prefetch: Option<Prefetch>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_ttl: Duration::from_secs(900),
            max_denial_ttl: Duration::from_secs(30),
            min_ttl: Duration::from_secs(5),
            failure_ttl: Duration::from_secs(5),
            entries: 9_984,
            denial_entries: 9_984,
            serve_stale: Duration::ZERO,
            prefetch: None,
        }
    }
}

/// What counts as asked for often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Questions that must have come.
    pub amount: u32,
    /// Longest pause between two of them.
    pub pause: Duration,
    /// Percent of the whole time that are left when it is asked again.
    pub percent: u32,
}

impl Prefetch {
    /// After `amount` questions no more than a minute apart, in the last tenth of the time
    /// (CoreDNS's defaults).
    #[must_use]
    pub const fn after(amount: u32) -> Self {
        Self { amount, pause: Duration::from_secs(60), percent: 10 }
    }
}

/// What an answer is kept under. The name is lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: Name,
    pub(super) record_type: RecordType,
}

impl Key {
    pub(super) fn new(name: &Name, record_type: RecordType) -> Self {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        Self { name, record_type }
    }
}

/// What the cache says.
#[derive(Clone, Debug)]
pub(super) enum Hit {
    /// Nothing that can be used.
    Miss,
    /// An answer and its TTL, seconds; 0 once its time is over.
    Found {
        found: Arc<Found>,
        ttl: u32,
        /// It should be asked again now; said once until [`Cache::put`] or [`Cache::gave_up`].
        refresh: bool,
        /// Its time is over.
        stale: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Success,
    Denial,
    Failure,
}

impl Kind {
    const fn of(rcode: ResponseCode, has_answers: bool) -> Self {
        match (rcode, has_answers) {
            (ResponseCode::NoError, true) => Self::Success,
            (ResponseCode::NoError, false) | (ResponseCode::NXDomain, _) => Self::Denial,
            _ => Self::Failure,
        }
    }

    const fn shelf(self) -> usize {
        match self {
            Self::Success => 0,
            Self::Denial | Self::Failure => 1,
        }
    }
}

#[derive(Debug)]
struct Entry {
    found: Arc<Found>,
    kind: Kind,
    ttl: Duration,
    until: Instant,
    number: u64,
    asked: u32,
    last_asked: Instant,
    refreshing: bool,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    options: CacheOptions,
    entries: HashMap<Key, Entry>,
    /// Keys by end, of answers with records and of the others: the first to end makes room.
    ends: [BTreeMap<(Instant, u64), Key>; 2],
    next_number: u64,
}

impl Cache {
    pub(super) fn new(options: CacheOptions) -> Self {
        Self { options, entries: HashMap::new(), ends: Default::default(), next_number: 0 }
    }

    /// Answers with records, and others.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.ends[0].len(), self.ends[1].len()]
    }

    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Hit {
        let Some(entry) = self.entries.get_mut(key) else { return Hit::Miss };
        let left = entry.until.saturating_duration_since(now);
        let stale = left.is_zero();
        if stale && (entry.kind == Kind::Failure || now >= entry.until + self.options.serve_stale) {
            self.remove(key);
            return Hit::Miss;
        }
        let refresh = !entry.refreshing && (stale || entry.is_wanted(self.options.prefetch, now));
        entry.refreshing |= refresh;
        let ttl = u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        Hit::Found { found: Arc::clone(&entry.found), ttl, refresh, stale }
    }

    /// Keeps `found` and says its TTL, seconds, and how many others had to go. A failure does not
    /// replace an answer that may be served stale.
    pub(super) fn put(&mut self, key: Key, found: Arc<Found>, now: Instant) -> (u32, usize) {
        let kind = Kind::of(found.rcode, !found.answers.is_empty());
        let ttl = self.ttl(kind, &found);
        let seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        let room = [self.options.entries, self.options.denial_entries][kind.shelf()];
        if kind == Kind::Failure && self.outlives(&key, now) {
            self.gave_up(&key);
            return (seconds, 0);
        }
        self.remove(&key);
        if ttl.is_zero() || room == 0 || found.truncated {
            return (seconds, 0);
        }
        let mut evicted = 0;
        while self.ends[kind.shelf()].len() >= room {
            let Some((_, first)) = self.ends[kind.shelf()].pop_first() else { break };
            self.entries.remove(&first);
            evicted += 1;
        }
        let (until, number) = (now + ttl, self.next_number);
        self.next_number += 1;
        self.ends[kind.shelf()].insert((until, number), key.clone());
        let entry =
            Entry { found, kind, ttl, until, number, asked: 0, last_asked: now, refreshing: false };
        self.entries.insert(key, entry);
        (seconds, evicted)
    }

    /// The refresh of `key` has found nothing.
    pub(super) fn gave_up(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.refreshing = false;
        }
    }

    /// True when there is an answer of `key` that can still be served stale.
    fn outlives(&self, key: &Key, now: Instant) -> bool {
        let stale = self.options.serve_stale;
        self.entries.get(key).is_some_and(|entry| {
            entry.kind != Kind::Failure && !stale.is_zero() && now < entry.until + stale
        })
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.ends[entry.kind.shelf()].remove(&(entry.until, entry.number));
        }
    }

    /// How long an answer holds: its least TTL within the bounds.
    fn ttl(&self, kind: Kind, found: &Found) -> Duration {
        let told = match kind {
            Kind::Success => found.answers.iter().map(|record| record.ttl).min(),
            Kind::Denial => found
                .authorities
                .iter()
                .filter_map(|record| match &record.data {
                    RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                    _ => None,
                })
                .min(),
            Kind::Failure => return self.options.failure_ttl,
        };
        let most = match kind {
            Kind::Success => self.options.max_ttl,
            Kind::Denial | Kind::Failure => self.options.max_denial_ttl,
        };
        let told = told.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
        told.max(self.options.min_ttl).min(most)
    }
}

impl Entry {
    /// Counts a question; true when it comes often and the end is near.
    fn is_wanted(&mut self, prefetch: Option<Prefetch>, now: Instant) -> bool {
        let Some(Prefetch { amount, pause, percent }) = prefetch else { return false };
        if now.saturating_duration_since(self.last_asked) > pause {
            self.asked = 0;
        }
        self.asked = self.asked.saturating_add(1);
        self.last_asked = now;
        let left = self.until.saturating_duration_since(now);
        self.kind != Kind::Failure && self.asked >= amount && left * 100 <= self.ttl * percent
    }
}

#[cfg(test)]
mod tests;
