//! Which route wins a URL and why the others lose.

use super::*;
use crate::admin::fixture;

#[test]
fn the_winner_is_the_tables_and_losers_say_why() {
    let explained = explain(&fixture::snapshot(), "https://Shop.Example.com./cart/1?x").unwrap();
    assert_eq!(explained.outcome, Outcome::Serve);
    assert_eq!((explained.host.as_str(), explained.path.as_str()), ("shop.example.com", "/cart/1"));
    assert_eq!(explained.winner.unwrap().name, "web");
    assert_eq!(explained.why, "host is exact; longest path prefix");
    assert_eq!(explained.endpoints.len(), 2);
    let [loser] = &explained.losers[..] else { panic!("{:?}", explained.losers) };
    assert_eq!(
        loser.why,
        "rejected: HostAlreadyClaimed (route web already exposes shop.example.com)"
    );
}

#[test]
fn a_host_without_routes_is_a_503() {
    let mut snapshot = fixture::snapshot();
    snapshot.table = fixture::empty_table();
    let explained = explain(&snapshot, "other.example.com").unwrap();
    assert_eq!(explained.outcome, Outcome::NoHost);
    assert_eq!(explained.why, "no route has this host; answer: 503");
    assert!(explained.losers.is_empty() && explained.certificate.is_none());
}

#[test]
fn what_is_no_url_is_refused() {
    let snapshot = fixture::snapshot();
    for url in ["", "/cart", "http://", "https:///x", "a b"] {
        assert_eq!(explain(&snapshot, url), Err(ExplainError::NotUrl), "{url:?}");
    }
    assert_eq!(explain(&snapshot, "ftp://a/"), Err(ExplainError::Scheme));
}

/// [LSN-5]: on the HTTPS port a passthrough route takes the host before any path is looked at.
#[test]
fn a_passthrough_route_is_explained_by_its_name_alone() {
    let mut snapshot = fixture::snapshot();
    let mut other = fixture::snapshot();
    other.table = fixture::empty_table();
    let route = other.routes.remove(0).compiled.unwrap();
    let mut route = std::sync::Arc::into_inner(route).unwrap();
    (route.termination, route.path) = (Termination::Passthrough, "".into());
    let route = std::sync::Arc::new(route);
    let entry = crate::routing::sni::Entry {
        host: "shop.example.com",
        wildcard: false,
        age_rank: 0,
        value: Some(std::sync::Arc::clone(&route)),
    };
    snapshot.passthrough = crate::routing::sni::SniTable::build(vec![entry]);
    let explained = explain(&snapshot, "https://shop.example.com/any/path").unwrap();
    assert_eq!(explained.outcome, Outcome::Serve);
    assert_eq!(explained.winner.unwrap().termination, "passthrough");
    assert_eq!(
        explained.why,
        "host is exact; termination is passthrough, so the pod gets the TLS stream as it is"
    );
    assert!(explained.certificate.is_none());
    let plain = explain(&snapshot, "http://shop.example.com/cart").unwrap();
    assert_eq!(plain.winner.unwrap().termination, "edge");
}
