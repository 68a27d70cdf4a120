//! What `wharf explain` prints.

use super::*;
use crate::admin::fixture;

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
           why: no route has this host on the HTTP port; answer: 503
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
    };
    let mut page = Page::default();
    let lines =
        [line("a", "1:1", 90, true), line("a", "1:2", 90, false), line("b", "1:3", 20, true)];
    endpoints(&lines, &mut page);
    assert_eq!(page.0, "endpoints  a 90%  1:1 up  1:2 down\n           b 10%  1:3 up\n");
    let mut page = Page::default();
    endpoints(&[], &mut page);
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
