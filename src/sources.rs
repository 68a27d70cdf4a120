//! L2: how many connections each source has open, held to a limit (S-50).
//!
//! Used by `proxy::entry` when `max_connections_per_source` is set, once for each connection and never
//! for a request. The table holds sources with an open connection only, so the limit on connections
//! bounds it as well; its hash is seeded, so that chosen addresses do not collide (S-53).

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hashbrown::{HashMap, hash_map::Entry};

/// Who counts as one source: an IPv4 address, or a /64 of IPv6. A single IPv6 host may use every
/// address of its /64 and changes them by itself, so a count by address would limit nobody; a /64 is
/// the least that a site is given, and like an IPv4 address behind NAT it may stand for a household.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An IPv4 address, also when it came mapped into IPv6.
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            },
        }
    }
}

/// The open connections of each source, over all workers.
#[derive(Debug, Default)]
pub struct Sources {
    /// Locked for an addition, once when a connection begins and once when it ends.
    open: Mutex<HashMap<Source, usize, foldhash::fast::RandomState>>,
}

/// Counts one connection of its source until it is dropped.
#[derive(Debug)]
pub struct Counted {
    sources: Arc<Sources>,
    source: Source,
}

impl Sources {
    /// Counts a connection from `address`; `None` when its source has `limit` already.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Counted> {
        let source = Source::from(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if *count >= limit {
            if *count == 0 {
                open.remove(&source);
            }
            return None;
        }
        *count += 1;
        drop(open);
        Some(Counted { sources: Arc::clone(self), source })
    }

    /// Sources with an open connection.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True when no source has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(self.source) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn s_50_a_source_is_an_ipv4_address_or_a_64_of_ipv6() {
        let same = |a, b| Source::from(ip(a)) == Source::from(ip(b));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("0.0.0.1", "::1:0:0:0:0"), "the families do not meet");
    }

    #[test]
    fn s_50_a_source_at_its_limit_is_refused_and_others_are_not() {
        let sources = Arc::<Sources>::default();
        let enter = |address| sources.enter(ip(address), 2);
        let held = [enter("192.0.2.1"), enter("192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        assert_eq!(sources.len(), 2);
        drop(held);
        assert_eq!(sources.len(), 1, "a source without connections is forgotten");
        assert!(enter("192.0.2.1").is_some());
        drop(other);
        assert!(sources.enter(ip("192.0.2.1"), 0).is_none());
        assert!(sources.is_empty());
    }

    proptest! {
        /// S-53: the table holds what is open and nothing else, whatever comes and goes.
        #[test]
        fn s_53_the_table_is_the_open_connections(
            limit in 1..4_usize,
            steps in prop::collection::vec((any::<bool>(), 0..6_u8, any::<prop::sample::Index>()), 0..60),
        ) {
            let sources = Arc::<Sources>::default();
            let mut open: Vec<(u8, Counted)> = Vec::new();
            for (enters, host, index) in steps {
                if enters {
                    let counted = sources.enter(IpAddr::from([192, 0, 2, host]), limit);
                    let before = open.iter().filter(|(other, _)| *other == host).count();
                    prop_assert_eq!(counted.is_some(), before < limit);
                    open.extend(counted.map(|counted| (host, counted)));
                } else if !open.is_empty() {
                    open.swap_remove(index.index(open.len()));
                }
                let distinct: std::collections::BTreeSet<u8> =
                    open.iter().map(|(host, _)| *host).collect();
                prop_assert_eq!(sources.len(), distinct.len());
            }
        }
    }
}
