//! The compiled table of server names: which TLS connections are passed through to a pod
//! (spec/route.md 11.1).
//!
//! Built once per snapshot by compile, asked once for each TLS connection by `proxy::hello`. A look-up
//! hashes the name, and for wildcards its parent domain; without passthrough routes it is a branch.
//! Deviation from the original (quirk 14): the exact host of a route whose TLS ends here is never
//! covered by a wildcard.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::host::{self, MAX_HOST};

/// A TLS route to be put into the table.
#[derive(Clone, Debug)]
pub struct Entry<'a, V> {
    /// Host of the route, lower case.
    pub host: &'a str,
    /// True for an admitted wildcard route: any one label in place of the host's first.
    pub wildcard: bool,
    /// Position by age, 0 for the oldest route; decides between wildcards of one domain.
    pub age_rank: u64,
    /// What a look-up yields; `None` for a route whose TLS ends at the router.
    pub value: Option<V>,
}

/// Passthrough routes by server name.
#[derive(Clone, Debug)]
pub struct SniTable<V> {
    /// `None` where TLS ends here although a wildcard covers the host.
    exact: HashMap<Box<str>, Option<V>, RandomState>,
    /// By parent domain.
    wildcard: HashMap<Box<str>, V, RandomState>,
}

impl<V> SniTable<V> {
    /// Builds the table. Of entries for the same names the oldest counts.
    #[must_use]
    pub fn build(mut entries: Vec<Entry<'_, V>>) -> Self {
        let mut table = Self::default();
        entries.sort_by_key(|entry| entry.age_rank);
        let (passed, ended): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.value.is_some());
        for Entry { host, wildcard, value, .. } in passed {
            let Some(value) = value else { continue };
            match host::parent_domain(host).filter(|_| wildcard) {
                Some(domain) => _ = table.wildcard.entry(domain.into()).or_insert(value),
                None => _ = table.exact.entry(host.into()).or_insert(Some(value)),
            }
        }
        for Entry { host, .. } in ended.into_iter().filter(|entry| !entry.wildcard) {
            let covered =
                host::parent_domain(host).is_some_and(|domain| table.wildcard.contains_key(domain));
            if covered {
                table.exact.entry(host.into()).or_insert(None);
            }
        }
        table
    }

    /// The route that takes a connection to `name`, as the client spelled it; `None` where TLS ends
    /// here [SNI-1].
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Option<&V> {
        if self.is_empty() {
            return None;
        }
        let mut scratch = [0; MAX_HOST];
        let lower = scratch.get_mut(..name.len())?;
        for (to, from) in lower.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        let name = std::str::from_utf8(lower).ok()?;
        match self.exact.get(name) {
            Some(exact) => exact.as_ref(),
            None => self.wildcard.get(host::parent_domain(name)?),
        }
    }

    /// True when nothing is passed through, so that no name need be looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

impl<V> Default for SniTable<V> {
    /// A table without routes.
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcard: HashMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (&'static str, bool, Option<&'static str>);

    fn table(rows: &[Row]) -> SniTable<&'static str> {
        let entry = |(age_rank, &(host, wildcard, value)): (u64, &Row)| Entry {
            host,
            wildcard,
            age_rank,
            value,
        };
        SniTable::build((0..).zip(rows).map(entry).collect())
    }

    /// [SNI-1, SNI-2]
    #[test]
    fn sni_1_exact_then_one_label_and_never_an_exact_tls_host() {
        let table = table(&[
            ("shop.example.com", false, Some("exact")),
            ("www.wild.example.com", true, Some("wildcard")),
            ("newer.wild.example.com", true, Some("newer")),
            ("edge.wild.example.com", false, None),
            ("wild.edge.wild.example.com", true, None),
            ("exact.wild.example.com", false, Some("below")),
        ]);
        for (name, found) in [
            ("shop.example.com", Some("exact")),
            ("Shop.EXAMPLE.com", Some("exact")),
            ("shop.example.com.", None),
            ("shop.example.com:443", None),
            ("a.shop.example.com", None),
            ("www.wild.example.com", Some("wildcard")),
            ("ANY.wild.example.com", Some("wildcard")),
            ("a.b.wild.example.com", None),
            ("wild.example.com", None),
            ("edge.wild.example.com", None),
            ("EDGE.wild.example.com", None),
            ("exact.wild.example.com", Some("below")),
            ("nobody.example.com", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(table.lookup(name.as_bytes()).copied(), found, "{name}");
        }
        assert_eq!(table.lookup(&[b'a'; 300]), None);
        assert_eq!(table.lookup(b"\xff.wild.example.com"), None);
    }

    #[test]
    fn without_passthrough_there_is_nothing_to_ask() {
        assert!(table(&[("a.example.com", false, None), ("b.example.com", true, None)]).is_empty());
        assert!(!table(&[("a.example.com", true, Some("it"))]).is_empty());
    }

    const LABELS: [&str; 3] = ["a", "b", "c"];

    fn host() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(LABELS.to_vec()), 1..4)
            .prop_map(|labels| labels.join("."))
    }

    /// The rules as they are said, one route after the other, oldest first.
    fn naive<'a>(rows: &'a [(String, bool, Option<usize>)], name: &str) -> Option<&'a usize> {
        let below = |host: &str| host.split_once('.').map(|(_, domain)| domain.to_owned());
        // A wildcard without a parent domain can only mean its own host.
        let is_wildcard = |host: &str, flag: bool| flag && host.contains('.');
        let exact = |(host, flag, _): &&(String, bool, Option<usize>)| {
            !is_wildcard(host, *flag) && host == name
        };
        if let Some((.., value)) = rows.iter().filter(exact).find(|(.., value)| value.is_some()) {
            return value.as_ref();
        }
        if rows.iter().any(|(host, flag, value)| !flag && host == name && value.is_none()) {
            return None;
        }
        let covers = |(host, flag, _): &&(String, bool, Option<usize>)| {
            is_wildcard(host, *flag) && below(host) == below(name)
        };
        rows.iter().filter(covers).find_map(|(.., value)| value.as_ref())
    }

    proptest! {
        #[test]
        fn sni_2_the_table_agrees_with_a_naive_search(
            routes in prop::collection::vec((host(), any::<bool>(), any::<bool>()), 0..8),
            names in prop::collection::vec(host(), 1..12),
        ) {
            let rows: Vec<(String, bool, Option<usize>)> = (0..)
                .zip(routes)
                .map(|(nth, (host, wildcard, passed))| (host, wildcard, passed.then_some(nth)))
                .collect();
            let entries = (0..).zip(&rows).map(|(age_rank, (host, wildcard, value))| Entry {
                host,
                wildcard: *wildcard,
                age_rank,
                value: *value,
            });
            let table = SniTable::build(entries.collect());
            for name in names {
                let upper = name.to_ascii_uppercase();
                prop_assert_eq!(table.lookup(upper.as_bytes()), naive(&rows, &name), "{}", name);
            }
        }
    }
}
