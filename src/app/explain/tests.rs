//! What `wharf explain` prints.

use super::*;
use crate::{admin::fixture, settings::RouterSettings};

#[test]
fn a_winner_and_a_loser() {
    let url = "https://shop.example.com/cart/1";
    let mut explained = explain::explain(&fixture::snapshot(), url).unwrap();
    explained.certificate = Some(crate::admin::model::CertView {
        host: "shop.example.com".to_owned(),
        source: "Route shop/web".to_owned(),
        not_after: "2026-08-04T12:30:00Z".to_owned(),
        not_after_unix: 1_785_846_600,
        names: Vec::new(),
        subject: "CN=shop.example.com".to_owned(),
        key: "ECDSA".to_owned(),
        http2: true,
        chain: Vec::new(),
    });
    assert_eq!(
        render(&explained),
        "\
listener   https (SNI shop.example.com, certificate of Route shop/web, valid until 2026-08-04T12:30:00Z)
winner     Route shop/web   host shop.example.com   path /cart   edge
           why: host is exact; longest path prefix
losers     shop/web-late   path /cart   rejected: HostAlreadyClaimed (route web already exposes shop.example.com)
policy     timeout 30s · tunnel 3600s · forwarded headers append
endpoints  web 100%  10.1.0.4:8080 up  10.1.0.5:8080 up
"
    );
}

#[test]
fn nobody_serves_an_unknown_host() {
    let mut snapshot = fixture::snapshot();
    snapshot.table = fixture::empty_table();
    let mut out = Vec::new();
    offline("http://other.example.com", &snapshot, false, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
listener   http (Host other.example.com)
winner     none
           why: no route has this host; answer: 503
"
    );
}

#[test]
fn json_can_be_read_back() {
    let mut out = Vec::new();
    offline("shop.example.com/cart", &fixture::snapshot(), true, &mut out).unwrap();
    let read: Explanation = serde_json::from_slice(&out).unwrap();
    assert_eq!(read.winner.unwrap().name, "web");
}

#[test]
fn services_share_by_weight() {
    let line = |service: &str, address: &str, weight, up| EndpointLine {
        service: service.to_owned(),
        address: address.to_owned(),
        pod: String::new(),
        weight,
        up,
        cluster_ip: false,
    };
    let mut page = Page::default();
    let lines =
        [line("a", "1:1", 90, true), line("a", "1:2", 90, false), line("b", "1:3", 20, true)];
    endpoints(&lines, "none", &mut page);
    assert_eq!(page.0, "endpoints  a 90%  1:1 up  1:2 down\n           b 10%  1:3 up\n");
    let mut page = Page::default();
    endpoints(&[], "none; answer: 503", &mut page);
    assert_eq!(page.0, "endpoints  none; answer: 503\n");
}

#[test]
fn a_code_prints_its_page() {
    let find = |number| (number == 1001).then_some(("a title", "a page\n"));
    let mut out = Vec::new();
    code("wh1001", find, &mut out).unwrap();
    assert_eq!(out, b"WH1001: a title\n\na page\n");
    for unknown in ["WH1002", "WH10011", "shop", "WH"] {
        assert!(matches!(code(unknown, find, &mut out), Err(Error::Code { .. })), "{unknown}");
    }
}

/// A folder with these Routes of namespace `app`: name, host, path, TLS section.
fn compiled(routes: &[(&str, &str, &str, serde_json::Value)]) -> Snapshot {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, host, path, tls) in routes {
        let route = serde_json::json!({
            "apiVersion": "route.openshift.io/v1",
            "kind": "Route",
            "metadata": {"name": name, "namespace": "app"},
            "spec": {"host": host, "path": path, "to": {"name": name}, "tls": tls},
        });
        std::fs::write(folder.path().join(format!("{name}.json")), route.to_string()).unwrap();
    }
    super::super::offline::snapshot(&[folder.path().to_owned()], &RouterSettings::default())
        .unwrap()
}

