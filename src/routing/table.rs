//! The compiled routing table: from port, host and path to a route (spec/route.md 10).
//!
//! Built once per snapshot by compile from admitted routes, read for each request. A look-up hashes
//! the host, for wildcards also its parent domain, and finds the longest path by binary search: its
//! cost does not grow with the number of routes, and it allocates nothing.
//!
//! Deviations from the original's text-ordered list: the longest path always wins (row 10 of the
//! quirk register), and of paths `""` and `/` on one host the older route wins (row 3).

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::host::{self, MAX_HOST};

/// A route to be put into a table.
#[derive(Clone, Debug)]
pub struct Entry<V> {
    /// Host of the route, lower case, without port.
    pub host: Arc<str>,
    /// True for an admitted wildcard route: any one label in place of the host's first.
    pub wildcard: bool,
    /// Path as written.
    pub path: Arc<str>,
    /// On which ports it is reachable.
    pub ports: Ports,
    /// Position by age, 0 for the oldest route; decides between equal paths.
    pub age_rank: u64,
    /// What a look-up yields.
    pub value: V,
}

/// What the two ports do with a route (the table of spec/route.md 10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// What the plain HTTP port does.
    pub plain: PlainRule,
    /// True when the TLS port serves it after termination; false for plain and passthrough routes.
    pub secure: bool,
}

/// What the plain HTTP port does with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainRule {
    /// Does not know it.
    Hidden,
    /// Sends the client to https.
    Redirect,
    /// Serves it.
    Serve,
}

/// Outcome of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a, V> {
    /// No route has the host, on either port.
    NoHost,
    /// A route has the host, none is reachable here under this path.
    NoPath,
    /// The plain port sends the client to https because of this route.
    Redirect(&'a V),
    /// This route serves the request.
    Serve(&'a V),
}

/// Routes by host and path.
#[derive(Clone, Debug)]
pub struct RouteTable<V> {
    values: Box<[V]>,
    exact: Hosts,
    wildcard: Hosts,
}

/// Path lists by host, or by parent domain for wildcards.
type Hosts = HashMap<Box<str>, HostPaths, RandomState>;

/// The routes of one host.
#[derive(Clone, Debug)]
struct HostPaths {
    /// All routes; decides about redirects [MATCH-13].
    all: PathList<PlainRule>,
    /// What the plain port serves.
    plain: PathList<()>,
    /// What the TLS port serves.
    secure: PathList<()>,
}

impl<V> RouteTable<V> {
    /// Builds the table. Of entries with the same host and equivalent paths the oldest counts.
    #[must_use]
    pub fn build(entries: Vec<Entry<V>>) -> Self {
        let mut exact = HashMap::<Box<str>, Vec<usize>, RandomState>::default();
        let mut wildcard = HashMap::<Box<str>, Vec<usize>, RandomState>::default();
        for (index, entry) in entries.iter().enumerate() {
            let host = entry.host.to_ascii_lowercase();
            // A wildcard route without a parent domain can only mean its own host.
            match host::parent_domain(&host).filter(|_| entry.wildcard) {
                Some(domain) => wildcard.entry(domain.into()).or_default().push(index),
                None => exact.entry(host.into()).or_default().push(index),
            }
        }
        let compile = |groups: HashMap<Box<str>, Vec<usize>, RandomState>| -> Hosts {
            groups
                .into_iter()
                .map(|(host, group)| (host, HostPaths::new(&entries, group)))
                .collect()
        };
        let (exact, wildcard) = (compile(exact), compile(wildcard));
        Self { values: entries.into_iter().map(|entry| entry.value).collect(), exact, wildcard }
    }

    /// The route for a request on the plain (`tls` false) or TLS port. `host` is the raw `Host`
    /// value; `path` is the raw target from its first `/` up to `?`, and may be empty.
    #[must_use]
    pub fn lookup(&self, tls: bool, host: &[u8], path: &str) -> Lookup<'_, V> {
        let mut scratch = [0; MAX_HOST];
        let Some(host) = host::normalise(host, &mut scratch) else {
            return Lookup::NoHost;
        };
        let exact = self.exact.get(host);
        let wildcard = if self.wildcard.is_empty() {
            None
        } else {
            host::parent_domain(host).and_then(|domain| self.wildcard.get(domain))
        };
        if exact.is_none() && wildcard.is_none() {
            return Lookup::NoHost;
        }
        // An exact host with a matching path comes before any wildcard [MATCH-10, MATCH-11].
        let hosts = || exact.into_iter().chain(wildcard);
        let path = path.as_bytes();
        if !tls
            && let Some((index, PlainRule::Redirect)) = hosts().find_map(|h| h.all.longest(path))
        {
            return Lookup::Redirect(&self.values[index]);
        }
        let served = hosts().find_map(|h| if tls { &h.secure } else { &h.plain }.longest(path));
        served.map_or(Lookup::NoPath, |(index, ())| Lookup::Serve(&self.values[index]))
    }

    /// Number of routes, unreachable ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// True for a table without routes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<V> Default for RouteTable<V> {
    fn default() -> Self {
        Self { values: Box::new([]), exact: Hosts::default(), wildcard: Hosts::default() }
    }
}

