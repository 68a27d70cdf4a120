//! Log lines: one valid JSON line for each record, whatever a client sends (S-94).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Uri};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{objects::ObjectKey, reason::Reason},
    proxy::record::{Frontend, Times},
};

fn record() -> AccessRecord {
    AccessRecord {
        passthrough: false,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_785_846_600_250),
        client: "203.0.113.9:4711".parse().unwrap(),
        frontend: Frontend::FeSni,
        version: Version::HTTP_11,
        method: Method::GET,
        host: Some(HeaderValue::from_static("shop.example.com")),
        target: Uri::from_static("/cart?x=1"),
        status: 503,
        bytes_in: 0,
        bytes_out: 12,
        route: None,
        server: None,
        times: Times { head: Some(1), queue: None, connect: None, response: None, total: 12_034 },
        retries: 0,
        reason: Some(Reason::NoRoute),
        termination: *b"SC",
        generation: 7,
        ..AccessRecord::default()
    }
}

fn line(record: &AccessRecord) -> String {
    let mut out = Vec::new();
    Formatter::default().line(record, None, &mut out);
    String::from_utf8(out).unwrap()
}

/// [LOG-3]: the fields of the TCP line; nothing that only a request has.
#[test]
fn log_3_a_connection_that_is_passed_through_has_a_line_too() {
    let passed = AccessRecord {
        passthrough: true,
        frontend: Frontend::PublicSsl,
        bytes_in: 517,
        times: Times { queue: Some(0), connect: Some(250), head: None, ..record().times },
        reason: None,
        termination: *b"--",
        status: 0,
        ..record()
    };
    assert_eq!(
        line(&passed),
        "{\"ts\":\"2026-08-04T12:30:00.250Z\",\"client\":\"203.0.113.9\",\"client_port\":4711,\
         \"listener\":\"public_ssl\",\"proto\":\"TCP\",\"sni\":\"shop.example.com\",\
         \"bytes_in\":517,\"bytes_out\":12,\"t_queue_ms\":0.000,\"t_connect_ms\":0.250,\
         \"t_total_ms\":12.034,\"retries\":0,\"term_state\":\"----\",\"gen\":7}"
    );
}

#[test]
fn a_line_has_the_agreed_keys() {
    assert_eq!(
        line(&record()),
        "{\"ts\":\"2026-08-04T12:30:00.250Z\",\"client\":\"203.0.113.9\",\"client_port\":4711,\
         \"listener\":\"fe_sni\",\"proto\":\"HTTP/1.1\",\"method\":\"GET\",\
         \"host\":\"shop.example.com\",\"path\":\"/cart\",\"query\":\"x=1\",\"status\":503,\
         \"bytes_in\":0,\"bytes_out\":12,\"t_req_ms\":0.001,\"t_total_ms\":12.034,\"retries\":0,\
         \"reason\":\"no_route\",\"term_state\":\"SC--\",\"gen\":7}"
    );
}

#[test]
fn a_client_cannot_forge_a_line_s_94() {
    let mut record = record();
    // A header value cannot hold CR or LF, but it can hold a tab, quotes and bytes above 0x7f.
    record.user_agent = HeaderValue::from_bytes(b"\"},\t{\"fake\":1\xff\xc2\x9b2J\\").ok();
    let text = line(&record);
    assert!(text.contains(r#""ua":"\"},\u0009{\"fake\":1\\xff\u009b2J\\""#), "{text}");
    assert_eq!(text.matches('\n').count(), 0);
}

#[test]
fn the_route_and_the_pod_are_those_of_the_record() {
    let route = |name: &str| {
        let snapshot = crate::admin::fixture::snapshot();
        let mut route = snapshot.routes.into_iter().find_map(|state| state.compiled).unwrap();
        drop(snapshot.table);
        Arc::get_mut(&mut route).unwrap().key = ObjectKey::new("shop", name);
        route
    };
    let routes = [route("one"), route("two")];
    let mut formatter = Formatter::default();
    // More than are kept, each several times, in changing company.
    for (turn, generation) in (0..6 * DESTINATIONS).zip([7, 7, 7, 8, 8].into_iter().cycle()) {
        let (route, server) = (&routes[turn % 2], [None, Some(0), Some(1), Some(9)][turn / 2 % 4]);
        let record =
            AccessRecord { route: Some(Arc::clone(route)), server, generation, ..record() };
        let mut out = Vec::new();
        formatter.line(&record, None, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["route"], *route.key.name, "{turn}");
        let pod = server.and_then(|index| ["web-1", "web-2"].get(index as usize).copied());
        assert_eq!(value.get("pod").and_then(|pod| pod.as_str()), pod, "{turn}");
        let kept = formatter.destinations.iter().flatten().count();
        assert!(kept <= DESTINATIONS && kept > 0);
    }
}

#[test]
fn plain_is_what_escaping_leaves_alone() {
    for at in 0..11 {
        for byte in 0..=255_u8 {
            let mut value = *b"abcdefghijk";
            value[at] = byte;
            let plain = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
            assert_eq!(is_plain(&value), plain, "{byte:#x} at {at}");
        }
    }
}

proptest! {
    #[test]
    fn every_value_makes_one_line_of_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut record = record();
        record.host = HeaderValue::from_bytes(&bytes).ok();
        record.referer = HeaderValue::from_bytes(&bytes).ok();
        let text = line(&record);
        prop_assert_eq!(text.find('\n'), None);
        prop_assert!(text.trim_end().chars().all(|c| !c.is_control()));
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn escaping_valid_text_is_lossless(text in "\\PC*|[\\x00-\\x1f\\x7f-\\x9f\u{2028}]*") {
        let mut out = vec![b'"'];
        escape(text.as_bytes(), &mut out);
        out.push(b'"');
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
