//! Hop-by-hop and forwarding rules: tables and arbitrary header sets.

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn forwarded(lines: &[(&str, &str)], client: &str, h2: bool, policy: ForwardedPolicy) -> HeaderMap {
    let mut headers = map(lines);
    let host = HeaderValue::from_static("a.b:8080");
    let client = client.parse().unwrap();
    let about = Forwarding { client, host: &host, port: 443, tls: true, h2 };
    let mut said = Said::default();
    // Again with what is known by then, and in between for another host: nothing may differ.
    let mut again = headers.clone();
    let mut write = |headers: &mut HeaderMap, about: &Forwarding<'_>| {
        forward(headers, about, &mut said, policy);
        forward_for(headers, about, &mut said, policy);
    };
    write(&mut headers, &about);
    let other = HeaderValue::from_static("other");
    write(&mut HeaderMap::new(), &Forwarding { host: &other, ..about });
    write(&mut again, &about);
    assert_eq!(headers, again);
    headers
}

const FIELDS: [(&str, &str); 6] = [
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-host", "a.b:8080"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-proto-version", "h2"),
    ("forwarded", "for=192.0.2.7;host=a.b:8080;proto=https"),
];

/// [FWD-1, FWD-3]
#[test]
fn each_policy_writes_its_column() {
    let old: Vec<_> = FIELDS.iter().map(|(name, _)| (*name, "old")).collect();
    let none: [&str; 0] = [];
    for (policy, is_new_alone, with_old) in [
        (ForwardedPolicy::Append, true, [true, true]),
        (ForwardedPolicy::Replace, true, [false, true]),
        (ForwardedPolicy::IfNone, true, [true, false]),
        (ForwardedPolicy::Never, false, [true, false]),
    ] {
        let fresh = forwarded(&[], "192.0.2.7", true, policy);
        let kept = forwarded(&old, "192.0.2.7", true, policy);
        for (name, value) in FIELDS {
            let want = if is_new_alone { vec![value] } else { none.to_vec() };
            assert_eq!(all(&fresh, name), want, "{policy:?} {name}");
            let both = ["old", value].into_iter().zip(with_old).filter(|(_, on)| *on);
            let want: Vec<_> = both.map(|(value, _)| value).collect();
            assert_eq!(all(&kept, name), want, "{policy:?} {name}");
        }
    }
}

