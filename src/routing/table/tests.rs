//! Cases of spec/route.md 10 one by one. `tests/it/matching` has the table against the list of regular
//! expressions, over routes and requests made at random.

use super::*;

const CLEAR: Ports = Ports { plain: PlainRule::Serve, secure: false };
const EDGE_NONE: Ports = Ports { plain: PlainRule::Hidden, secure: true };
const EDGE_ALLOW: Ports = Ports { plain: PlainRule::Serve, secure: true };
const EDGE_REDIRECT: Ports = Ports { plain: PlainRule::Redirect, secure: true };
const PASS_NONE: Ports = Ports { plain: PlainRule::Hidden, secure: false };
const PASS_REDIRECT: Ports = Ports { plain: PlainRule::Redirect, secure: false };

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
