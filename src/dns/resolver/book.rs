//! When each wanted name is looked up again, and which addresses count meanwhile.
//!
//! Called by `keep_resolved`. Pure: time comes in as an argument.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::zone::Resolved;

/// Shortest time between two lookups of a name, and the pause after a failed one.
const REFRESH_FLOOR: Duration = Duration::from_secs(5);

/// Longest time between two lookups of a name.
const REFRESH_CEILING: Duration = Duration::from_secs(300);

/// How long addresses outlive the last lookup that found them.
const STALE_LIMIT: Duration = Duration::from_secs(3600);

/// How a lookup ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// No definite answer.
    Failed,
    /// These addresses; none when the name does not exist.
    Found {
        /// Sorted.
        addresses: Vec<IpAddr>,
        /// How long they hold.
        ttl: Duration,
    },
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<IpAddr>,
    found_at: Instant,
    /// When to look again; none while a lookup is under way.
    due: Option<Instant>,
}

/// All wanted names.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<Arc<str>, Entry>,
}

impl Book {
    /// Follows exactly `names` from now on.
    pub(super) fn want(&mut self, names: &BTreeSet<Arc<str>>, now: Instant) {
        self.entries.retain(|name, _| names.contains(name));
        for name in names {
            self.entries.entry(Arc::clone(name)).or_insert_with(|| Entry {
                addresses: Vec::new(),
                found_at: now,
                due: Some(now),
            });
        }
    }

    /// A name whose time has come; it is not given out again before [`Book::record`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (name, entry) =
            self.entries.iter_mut().find(|(_, entry)| entry.due.is_some_and(|due| due <= now))?;
        entry.due = None;
        Some(Arc::clone(name))
    }

    /// When the next name's time comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Takes the end of a lookup. A name that is no longer wanted is left alone.
    pub(super) fn record(&mut self, name: &str, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let pause = match outcome {
            Outcome::Failed => REFRESH_FLOOR,
            Outcome::Found { addresses, ttl } => {
                entry.addresses = addresses;
                entry.found_at = now;
                ttl.clamp(REFRESH_FLOOR, REFRESH_CEILING)
            },
        };
        entry.due = Some(now + pause);
    }

    /// The addresses that count now.
    pub(super) fn resolved(&self, now: Instant) -> Resolved {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.addresses.is_empty())
            .filter(|(_, entry)| now.duration_since(entry.found_at) <= STALE_LIMIT)
            .map(|(name, entry)| (Arc::clone(name), entry.addresses.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "db.example.com";

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn found(address: &str, ttl: u64) -> Outcome {
        Outcome::Found { addresses: vec![address.parse().unwrap()], ttl: second(ttl) }
    }

    fn book(now: Instant) -> Book {
        let mut book = Book::default();
        book.want(&[Arc::from(NAME)].into(), now);
        book
    }

    #[test]
    fn a_wanted_name_is_due_once_until_its_lookup_ends() {
        let now = Instant::now();
        let mut book = book(now);
        assert_eq!(book.take_due(now).as_deref(), Some(NAME));
        assert_eq!((book.take_due(now), book.next_due()), (None, None));
        book.record(NAME, found("192.0.2.1", 60), now);
        assert_eq!(book.next_due(), Some(now + second(60)));
        assert_eq!(book.take_due(now + second(59)), None);
        assert_eq!(book.take_due(now + second(60)).as_deref(), Some(NAME));
    }

    #[test]
    fn the_ttl_has_a_floor_and_a_ceiling() {
        for (ttl, pause) in [(0, 5), (5, 5), (100, 100), (86_400, 300)] {
            let now = Instant::now();
            let mut book = book(now);
            book.record(NAME, found("192.0.2.1", ttl), now);
            assert_eq!(book.next_due(), Some(now + second(pause)), "ttl {ttl}");
        }
    }

    #[test]
    fn stale_addresses_stay_for_an_hour_of_failures() {
        let start = Instant::now();
        let mut book = book(start);
        book.record(NAME, found("192.0.2.1", 5), start);
        for minute in 1..=60 {
            let now = start + second(60 * minute);
            book.record(NAME, Outcome::Failed, now);
            assert_eq!(book.next_due(), Some(now + second(5)));
            assert_eq!(book.resolved(now).len(), 1, "minute {minute}");
        }
        assert!(book.resolved(start + second(3601)).is_empty());
    }

    #[test]
    fn a_name_that_is_gone_loses_its_addresses() {
        let now = Instant::now();
        let mut book = book(now);
        book.record(NAME, found("192.0.2.1", 5), now);
        assert_eq!(book.resolved(now)[NAME], ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        book.record(NAME, Outcome::Found { addresses: Vec::new(), ttl: second(0) }, now);
        assert!(book.resolved(now).is_empty());
    }

    #[test]
    fn an_unwanted_name_is_forgotten_even_while_it_is_looked_up() {
        let now = Instant::now();
        let mut book = book(now);
        assert!(book.take_due(now).is_some());
        book.want(&BTreeSet::new(), now);
        book.record(NAME, found("192.0.2.1", 5), now);
        assert!(book.resolved(now).is_empty());
        assert_eq!(book.next_due(), None);
    }
}