/// Each cell of the table of spec/route.md 10.4 [MATCH-13, MATCH-14], with the reason for it.
#[test]
fn the_reason_is_that_of_the_port() {
    let tls = |termination: &str, insecure: &str| {
        serde_json::json!({"termination": termination,
            "insecureEdgeTerminationPolicy": insecure})
    };
    let served = "host is exact; it takes every path";
    let away = "host is exact; it takes every path; insecureEdgeTerminationPolicy is Redirect, so \
                clients go to https";
    let hidden = "app/a would serve it, but is not on the HTTP port: its \
                  insecureEdgeTerminationPolicy is None; answer: 503";
    let stream =
        "host is exact; termination is passthrough, so the pod gets the TLS stream as it is";
    let clear_only =
        "app/a would serve it, but is not on the HTTPS port: it has no TLS section; answer: 503";
    for (tls, http, https) in [
        (serde_json::Value::Null, served, clear_only),
        (tls("edge", ""), hidden, served),
        (tls("edge", "None"), hidden, served),
        (tls("edge", "Allow"), served, served),
        (tls("edge", "Redirect"), away, served),
        (tls("reencrypt", ""), hidden, served),
        (tls("reencrypt", "Allow"), served, served),
        (tls("reencrypt", "Redirect"), away, served),
        (tls("passthrough", ""), hidden, stream),
        (tls("passthrough", "Redirect"), away, stream),
    ] {
        let snapshot = compiled(&[("a", "a.example.com", "", tls.clone())]);
        for (scheme, wanted) in [("http", http), ("https", https)] {
            let url = format!("{scheme}://a.example.com/x");
            assert_eq!(explain::explain(&snapshot, &url).unwrap().why, wanted, "{tls} {scheme}");
        }
    }
}

/// [MATCH-6, MATCH-13, NOMATCH-1]: who stands in whose way across paths and ports.
#[test]
fn losers_are_compared_with_who_stands_in_their_way() {
    let edge = |insecure: &str| serde_json::json!({"termination": "edge", "insecureEdgeTerminationPolicy": insecure});
    let snapshot = compiled(&[
        ("all", "a.example.com", "", edge("Redirect")),
        ("hidden", "a.example.com", "/x", edge("None")),
        ("clear", "a.example.com", "/x/y", serde_json::Value::Null),
        ("late", "a.example.com", "/x/y", serde_json::Value::Null),
        ("slash", "a.example.com", "/s/", serde_json::Value::Null),
    ]);
    let explained = |url: &str| {
        let explained = explain::explain(&snapshot, url).unwrap();
        let winner = explained.winner.map_or_else(|| "none".to_owned(), |winner| winner.name);
        let why = |name: &str| {
            let found = explained.losers.iter().find(|loser| loser.name == name);
            found.map(|loser| loser.why.clone()).unwrap_or_default()
        };
        (winner, explained.why.clone(), why("all"), why("hidden"), why("late"))
    };
    let (winner, why, all, hidden, late) = explained("http://a.example.com/x");
    assert_eq!(winner, "none");
    assert!(why.starts_with("app/hidden would serve it, but is not on the HTTP port"), "{why}");
    assert_eq!(all, "shorter prefix");
    assert!(hidden.starts_with("not on the HTTP port: its insecure"), "{hidden}");
    assert!(late.starts_with("rejected: HostAlreadyClaimed (route "), "{late}");
    let (winner, why, all, ..) = explained("http://a.example.com/x/y/z");
    assert_eq!((&*winner, &*all), ("clear", "shorter prefix"));
    assert_eq!(why, "host is exact; longest path prefix");
    let (winner, why, ..) = explained("https://a.example.com/s");
    assert_eq!((&*winner, &*why), ("all", "host is exact; it takes every path"), "MATCH-6");
    assert_eq!(explained("http://b.example.com").1, "no route has this host; answer: 503");
    let only = compiled(&[("path", "c.example.com", "/p", serde_json::Value::Null)]);
    for (url, wanted) in [
        (
            "http://c.example.com/q",
            "a route has this host on the HTTP port, none has this path; answer: 503",
        ),
        ("https://c.example.com/q", "no route with this host is on the HTTPS port; answer: 503"),
    ] {
        assert_eq!(explain::explain(&only, url).unwrap().why, wanted);
    }
}
