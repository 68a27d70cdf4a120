//! The compiled table against a naive reading of spec/route.md 10.

use proptest::prelude::*;

use super::*;

const CLEAR: Ports = Ports { plain: PlainRule::Serve, secure: false };
const EDGE_NONE: Ports = Ports { plain: PlainRule::Hidden, secure: true };
const EDGE_ALLOW: Ports = Ports { plain: PlainRule::Serve, secure: true };
const EDGE_REDIRECT: Ports = Ports { plain: PlainRule::Redirect, secure: true };
const PASS_NONE: Ports = Ports { plain: PlainRule::Hidden, secure: false };
const PASS_REDIRECT: Ports = Ports { plain: PlainRule::Redirect, secure: false };
const ALL_PORTS: [Ports; 6] =
    [CLEAR, EDGE_NONE, EDGE_ALLOW, EDGE_REDIRECT, PASS_NONE, PASS_REDIRECT];

fn entry(host: &str, wildcard: bool, path: &str, ports: Ports, value: usize) -> Entry<usize> {
    let age_rank = u64::try_from(value).unwrap();
    Entry { host: host.into(), wildcard, path: path.into(), ports, age_rank, value }
}

/// [MATCH-5, MATCH-6, MATCH-7, MATCH-8, MATCH-9]
/// [MATCH-3]
#[test]
fn one_route_matches_what_its_pattern_says() {
    for (host, wildcard, route, request, path, want) in [
        ("example.com", false, "", "example.com", "", true),
        ("example.com", false, "", "example.com:80", "", true),
        ("example.com", false, "", "Example.COM.:8080", "/", true),
        ("example.com", false, "/", "example.com", "", true),
        ("example.com", false, "/", "example.com", "/sub", true),
        ("example.com", false, "//", "example.com", "/sub/", true),
        ("example.com", false, "", "other.com", "/", false),
        ("example.com", false, "", "example.com:http", "/", false),
        ("example.com", false, "/sub", "example.com", "/sub", true),
        ("example.com", false, "/sub", "example.com", "/sub/", true),
        ("example.com", false, "/sub", "example.com", "/sub/x", true),
        ("example.com", false, "/sub", "example.com", "/subpar", false),
        ("example.com", false, "/sub", "example.com", "/sub;v=1", false),
        ("example.com", false, "/sub", "example.com", "/SUB", false),
        ("example.com", false, "/sub", "example.com", "/", false),
        ("example.com", false, "/sub/", "example.com", "/sub", false),
        ("example.com", false, "/sub/", "example.com", "/sub/", true),
        ("example.com", false, "/sub/", "example.com", "/sub/x", true),
        ("www.example.com", true, "", "www.example.com", "", true),
        ("www.example.com", true, "", "foo.example.com:80", "/x", true),
        ("www.example.com", true, "", ".example.com", "/", true),
        ("www.example.com", true, "", "wwwexample.com", "/", false),
        ("www.example.com", true, "", "foo.bar.example.com", "/", false),
        ("www.example.com", true, "", "example.com", "/", false),
    ] {
        let table = RouteTable::build(vec![entry(host, wildcard, route, CLEAR, 0)]);
        let got = table.lookup(false, request.as_bytes(), path);
        assert_eq!(got == Lookup::Serve(&0), want, "{host}{route} {request}{path}: {got:?}");
    }
}

/// [MATCH-2]: the path counts as it was sent; nothing is decoded, joined or tidied.
#[test]
fn paths_are_compared_raw() {
    let table = RouteTable::build(vec![entry("a.b", false, "/sub/x", CLEAR, 0)]);
    for (path, want) in [
        ("/sub/x", true),
        ("/sub/x/../y", true),
        ("/sub/%78", false),
        ("/sub%2Fx", false),
        ("//sub/x", false),
        ("/sub//x", false),
        ("/sub/./x", false),
        ("/y/../sub/x", false),
    ] {
        assert_eq!(table.lookup(false, b"a.b", path) == Lookup::Serve(&0), want, "{path}");
    }
    assert_eq!(table.lookup(false, b"", "/sub/x"), Lookup::NoHost);
}

/// The table of 10.4.
#[test]
fn each_kind_of_route_is_reachable_where_it_should() {
    let (hidden, serve, redirect) = (Lookup::NoPath, Lookup::Serve(&0), Lookup::Redirect(&0));
    for (ports, plain, secure) in [
        (CLEAR, serve, hidden),
        (EDGE_NONE, hidden, serve),
        (EDGE_ALLOW, serve, serve),
        (EDGE_REDIRECT, redirect, serve),
        (PASS_NONE, hidden, hidden),
        (PASS_REDIRECT, redirect, hidden),
    ] {
        let table = RouteTable::build(vec![entry("a.b", false, "", ports, 0)]);
        assert_eq!(table.lookup(false, b"a.b", "/"), plain, "{ports:?}");
        assert_eq!(table.lookup(true, b"a.b", "/"), secure, "{ports:?}");
        assert_eq!(table.lookup(true, b"b.b", "/"), Lookup::NoHost);
    }
}

