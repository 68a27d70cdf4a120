//! Claims against a naive oracle, in every order of routes.

use proptest::prelude::*;

use super::*;

/// The rules with wildcard routes.
fn wildcards() -> Rules {
    Rules { allow_wildcard: true, ..Rules::default() }
}

fn claim<'a>(name: &'a str, order: u64, host: &'a str, path: &'a str) -> Claim<'a> {
    Claim {
        namespace: "ns",
        name,
        uid: "",
        created: None,
        order,
        host,
        path,
        wildcard_policy: "None",
        termination: Termination::None,
    }
}

fn admitted<'a>(routes: &[Claim<'a>], rules: &Rules) -> Vec<&'a str> {
    let outcome = admit(routes, rules);
    let pairs = routes.iter().zip(&outcome);
    pairs.filter(|(_, o)| o.is_admitted()).map(|(r, _)| r.name).collect()
}

fn rejection(route: usize, routes: &[Claim<'_>], rules: &Rules) -> (RejectReason, String) {
    match admit(routes, rules).swap_remove(route) {
        Admission::Admitted | Admission::AdmittedUpdated { .. } => {
            panic!("{:?} is admitted", routes[route])
        },
        Admission::Rejected { reason, message } => (reason, message),
    }
}

/// [CLAIM-EX1]
#[test]
fn oldest_route_of_a_path_wins_and_deletes_release() {
    let mut routes = vec![
        claim("a", 0, "example.com", ""),
        claim("b", 1, "example.com", "/foo"),
        claim("c", 2, "example.com", "/foo"),
        claim("d", 3, "example.com", "/foo"),
        claim("e", 4, "example.com", "/bar"),
    ];
    let rules = Rules::default();
    assert_eq!(admitted(&routes, &rules), ["a", "b", "e"]);
    let held = (
        RejectReason::HostAlreadyClaimed,
        "route b already exposes example.com and is older".to_owned(),
    );
    assert_eq!(rejection(3, &routes, &rules), held);
    routes.remove(1);
    assert_eq!(admitted(&routes, &rules), ["a", "c", "e"]);
    assert!(rejection(2, &routes, &rules).1.starts_with("route c "), "names the present owner");
    routes.remove(1);
    assert_eq!(admitted(&routes, &rules), ["a", "d", "e"]);
    routes.remove(2);
    assert_eq!(admitted(&routes, &rules), ["a", "d"]);
}

/// [ADM-1, ADM-2, ADM-4]: denied before allowed, both before the policy, and none of it for a route
/// without host.
#[test]
fn adm_2_denied_domains_win_over_allowed_ones() {
    let rules = Rules {
        denied: ["bad.test"].into_iter().collect(),
        allowed: ["test", "x.org"].into_iter().collect(),
        ..Rules::default()
    };
    let denied = "host in list of denied domains";
    let outside = "host not in the allowed list of domains";
    let wildcard = "wildcard routes are not allowed";
    for (host, policy, want) in [
        ("a.bad.test", "None", Some(denied)),
        ("bad.test", "Subdomain", Some(denied)),
        ("notbad.test", "None", None),
        ("a.org", "None", Some(outside)),
        ("a.org", "Subdomain", Some(outside)),
        ("a.x.org", "Subdomain", Some(wildcard)),
        ("a.x.org", "Odd", Some("unknown wildcard policy Odd")),
        ("A.X.ORG", "None", Some(outside)),
    ] {
        let route = [Claim { wildcard_policy: policy, ..claim("a", 0, host, "") }];
        match want {
            None => assert_eq!(admitted(&route, &rules), ["a"], "{host}"),
            Some(message) => {
                let want = (RejectReason::RouteNotAdmitted, message.to_owned());
                assert_eq!(rejection(0, &route, &rules), want, "{host}");
            },
        }
    }
    let empty = [claim("a", 0, "", "")];
    assert_eq!(rejection(0, &empty, &rules).0, RejectReason::NoHostValue);
    let allowed = DomainList::default();
    let open = Rules { allowed, ..rules };
    assert_eq!(admitted(&[claim("a", 0, "a.org", "")], &open), ["a"], "an empty list allows all");
}

/// [PIPE-1, CLAIM-2, CLAIM-10]: a route that the router's own rules refuse claims nothing; one whose
/// host is no name is refused behind the wildcard admitter, where its claim stands.
#[test]
fn pipe_1_what_is_refused_early_claims_nothing() {
    let rules = wildcards();
    let wild = |host| Claim { wildcard_policy: "Subdomain", ..claim("wild", 0, host, "") };
    let foreign = |host| Claim { namespace: "other", ..claim("other", 1, host, "") };
    let denied = Rules { denied: ["a.x.y"].into_iter().collect(), ..wildcards() };
    assert_eq!(admitted(&[wild("a.x.y"), foreign("b.x.y")], &denied), ["other"]);
    assert_eq!(admitted(&[wild(""), foreign("x.y")], &rules), ["other"]);
    let routes = [wild("a_b.x.y"), foreign("b.x.y")];
    assert_eq!(rejection(0, &routes, &rules).0, RejectReason::InvalidHost);
    assert_eq!(rejection(1, &routes, &rules).0, RejectReason::HostAlreadyClaimed);
}

/// [ADM-3, ADM-4, CLAIM-9, CLAIM-10]
#[test]
fn route_alone_is_refused_for_policy_and_host() {
    let with = |policy, host| [Claim { wildcard_policy: policy, ..claim("a", 0, host, "") }];
    for (policy, host, reason, message) in [
        ("Subdomain", "a.b", RejectReason::RouteNotAdmitted, "wildcard routes are not allowed"),
        ("Odd", "a.b", RejectReason::RouteNotAdmitted, "unknown wildcard policy Odd"),
        ("None", "", RejectReason::NoHostValue, "no host value was defined for the route"),
        (
            "",
            "A.b",
            RejectReason::InvalidHost,
            "host name validation errors: labels consist of lower case letters, digits and '-'",
        ),
    ] {
        let got = rejection(0, &with(policy, host), &Rules::default());
        assert_eq!(got, (reason, message.to_owned()));
    }
    assert_eq!(admitted(&with("Subdomain", "a.b"), &wildcards()), ["a"]);
    assert_eq!(admitted(&with("", "a.b"), &Rules::default()), ["a"]);
}

/// [CLAIM-1]
#[test]
fn age_goes_by_timestamp_then_uid_then_order() {
    let stamped = |name, created, uid| Claim { created, uid, ..claim(name, 0, "a.b", "") };
    let routes = [
        Claim { order: 2, ..claim("late", 0, "a.b", "") },
        Claim { order: 1, ..claim("early", 0, "a.b", "") },
        stamped("uid-b", Some(5), "b"),
        stamped("uid-a", Some(5), "a"),
        stamped("old", Some(4), "z"),
        stamped("no-uid", Some(5), ""),
    ];
    let names: Vec<_> = by_age(&routes).into_iter().map(|i| routes[i].name).collect();
    assert_eq!(names, ["old", "uid-a", "uid-b", "no-uid", "early", "late"]);
}

/// [CLAIM-12, CLAIM-13, CLAIM-17]
#[test]
fn namespace_of_the_oldest_route_owns_the_host() {
    let routes = [
        claim("a", 0, "a.b", "/1"),
        Claim { namespace: "other", ..claim("b", 1, "a.b", "/2") },
        Claim { namespace: "other", ..claim("c", 2, "a.b", "/1") },
    ];
    assert_eq!(admitted(&routes, &Rules::default()), ["a"]);
    let message = rejection(1, &routes, &Rules::default()).1;
    assert_eq!(message, "a route in another namespace holds a.b and is older than b");
    let open = Rules { disable_namespace_ownership_check: true, ..Rules::default() };
    assert_eq!(admitted(&routes, &open), ["a", "b"]);
}

/// [CLAIM-14]
#[test]
fn passthrough_tolerates_no_other_tls_route_on_its_host() {
    let tls =
        |name, order, path, termination| Claim { termination, ..claim(name, order, "a.b", path) };
    let pass = tls("pass", 0, "", Termination::Passthrough);
    assert_eq!(
        admitted(
            &[pass, tls("edge", 1, "/x", Termination::Edge), claim("clear", 2, "a.b", "/y")],
            &wildcards()
        ),
        ["pass", "clear"]
    );
    assert_eq!(admitted(&[pass, claim("clear", 1, "a.b", "")], &wildcards()), ["pass"]);
    let older = tls("edge", 0, "/x", Termination::Edge);
    assert_eq!(admitted(&[older, Claim { order: 1, ..pass }], &wildcards()), ["edge"]);
}

/// [CLAIM-4, CLAIM-5, CLAIM-7]
#[test]
fn wildcard_and_foreign_host_below_it_exclude_each_other() {
    let wild = |name, order, path| Claim {
        wildcard_policy: "Subdomain",
        ..claim(name, order, "www.a.b", path)
    };
    let foreign = Claim { namespace: "other", ..claim("host", 1, "x.a.b", "") };
    let routes = [wild("wild", 0, ""), foreign];
    assert_eq!(admitted(&routes, &wildcards()), ["wild"]);
    assert_eq!(
        rejection(1, &routes, &wildcards()).1,
        "a route in another namespace holds host x.a.b"
    );
    assert_eq!(admitted(&[wild("wild", 2, ""), foreign], &wildcards()), ["host"]);
    assert_eq!(
        admitted(&[wild("wild", 0, ""), claim("host", 1, "x.a.b", "")], &wildcards()),
        ["wild", "host"]
    );
    let twice = [wild("wild", 0, ""), wild("again", 1, ""), wild("path", 2, "/p")];
    assert_eq!(admitted(&twice, &wildcards()), ["wild", "path"]);
    let message = rejection(1, &twice, &wildcards()).1;
    assert_eq!(message, "wildcard route ns/wild has host *.a.b, blocking www.a.b");
}

/// [CLAIM-2]: where wildcard routes are off, one of them is refused and stands in nobody's way.
#[test]
fn subdomains_are_owned_only_where_wildcards_are_on() {
    let wild = Claim { wildcard_policy: "Subdomain", ..claim("wild", 0, "www.a.b", "") };
    let foreign = |name, host| Claim { namespace: "other", ..claim(name, 1, host, "") };
    let routes = [wild, foreign("below", "x.a.b"), foreign("twin", "www.a.b")];
    assert_eq!(admitted(&routes, &Rules::default()), ["below", "twin"]);
    assert_eq!(admitted(&routes, &wildcards()), ["wild"]);
}

/// [CLAIM-3, CLAIM-11]: on one host a wildcard and a plain route of one namespace live together
/// when their paths differ; with one path they meet under the same key, and the older one wins. A
/// stranger has to be older.
#[test]
fn a_wildcard_and_its_plain_twin_meet_on_the_host() {
    let wild =
        |order| Claim { wildcard_policy: "Subdomain", ..claim("wild", order, "www.a.b", "") };
    let plain = |path| claim("plain", 1, "www.a.b", path);
    for (wild_order, other, want) in [
        (0, plain("/p"), &["wild", "plain"][..]),
        (2, plain("/p"), &["wild", "plain"]),
        (0, plain(""), &["wild"]),
        (2, plain(""), &["plain"]),
        (0, Claim { namespace: "other", ..plain("/p") }, &["wild"]),
        (2, Claim { namespace: "other", ..plain("/p") }, &["plain"]),
    ] {
        assert_eq!(
            admitted(&[wild(wild_order), other], &wildcards()),
            want,
            "{wild_order} {other:?}"
        );
    }
}

/// [CLAIM-6]: one older stranger is enough to refuse a wildcard, and nobody loses to what is refused;
/// the oldest displaces all strangers that conflict with it.
#[test]
fn the_newest_loses_to_any_blocker_and_the_oldest_beats_all() {
    let wild =
        |order| Claim { wildcard_policy: "Subdomain", ..claim("wild", order, "www.a.b", "") };
    let foreign = |name, order, host| Claim { namespace: "other", ..claim(name, order, host, "") };
    let others =
        [foreign("one", 1, "x.a.b"), foreign("two", 3, "y.a.b"), claim("own", 4, "z.a.b", "")];
    let with = |order| [wild(order), others[0], others[1], others[2]];
    assert_eq!(admitted(&with(0), &wildcards()), ["wild", "own"]);
    assert_eq!(admitted(&with(2), &wildcards()), ["one", "two", "own"]);
    assert_eq!(admitted(&with(5), &wildcards()), ["one", "two", "own"]);
}

/// Follows 4.1 and 4.2 rule by rule, each route against each older one.
fn oracle(routes: &[Claim<'_>], rules: &Rules) -> Vec<bool> {
    let domain = |r: &Claim<'_>| r.host.split_once('.').map_or("", |(_, d)| d).to_owned();
    let mut accepted: Vec<usize> = Vec::new();
    let mut active: Vec<usize> = Vec::new();
    for i in by_age(routes) {
        let r = &routes[i];
        let conflicts = |e: &Claim<'_>| {
            let friend = r.namespace == e.namespace || rules.disable_namespace_ownership_check;
            let differ = r.path != e.path;
            let claim3 = !e.is_wildcard() && e.host == r.host;
            let claim3 = claim3 && !(friend && (r.is_wildcard() || differ));
            let claim4 = e.is_wildcard() && domain(e) == domain(r);
            let claim4 = claim4 && !(friend && (!r.is_wildcard() || differ));
            let claim5 = r.is_wildcard() && !e.is_wildcard() && domain(e) == domain(r) && !friend;
            claim3 || claim4 || claim5
        };
        if rules.allow_wildcard && accepted.iter().any(|&e| conflicts(&routes[e])) {
            continue;
        }
        accepted.push(i);
        let tls = |r: &Claim<'_>| r.termination != Termination::None;
        let pass = |r: &Claim<'_>| r.termination == Termination::Passthrough;
        let refused = active.iter().map(|&a| &routes[a]).filter(|a| a.host == r.host).any(|a| {
            let foreign = !rules.disable_namespace_ownership_check && a.namespace != r.namespace;
            foreign || a.path == r.path || (tls(a) && tls(r) && (pass(a) || pass(r)))
        });
        if !refused {
            active.push(i);
        }
    }
    (0..routes.len()).map(|i| active.contains(&i)).collect()
}

prop_compose! {
    fn any_claim()(
        namespace in prop::sample::select(vec!["n1", "n2", "n3"]),
        uid in prop::sample::select(vec!["", "u1", "u2"]),
        created in prop::option::of(0..3_i64),
        order in 0..4_u64,
        host in prop::sample::select(vec!["a.x.y", "b.x.y", "c.x.y", "x.y", "a.z"]),
        path in prop::sample::select(vec!["", "/", "/a", "/b"]),
        wildcard_policy in prop::sample::select(vec!["", "None", "Subdomain"]),
        termination in prop::sample::select(vec![
            Termination::None, Termination::Edge, Termination::Reencrypt, Termination::Passthrough,
        ]),
    ) -> Claim<'static> {
        Claim { namespace, name: "", uid, created, order, host, path, wildcard_policy, termination }
    }
}

