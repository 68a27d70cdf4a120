//! The compiled table against the oracle, over sets of routes and requests made at random.
//!
//! `WHARF_CASES` is the number of sets. Requests are mostly made from a route of the set, so that
//! most of them meet one, and often several.

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use wharf::routing::table::{Entry, Lookup, PlainRule, Ports, RouteTable};

use super::oracle::{Answer, DEVIATIONS, Oracle};

/// Sets of a run without `WHARF_CASES`.
const SETS: u32 = 2_000;

/// The rows of spec/route.md 10.4, and how often each comes up.
const PORTS: [(u32, Ports); 6] = [
    (4, Ports { plain: PlainRule::Serve, secure: false }),
    (1, Ports { plain: PlainRule::Hidden, secure: true }),
    (6, Ports { plain: PlainRule::Serve, secure: true }),
    (4, Ports { plain: PlainRule::Redirect, secure: true }),
    (1, Ports { plain: PlainRule::Hidden, secure: false }),
    (1, Ports { plain: PlainRule::Redirect, secure: false }),
];

/// What happened in a run.
#[derive(Debug, Default)]
struct Counts {
    requests: usize,
    /// Requests for which a route was found.
    found: usize,
    /// Requests for which at least two routes could have been.
    contested: usize,
    /// By deviation.
    explained: [usize; DEVIATIONS.len()],
}

/// One request: of which route it is made, and how.
#[derive(Clone, Debug)]
struct Asked {
    like: Index,
    host: HostHow,
    path: PathHow,
    tls: bool,
}

#[derive(Clone, Debug)]
enum HostHow {
    /// The route's own, or a neighbour of it for a wildcard, with this behind.
    Like(String),
    /// In upper case.
    Upper,
    /// With another first label, which may be empty.
    Sibling(String),
    /// With a label more.
    Below(String),
    Other(String),
}

#[derive(Clone, Debug)]
enum PathHow {
    /// The route's own with this behind.
    Below(String),
    /// Without its last character.
    Cut,
    Other(String),
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => "[ab]{1,2}",
        6 => "api|v1\\.0|x\\+y|\\(z\\)|\\$|~u|\\[1\\]|a;b|a\\|b|\\*|\\^|a=b,c|@|:80",
        // What sorts before `(` [MATCH-11].
        1 => "[%&'!\"][ab]?",
    ]
}

/// Segments with a slash before each, sometimes with one behind, or an empty one in between.
fn path() -> impl Strategy<Value = String> {
    let some = (prop::collection::vec(segment(), 1..4), "(/{0,1}|/{0,1}|/{0,2})");
    let some = some.prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")));
    prop_oneof![
        20 => Just(String::new()),
        1 => "/{1,3}",
        40 => some,
        6 => "/a/?",
        // Below the line before.
        1 => "/a/[%&'!\"]a?",
    ]
}

fn host() -> impl Strategy<Value = String> {
    // Suffixes of one another, and one that differs where a dot is not a wildcard.
    prop_oneof![
        9 => "(a|b)\\.ex\\.com|a\\.b\\.ex\\.com",
        1 => "(a|ab|www|a-b)\\.(exxcom|x\\.b\\.ex\\.com)|ex\\.com|local",
    ]
}