/// [FWD-2]
#[test]
fn two_incoming_lines_become_three() {
    let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
    let headers = forwarded(&lines, "3.3.3.3", false, ForwardedPolicy::Append);
    assert_eq!(all(&headers, "x-forwarded-for"), ["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    assert!(!headers.contains_key("x-forwarded-proto-version"));
}

/// [FWD-3, FWD-4]
#[test]
fn addresses_and_proto_are_written_as_the_field_wants_them() {
    let v6 = forwarded(&[], "2001:db8::1", false, ForwardedPolicy::Append);
    assert_eq!(all(&v6, "x-forwarded-for"), ["2001:db8::1"]);
    assert_eq!(all(&v6, "forwarded"), ["for=\"[2001:db8::1]\";host=a.b:8080;proto=https"]);
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(
        all(&forwarded(&[], longest, false, ForwardedPolicy::Append), "x-forwarded-for"),
        [longest]
    );
    let own = [("x-forwarded-proto", "http"), ("x-forwarded-proto", "wss")];
    let own = forwarded(&own, "10.0.0.200", false, ForwardedPolicy::IfNone);
    assert_eq!(all(&own, "forwarded"), ["for=10.0.0.200;host=a.b:8080;proto=wss"]);
}

/// Row 18 of the quirk register deviates from [FWD-6].
#[test]
fn replace_deletes_a_claimed_proto_version() {
    let claimed = [("x-forwarded-proto-version", "h2")];
    let headers = forwarded(&claimed, "1.1.1.1", false, ForwardedPolicy::Replace);
    assert!(!headers.contains_key("x-forwarded-proto-version"));
}

/// S-21, S-22, [SEC-1, MTLS-5]
#[test]
fn request_fields_that_end_here_are_removed() {
    let mut headers = map(&[
        ("connection", "x-hop, Host, Authorization, cookie, x-forwarded-for,, keep-alive"),
        ("connection", "content-length, transfer-encoding, \"odd\", X-Two"),
        ("x-hop", "1"),
        ("x-two", "1"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
        ("upgrade", "h2c"),
        ("http2-settings", "1"),
        ("te", "gzip, Trailers"),
        ("proxy", "1"),
        ("x-ssl", "1"),
        ("x-ssl-client-cn", "1"),
        ("x_ssl_client_cn", "1"),
        ("x_forwarded-for", "1"),
        ("content_length", "1"),
        ("transfer_encoding", "1"),
    ]);
    let kept = [
        ("host", "a"),
        ("authorization", "a"),
        ("cookie", "a"),
        ("x-forwarded-for", "a"),
        ("content-length", "1"),
        ("proxy-authorization", "a"),
        ("trailer", "a"),
        ("x_other", "a"),
    ];
    headers.extend(map(&kept));
    strip_request_hop_by_hop(&mut headers, ClientFields::Delete);
    let mut want = map(&kept);
    want.insert("te", HeaderValue::from_static("trailers"));
    assert_eq!(headers, want);
}

/// [MTLS-5]: ROUTER_MUTUAL_TLS_HEADER_FILTER decides about the fields of certificates, under either
/// spelling, and about nothing else.
#[test]
fn mtls_5_certificate_fields_of_clients_are_deleted_unless_kept() {
    let fields = [
        ("x-ssl", "1"),
        ("x-ssl-client-cn", "a"),
        ("x-ssl-client-subject", "a"),
        ("x_ssl_client_dn", "a"),
        ("x-ssl_issuer", "a"),
    ];
    let others = [("x-ssl-other", "1"), ("x_other", "1")];
    let run = |client| {
        let mut headers = map(&fields);
        headers.extend(map(&others));
        headers.insert("x_forwarded_for", HeaderValue::from_static("1.2.3.4"));
        strip_request_hop_by_hop(&mut headers, client);
        headers
    };
    assert_eq!(run(ClientFields::Delete), map(&others));
    let mut kept = map(&fields);
    kept.extend(map(&others));
    assert_eq!(run(ClientFields::Keep), kept);
}

#[test]
fn response_fields_that_end_here_are_removed() {
    let mut headers = map(&[
        ("connection", "close, x-hop, set-cookie"),
        ("x-hop", "1"),
        ("keep-alive", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("set-cookie", "a"),
        ("trailer", "a"),
    ]);
    strip_response_hop_by_hop(&mut headers);
    assert_eq!(headers, map(&[("set-cookie", "a"), ("trailer", "a")]));
}

#[test]
fn only_a_nominated_protocol_other_than_h2c_upgrades() {
    let asks = |connection, protocol, version| {
        let headers = map(&[("connection", connection), ("upgrade", protocol)]);
        upgrade_of(&headers, version)
    };
    let v11 = Version::HTTP_11;
    assert_eq!(asks("keep-alive, Upgrade", "websocket", v11).unwrap(), "websocket");
    assert_eq!(asks("keep-alive", "websocket", v11), None);
    assert_eq!(asks("upgrade", "H2C", v11), None);
    assert_eq!(asks("upgrade", "", v11), None);
    assert_eq!(asks("upgrade", "websocket", Version::HTTP_10), None);
    assert_eq!(upgrade_of(&map(&[("connection", "upgrade")]), v11), None);
}

#[test]
fn cookie_crumbs_are_joined() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]);
    merge_cookies(&mut headers);
    assert_eq!(all(&headers, "cookie"), ["a=1; b=2; c=3; d=4"]);
}

proptest! {
    #[test]
    fn nothing_hop_by_hop_survives(
        fields in prop::collection::vec(("[a-z_-]{1,12}", "[ -~]{0,20}"), 0..20),
        nominated in prop::collection::vec("[a-c]{1,2}", 0..6),
        junk in "[ -~]{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().chain(&[("connection".to_owned(), junk)]) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        for name in &nominated {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
            headers.append("connection", name.parse().unwrap());
        }
        let mut response = headers.clone();
        _ = upgrade_of(&headers, Version::HTTP_11);
        merge_cookies(&mut headers);
        strip_request_hop_by_hop(&mut headers, ClientFields::Delete);
        strip_response_hop_by_hop(&mut response);
        for headers in [&headers, &response] {
            for name in nominated.iter().map(String::as_str).chain(["connection", "keep-alive", "upgrade"]) {
                prop_assert!(!headers.contains_key(name), "{}", name);
            }
        }
    }
}

/// S-23, in any spelling that a pod could take for the name.
#[test]
fn trailers_say_nothing_about_framing_or_identity() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("host", "a"),
        ("x-forwarded-for", "a"),
        ("x_ssl_client_cn", "a"),
        ("authorization", "a"),
        ("set-cookie", "a"),
        ("x_sum", "1"),
    ]);
    strip_trailers(&mut trailers);
    let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["grpc-status", "x_sum"]);
}