impl HostPaths {
    /// The lists of the entries with the indexes `group`.
    fn new<V>(entries: &[Entry<V>], mut group: Vec<usize>) -> Self {
        group.sort_by_key(|&i| (canonical(&entries[i].path), entries[i].age_rank, i));
        let list = |wanted: fn(Ports) -> bool| {
            PathList::new(
                group
                    .iter()
                    .filter(|&&i| wanted(entries[i].ports))
                    .map(|&i| (&entries[i].path, i, ())),
            )
        };
        Self {
            all: PathList::new(
                group.iter().map(|&i| (&entries[i].path, i, entries[i].ports.plain)),
            ),
            plain: list(|ports| ports.plain == PlainRule::Serve),
            secure: list(|ports| ports.secure),
        }
    }
}

/// Paths of one host, sorted by bytes, each knowing its longest proper prefix in the list.
#[derive(Clone, Debug)]
struct PathList<T>(Box<[Node<T>]>);

/// One path.
#[derive(Clone, Debug)]
struct Node<T> {
    /// Canonical path.
    path: Arc<str>,
    /// Index of the longest other path of the list that `path` starts with.
    parent: Option<usize>,
    /// Index of the route's value.
    value: usize,
    tag: T,
}

impl<T: Copy> PathList<T> {
    /// `routes` comes sorted by canonical path, then age.
    fn new<'a>(routes: impl Iterator<Item = (&'a Arc<str>, usize, T)>) -> Self {
        let mut nodes = Vec::<Node<T>>::new();
        for (path, value, tag) in routes {
            let path = if canonical(path).is_empty() { "".into() } else { Arc::clone(path) };
            if nodes.last().is_some_and(|last| last.path == path) {
                continue;
            }
            // The order puts every prefix of `path` on the chain of the node before it.
            let mut parent = nodes.len().checked_sub(1);
            while let Some(i) = parent.filter(|&i| !path.starts_with(&*nodes[i].path)) {
                parent = nodes[i].parent;
            }
            nodes.push(Node { path, parent, value, tag });
        }
        Self(nodes.into())
    }

    /// The longest path that matches. All paths that `path` starts with are on the chain of the
    /// last node that does not sort behind it, so the walk is at most as long as paths nest.
    fn longest(&self, path: &[u8]) -> Option<(usize, T)> {
        let behind = self.0.partition_point(|node| node.path.as_bytes() <= path);
        let mut at = behind.checked_sub(1);
        while let Some(node) = at.map(|i| &self.0[i]) {
            if matches(node.path.as_bytes(), path) {
                return Some((node.value, node.tag));
            }
            at = node.parent;
        }
        None
    }
}

/// Whether a route with the path `route` covers a request with the path `path`, for explanations; the
/// table itself compares what it has prepared [MATCH-5, MATCH-6, MATCH-7].
#[must_use]
pub fn covers(route: &str, path: &str) -> bool {
    matches(canonical(route).as_bytes(), path.as_bytes())
}

/// Paths of nothing but slashes mean the same as no path [MATCH-5].
fn canonical(path: &str) -> &str {
    if path.bytes().all(|b| b == b'/') { "" } else { path }
}

/// Whether a canonical route path covers a request path [MATCH-5, MATCH-6, MATCH-7].
fn matches(route: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(route).is_some_and(|rest| {
        rest.is_empty() || rest[0] == b'/' || route.last().is_some_and(|&b| b == b'/')
    })
}

#[cfg(test)]
mod tests;