fn route() -> impl Strategy<Value = Entry<usize>> {
    let ports = prop::strategy::Union::new_weighted(
        PORTS.iter().map(|(weight, ports)| (*weight, Just(*ports))).collect(),
    );
    (host(), prop::bool::weighted(0.3), path(), ports).prop_map(|(host, wildcard, path, ports)| {
        let (host, path) = (host.into(), path.into());
        Entry { host, wildcard, path, ports, age_rank: 0, value: 0 }
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let host = prop_oneof![
        20 => "(\\.?(:[0-9]{1,5})?)?".prop_map(HostHow::Like),
        2 => Just(HostHow::Upper),
        6 => "[abw]{0,3}|www|a|b".prop_map(HostHow::Sibling),
        1 => "x|a:1".prop_map(HostHow::Below),
        2 => "|local:|a\\.ex\\.com:|a\\.ex\\.com:x|a\\.ex\\.com\\.\\.|\\.|a_b|ex\\.com:99999|\\[::1\\]"
            .prop_map(HostHow::Other),
    ];
    let path = prop_oneof![
        16 => "(/[ab]{0,2}){0,2}".prop_map(PathHow::Below),
        2 => segment().prop_map(PathHow::Below),
        2 => Just(PathHow::Cut),
        2 => path().prop_map(PathHow::Other),
        1 => "/?\\.(ex\\.com|b\\.ex\\.com)(/a)?".prop_map(PathHow::Other),
    ];
    (any::<Index>(), host, path, any::<bool>()).prop_map(|(like, host, path, tls)| Asked {
        like,
        host,
        path,
        tls,
    })
}

/// Routes as admission leaves them: each pair of host and path once, each path of a wildcard's domain
/// once. Ages are as in the vector; backend names are not.
fn admitted(mut entries: Vec<Entry<usize>>) -> (Vec<Entry<usize>>, Vec<Arc<str>>) {
    let mut claims = HashSet::new();
    entries.retain(|entry| {
        let host =
            if entry.wildcard { &entry.host[first_label(&entry.host)..] } else { &entry.host };
        claims.insert((entry.wildcard, host.to_owned(), Arc::clone(&entry.path)))
    });
    for (value, entry) in entries.iter_mut().enumerate() {
        (entry.value, entry.age_rank) = (value, value as u64);
    }
    // Distinct, and in an order that has nothing to do with age.
    let names = (0..entries.len()).map(|value| format!("be_{:03}", value * 37 % 101).into());
    let names = names.collect();
    (entries, names)
}

fn first_label(host: &str) -> usize {
    host.find('.').unwrap_or(0)
}

/// Host and path of a request.
fn request(entries: &[Entry<usize>], asked: &Asked) -> (String, String) {
    let route = &entries[asked.like.index(entries.len())];
    let own = route.host.to_string();
    let host = match &asked.host {
        HostHow::Like(end) => format!("{own}{end}"),
        HostHow::Upper => own.to_ascii_uppercase(),
        HostHow::Sibling(label) => format!("{label}{}", &own[first_label(&own)..]),
        HostHow::Below(label) => format!("{label}.{own}"),
        HostHow::Other(other) => other.clone(),
    };
    let own = &*route.path;
    let path = match &asked.path {
        PathHow::Below(end) => format!("{own}{end}"),
        PathHow::Cut => own[..own.len().saturating_sub(1)].to_owned(),
        PathHow::Other(other) => other.clone(),
    };
    // Whatever is sent, a path begins with its first slash [MATCH-2].
    let path = path.find('/').map_or_else(String::new, |at| path[at..].to_owned());
    (host, path)
}

fn looked_up(table: &RouteTable<usize>, tls: bool, host: &str, path: &str) -> Answer {
    match table.lookup(tls, host.as_bytes(), path) {
        Lookup::Redirect(&value) => (true, Some(value)),
        Lookup::Serve(&value) => (false, Some(value)),
        Lookup::NoHost | Lookup::NoPath => (false, None),
    }
}

fn compare(
    entries: Vec<Entry<usize>>,
    requests: &[Asked],
    counts: &mut Counts,
) -> Result<(), TestCaseError> {
    let (entries, names) = admitted(entries);
    let oracle = Oracle::new(&entries, &names);
    let table = RouteTable::build(entries.clone());
    for asked in requests {
        let (host, path) = request(&entries, asked);
        let answer = looked_up(&table, asked.tls, &host, &path);
        let why = oracle.explain(asked.tls, &host, &path, answer);
        let Some(why) = why else {
            let literal = oracle.answer(asked.tls, &host, &path, &[]);
            let text = format!("{host}{path}, TLS {}: {answer:?}, not {literal:?}", asked.tls);
            return Err(TestCaseError::fail(text));
        };
        counts.requests += 1;
        counts.found += usize::from(answer.1.is_some());
        counts.contested += usize::from(oracle.candidates(&host, &path) > 1);
        for (deviation, count) in DEVIATIONS.iter().zip(&mut counts.explained) {
            *count += usize::from(why.contains(deviation));
        }
    }
    Ok(())
}

/// [MATCH-1..14]: the table answers as the ordered list of regular expressions does, but for the named
/// deviations, of which each concerns less than one request in a hundred.
#[test]
fn the_table_answers_as_the_list_of_patterns() {
    let sets = std::env::var_os("WHARF_CASES").map_or(SETS, |sets| {
        sets.to_str().and_then(|sets| sets.parse().ok()).expect("WHARF_CASES is a number")
    });
    let counts = RefCell::new(Counts::default());
    let mut runner =
        TestRunner::new(Config { cases: sets, failure_persistence: None, ..Config::default() });
    let set = (prop::collection::vec(route(), 1..14), prop::collection::vec(asked(), 4..16));
    let outcome = runner
        .run(&set, |(entries, requests)| compare(entries, &requests, &mut counts.borrow_mut()));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let counts = counts.into_inner();
    let share = |count: usize| 100.0 * count as f64 / counts.requests as f64;
    println!(
        "{sets} sets, {} requests; {:.1} % found a route, {:.1} % had several to choose from",
        counts.requests,
        share(counts.found),
        share(counts.contested)
    );
    for (deviation, count) in DEVIATIONS.iter().zip(counts.explained) {
        println!("{deviation:?}: {count} requests, {:.3} %", share(count));
        assert!(share(count) < 1.0, "{deviation:?}: {:.3} %", share(count));
        assert!(count > 0, "{deviation:?} never came up: the requests prove nothing about it");
    }
    assert!(share(counts.found) > 50.0 && share(counts.contested) > 25.0, "{counts:?}");
}