/// [MATCH-13, MATCH-14]
#[test]
fn clear_route_below_a_redirect_is_served() {
    let table = RouteTable::build(vec![
        entry("a.b", false, "/a", EDGE_REDIRECT, 0),
        entry("a.b", false, "/a/b", CLEAR, 1),
    ]);
    assert_eq!(table.lookup(false, b"a.b", "/a/b/c"), Lookup::Serve(&1));
    assert_eq!(table.lookup(false, b"a.b", "/a/c"), Lookup::Redirect(&0));
    assert_eq!(table.lookup(true, b"a.b", "/a/b/c"), Lookup::Serve(&0));
}

/// [MATCH-10, MATCH-11, MATCH-12] with rows 3 and 10 of the quirk register.
#[test]
fn exact_host_then_longest_path_then_age() {
    let table = RouteTable::build(vec![
        entry("w.b.c", true, "/long/path", CLEAR, 0),
        entry("x.b.c", false, "/long", CLEAR, 1),
        entry("x.b.c", false, "/a/", CLEAR, 2),
        entry("x.b.c", false, "/a/%41", CLEAR, 3),
        entry("y.b.c", false, "/", CLEAR, 5),
        entry("y.b.c", false, "", CLEAR, 4),
        entry("w.b.c", true, "", CLEAR, 6),
    ]);
    for (host, path, want) in [
        ("x.b.c", "/long/path", 1),
        ("x.b.c", "/a/%41", 3),
        ("x.b.c", "/a/%4", 2),
        ("x.b.c", "/other", 6),
        ("z.b.c", "/long/path", 0),
        ("y.b.c", "/", 4),
    ] {
        assert_eq!(
            table.lookup(false, host.as_bytes(), path),
            Lookup::Serve(&want),
            "{host}{path}"
        );
    }
}

/// Follows 10.2 and 10.3: a list of patterns per map, tried one after the other.
fn oracle(entries: &[Entry<usize>], tls: bool, host: &str, path: &str) -> (bool, Option<usize>) {
    let first = |wanted: &dyn Fn(Ports) -> bool| {
        let mut list: Vec<_> = entries.iter().filter(|e| wanted(e.ports)).collect();
        let length =
            |e: &Entry<usize>| if e.path.trim_matches('/').is_empty() { 0 } else { e.path.len() };
        list.sort_by_key(|e| (e.wildcard, std::cmp::Reverse(length(e)), e.age_rank));
        list.into_iter().find(|e| covers(e, &format!("{}{path}", host.to_lowercase()))).cloned()
    };
    if !tls
        && let Some(e) = first(&|_| true)
        && e.ports.plain == PlainRule::Redirect
    {
        return (true, Some(e.value));
    }
    let served = first(&|p| if tls { p.secure } else { p.plain == PlainRule::Serve });
    (false, served.map(|e| e.value))
}

fn covers(entry: &Entry<usize>, key: &str) -> bool {
    let rest = if entry.wildcard {
        let domain = entry.host.split_once('.').unwrap().1;
        let label = key.find(['.', '/']).unwrap_or(key.len());
        key[label..].strip_prefix('.').and_then(|rest| rest.strip_prefix(domain))
    } else {
        key.strip_prefix(&*entry.host)
    };
    let Some(rest) = rest else { return false };
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let rest = match rest.strip_prefix(':') {
        Some(port) if port.starts_with(|c: char| c.is_ascii_digit()) => {
            port.trim_start_matches(|c: char| c.is_ascii_digit())
        },
        _ => rest,
    };
    if entry.path.trim_matches('/').is_empty() {
        rest.is_empty() || rest.starts_with('/')
    } else if entry.path.ends_with('/') {
        rest.starts_with(&*entry.path)
    } else {
        rest == &*entry.path || rest.starts_with(&format!("{}/", entry.path))
    }
}

prop_compose! {
    fn any_entry()(
        host in "[ab]\\.[cd]\\.e",
        wildcard in any::<bool>(),
        path in "(/?|(/[ab!]{0,2}){1,4}/?)",
        ports in prop::sample::select(ALL_PORTS.to_vec()),
    ) -> Entry<usize> {
        entry(&host, wildcard, &path, ports, 0)
    }
}

proptest! {
    #[test]
    fn table_agrees_with_the_list_of_patterns(
        mut entries in prop::collection::vec(any_entry(), 0..24),
        requests in prop::collection::vec(
            ("[abAx]?\\.[cd]\\.e\\.?(:[0-9]{0,2})?", "((/[ab!]{0,2}){1,5})?", any::<bool>()),
            1..24,
        ),
    ) {
        for (value, entry) in entries.iter_mut().enumerate() {
            entry.value = value;
            entry.age_rank = u64::try_from(value).unwrap();
        }
        let table = RouteTable::build(entries.clone());
        for (host, path, tls) in requests {
            let got = match table.lookup(tls, host.as_bytes(), &path) {
                Lookup::Redirect(&value) => (true, Some(value)),
                Lookup::Serve(&value) => (false, Some(value)),
                Lookup::NoHost | Lookup::NoPath => (false, None),
            };
            prop_assert_eq!(got, oracle(&entries, tls, &host, &path), "{} {} {}", tls, host, path);
        }
    }
}