fn named<'a>(routes: &[Claim<'a>], names: &'a [String]) -> Vec<Claim<'a>> {
    routes.iter().zip(names).map(|(route, name)| Claim { name, ..*route }).collect()
}

proptest! {
    #[test]
    fn admission_agrees_with_the_rules_taken_one_by_one(
        routes in prop::collection::vec(any_claim(), 0..24),
        open in any::<bool>(),
        allowed in any::<bool>(),
    ) {
        let names: Vec<_> = (0..routes.len()).map(|i| i.to_string()).collect();
        let rules = Rules {
            allow_wildcard: allowed,
            disable_namespace_ownership_check: open,
            ..Rules::default()
        };
        let routes: Vec<_> = named(&routes, &names)
            .into_iter()
            .filter(|r| allowed || !r.is_wildcard())
            .collect();
        let got: Vec<_> = admit(&routes, &rules).iter().map(Admission::is_admitted).collect();
        prop_assert_eq!(got, oracle(&routes, &rules));
    }

    #[test]
    fn admission_does_not_depend_on_input_order(
        (routes, shuffled) in prop::collection::vec(any_claim(), 0..24).prop_flat_map(|routes| {
            let indexes: Vec<_> = (0..routes.len()).collect();
            (Just(routes), Just(indexes).prop_shuffle())
        }),
    ) {
        let names: Vec<_> = (0..routes.len()).map(|i| i.to_string()).collect();
        let routes = named(&routes, &names);
        let other: Vec<_> = shuffled.iter().map(|&i| routes[i]).collect();
        let straight = admit(&routes, &wildcards());
        let turned = admit(&other, &wildcards());
        for (at, &i) in shuffled.iter().enumerate() {
            prop_assert_eq!(&turned[at], &straight[i]);
        }
    }
}
