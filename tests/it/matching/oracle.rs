//! The list of regular expressions of spec/route.md 10.2 and 10.3, read literally: what the compiled
//! table is compared with.
//!
//! Each way in which wharf differs on purpose is a switch of the oracle, so that a difference counts
//! as explained only if the oracle with that switch answers as wharf does.

use std::{cmp::Reverse, sync::Arc};

use regex::Regex;
use wharf::routing::table::{Entry, PlainRule, Ports};

/// What is done differently on purpose. Names and reasons are in docs/compatibility.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deviation {
    /// [MATCH-12]: of equal patterns the older route wins, not the backend name that sorts last.
    TieByAge,
    /// [MATCH-11]: the longest path wins, not the pattern whose text sorts last.
    LongestPath,
    /// The label that a wildcard stands for ends with the host. As a regular expression it may take
    /// in a port or a part of the path, when the host itself has no dot: `x/.example.com`.
    LabelOfHost,
}

/// Every deviation, in the order of the counts.
pub(super) const DEVIATIONS: [Deviation; 3] =
    [Deviation::TieByAge, Deviation::LongestPath, Deviation::LabelOfHost];

/// The answer: true for a redirect, and the index of the route.
pub(super) type Answer = (bool, Option<usize>);

/// A route of the list.
#[derive(Debug)]
struct Line {
    wildcard: bool,
    /// The pattern as it is written into the map file.
    text: String,
    pattern: Regex,
    /// The same with a label that ends with the host.
    strict: Regex,
    host: String,
    /// Bytes of the path that count.
    length: usize,
    backend: String,
    age: u64,
    ports: Ports,
    value: usize,
}

/// The three lists of one set of routes: plain, TLS, and all of them for redirects [MATCH-13].
#[derive(Debug)]
pub(super) struct Oracle(Vec<Line>);

impl Oracle {
    /// The lists of `entries`, whose backends are called `names`.
    pub(super) fn new(entries: &[Entry<usize>], names: &[Arc<str>]) -> Self {
        let lines = entries.iter().zip(names).map(|(entry, name)| {
            let text = pattern(entry, "[^\\.]*");
            Line {
                wildcard: text.starts_with("^[^\\.]*"),
                pattern: Regex::new(&text).expect("a pattern"),
                strict: Regex::new(&pattern(entry, "[^.:/]*")).expect("a pattern"),
                host: host(entry, "[^\\.]*"),
                length: path(&entry.path).len(),
                backend: name.to_string(),
                age: entry.age_rank,
                ports: entry.ports,
                value: entry.value,
                text,
            }
        });
        Self(lines.collect())
    }

    /// What becomes of a request: the `Host` value is put in lower case and joined with the path
    /// [MATCH-1, MATCH-2].
    pub(super) fn answer(&self, tls: bool, host: &str, path: &str, with: &[Deviation]) -> Answer {
        let key = format!("{}{path}", host.to_ascii_lowercase());
        if !tls
            && let Some(line) = self.first(&key, with, |_| true)
            && line.ports.plain == PlainRule::Redirect
        {
            return (true, Some(line.value));
        }
        let served = self.first(&key, with, |ports| {
            if tls { ports.secure } else { ports.plain == PlainRule::Serve }
        });
        (false, served.map(|line| line.value))
    }

    /// How many routes match, on whatever port.
    pub(super) fn candidates(&self, host: &str, path: &str) -> usize {
        let key = format!("{}{path}", host.to_ascii_lowercase());
        self.0.iter().filter(|line| line.pattern.is_match(&key)).count()
    }

    /// The fewest deviations with which the oracle gives `answer`.
    pub(super) fn explain(
        &self,
        tls: bool,
        host: &str,
        path: &str,
        answer: Answer,
    ) -> Option<Vec<Deviation>> {
        let mut sets: Vec<Vec<Deviation>> = (0..1_usize << DEVIATIONS.len())
            .map(|bits| {
                let chosen = (0..DEVIATIONS.len()).filter(|index| bits & (1 << index) != 0);
                chosen.map(|index| DEVIATIONS[index]).collect()
            })
            .collect();
        sets.sort_by_key(Vec::len);
        sets.into_iter().find(|with| self.answer(tls, host, path, with) == answer)
    }

    /// The first of the wanted lines that matches `key` [MATCH-10].
    fn first(
        &self,
        key: &str,
        with: &[Deviation],
        wanted: impl Fn(Ports) -> bool,
    ) -> Option<&Line> {
        let strict = with.contains(&Deviation::LabelOfHost);
        let mut list: Vec<&Line> = self
            .0
            .iter()
            .filter(|line| wanted(line.ports))
            .filter(|line| if strict { &line.strict } else { &line.pattern }.is_match(key))
            .collect();
        if with.contains(&Deviation::TieByAge) {
            list.sort_by_key(|line| line.age);
        } else {
            list.sort_by_key(|line| Reverse(&line.backend));
        }
        if with.contains(&Deviation::LongestPath) {
            list.sort_by_key(|line| (line.wildcard, Reverse((&line.host, line.length))));
        } else {
            list.sort_by_key(|line| (line.wildcard, Reverse(&line.text)));
        }
        list.first().copied()
    }
}

/// The pattern of a route; `label` is what stands for a wildcard [MATCH-4..8].
fn pattern(entry: &Entry<usize>, label: &str) -> String {
    let path = path(&entry.path);
    let rest = if path.ends_with('/') { "(.*)?" } else { "(/.*)?" };
    format!("^{}\\.?(:[0-9]+)?{}{rest}$", host(entry, label), quote(path))
}

fn host(entry: &Entry<usize>, label: &str) -> String {
    match entry.host.split_once('.') {
        Some((_, domain)) if entry.wildcard => format!("{label}{}", quote(&format!(".{domain}"))),
        _ => quote(&entry.host),
    }
}

/// Paths of slashes alone count as none [MATCH-5].
fn path(path: &str) -> &str {
    if path.trim_end_matches('/').is_empty() { "" } else { path }
}

/// The text as a pattern, with the characters escaped that Go's `regexp.QuoteMeta` escapes. Which ones
/// these are decides the order of the list [MATCH-11].
fn quote(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}
