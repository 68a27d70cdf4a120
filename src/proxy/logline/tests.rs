//! Lines against those that HAProxy 2.6 was seen to write for the same requests.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Uri, Version};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        logformat::{self, Empty},
        reason::Reason,
    },
    proxy::{
        detail::{Counts, Detail, Facts, Tls},
        fixture,
        record::{Frontend, Times},
    },
};

fn process() -> Process {
    Process { host: "vm".into(), pid: 14809 }
}

fn filled(format: &str, record: &AccessRecord) -> String {
    let format = LogFormat::parse(format, Empty::Dash).unwrap();
    let process = process();
    let id = LogFormat::parse("%ci-%rt", Empty::Nothing).unwrap();
    let mut out = Vec::new();
    write(&format, &Frame { record, process: &process, count: 3, id: Some(&id) }, &mut out);
    String::from_utf8(out).unwrap()
}

fn bytes(text: &str) -> Option<Box<[u8]>> {
    Some(text.as_bytes().into())
}

fn record() -> AccessRecord {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_418_155_290);
    let facts = Facts { destination: "10.9.8.7:443".parse().unwrap(), tls: None, terminated: None };
    let detail = Detail {
        facts: Arc::new(facts),
        since: at - Duration::from_millis(83),
        handshake: 50_000,
        idle: 30_000,
        assigned: Some(1_000),
        number: 0xbeef,
        response_head: 95,
        request_head: 60,
        counts: Counts { active: 1, frontend: 1, backend: 0, server: 0 },
        request: vec![bytes("a.example."), bytes("12345")],
        response: vec![bytes("text/pla")],
        request_cookie: bytes("SESSIO"),
        response_cookie: bytes("SESSIO"),
        ..Detail::default()
    };
    AccessRecord {
        at,
        client: "127.0.0.1:40894".parse().unwrap(),
        frontend: Frontend::Public,
        method: Method::GET,
        target: Uri::from_static("/x?y=1"),
        version: Version::HTTP_11,
        status: 200,
        bytes_out: 4,
        bytes_in: 7,
        route: Some(fixture::route(None)),
        server: Some(0),
        times: Times {
            head: Some(3_999),
            queue: None,
            connect: Some(2_000),
            response: Some(40_000),
            total: 50_500,
        },
        detail: Some(Box::new(detail)),
        ..AccessRecord::default()
    }
}

fn detail(record: &mut AccessRecord) -> &mut Detail {
    record.detail.as_mut().unwrap()
}

/// [LOG-2]: HAProxy's own line for this request was, with other times and names,
/// `127.0.0.1:40894 [23/Nov/2026:07:15:55.290] public be_http:a:a/pod:a 0/0/0/0/0 200 99 SESSIO SESSIO
/// ---- 1/1/0/0/0 0/0 {a.example.|12345} {text/pla} "GET /x?y=1 HTTP/1.1"`.
#[test]
fn log_2_the_line_of_a_request_is_haproxys() {
    let mut record = record();
    record.times.head = Some(0);
    assert_eq!(
        filled(logformat::HTTP, &record),
        "127.0.0.1:40894 [23/Nov/2026:07:15:55.290] public be_http:app:web/ept:web:10.0.0.1:80 \
         0/1/2/40/50 200 99 SESSIO SESSIO ---- 1/1/0/0/0 0/0 {a.example.|12345} {text/pla} \
         \"GET /x?y=1 HTTP/1.1\""
    );
    record.retries = 2;
    detail(&mut record).redispatched = true;
    detail(&mut record).queued = 4;
    let counts = filled("%ac/%fc/%bc/%sc/%rc %sq/%bq", &record);
    assert_eq!(counts, "1/1/0/0/+2 4/0");
}

/// [LOG-2, LOG-7]: what HAProxy could not read has no captures and no times.
#[test]
fn log_7_a_bad_request_has_haproxys_line() {
    let mut record = record();
    (record.route, record.server, record.status, record.bytes_out) = (None, None, 400, 90);
    (record.termination, record.reason) = (*b"PR", Some(Reason::BadRequest));
    record.times = Times { head: Some(900), total: 100, ..Times::default() };
    let counts = detail(&mut record).counts;
    let refused = Detail { unparsed: true, counts, request: vec![None], ..Detail::default() };
    record.detail = Some(Box::new(refused));
    assert_eq!(
        filled(logformat::HTTP, &record),
        "127.0.0.1:40894 [23/Nov/2026:07:15:55.289] public public/<NOSRV> -1/-1/-1/-1/1 400 0 - - \
         PR-- 1/1/0/0/0 0/0 \"<BADREQ>\""
    );
}

/// [LOG-7]: backends and servers of what no pod answers.
#[test]
fn log_7_the_routers_own_answers_name_their_backend() {
    let mut record = record();
    record.server = None;
    record.times = Times::default();
    detail(&mut record).assigned = None;
    let line = "%b/%s %Tw/%Tc/%Tr %tsc";
    for (route, reason, state, expected) in [
        (true, Reason::Redirect, *b"LR", "public/<NOSRV> -1/-1/-1 LR--"),
        (true, Reason::NoEndpoints, *b"SC", "be_http:app:web/<NOSRV> -1/-1/-1 SC--"),
        (false, Reason::NoRoute, *b"SC", "openshift_default/<NOSRV> -1/-1/-1 SC--"),
        (false, Reason::Misdirected, *b"PR", "public/<NOSRV> -1/-1/-1 PR--"),
    ] {
        record.route = route.then(|| fixture::route(None));
        (record.reason, record.termination) = (Some(reason), state);
        assert_eq!(filled(line, &record), expected, "{reason:?}");
    }
}

/// [LOG-4]: the two lines of a TLS connection.
#[test]
fn log_4_a_tls_connection_has_a_line_of_its_own() {
    let mut record = record();
    let tls =
        Tls { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", name: Some("a.b".into()) };
    let facts = Facts {
        destination: "[2001:db8::1]:443".parse().unwrap(),
        tls: Some(tls),
        terminated: Some(Frontend::FeSni),
    };
    detail(&mut record).facts = Arc::new(facts);
    record.frontend = Frontend::FeSni;
    let request = "%f %ft %b/%s %sslv %sslc %[ssl_fc_sni] %[ssl_fc] %fi:%fp";
    assert_eq!(
        filled(request, &record),
        "fe_sni fe_sni~ be_http:app:web/ept:web:10.0.0.1:80 TLSv1.3 TLS_AES_128_GCM_SHA256 a.b 1 \
         2001:db8::1:443"
    );
    (record.passthrough, record.frontend) = (true, Frontend::PublicSsl);
    (record.route, record.server) = (None, None);
    assert_eq!(
        filled(logformat::TCP, &record),
        "127.0.0.1:40894 [23/Nov/2026:07:15:55.207] public_ssl be_sni/fe_sni 1/2/130 99 -- \
         1/1/0/0/0 0/0"
    );
}

/// [UID-1]: the operator's default format.
#[test]
fn uid_1_the_default_format_is_in_hexadecimal() {
    let format = "%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid";
    assert_eq!(filled(format, &record()), "7F000001:9FBE_0A090807:01BB_6B03E82B_BEEF:39D9");
    let plain = "%ci:%cp_%fi:%fp_%Ts_%rt:%pid";
    let expected = "127.0.0.1:40894_10.9.8.7:443_1795418155_48879:14809";
    assert_eq!(filled(plain, &record()), expected);
}

/// [LOG-3]: every other variable.
#[test]
fn log_3_each_variable_has_its_value() {
    let record = record();
    for (format, expected) in [
        ("%B %U %ST", "99 67 200"),
        ("%Th %Ti %TR %Tq %Tw %Tc %Tr %Td %Ta %Tt %Tu", "50 30 3 83 1 2 40 7 54 134 104"),
        ("%HM|%HU|%HP|%HPO|%HQ|%HV", "GET|/x?y=1|/x|/x|?y=1|HTTP/1.1"),
        ("%{+Q}r %r", "\"GET /x?y=1 HTTP/1.1\" GET /x?y=1 HTTP/1.1"),
        ("%T %Tl", "23/Nov/2026:07:15:55 +0000 23/Nov/2026:07:15:55 +0000"),
        (
            "%t|%tr|%trg|%trl",
            "23/Nov/2026:07:15:55.207|23/Nov/2026:07:15:55.286|23/Nov/2026:07:15:55 +0000|23/Nov/2026:07:15:55 +0000",
        ),
        ("%ms %H %pid %lc %si:%sp", "207 vm 14809 3 10.0.0.1:80"),
        ("%hr %hs %hrl %hsl", "{a.example.|12345} {text/pla} a.example. 12345 text/pla"),
        ("%ts %tsc %CC %CS", "-- ---- SESSIO SESSIO"),
        ("%sslv %sslc %[ssl_fc_sni]", "- - -"),
        ("%ID %[unique-id]", "127.0.0.1-48879 127.0.0.1-48879"),
        ("%[capture.req.hdr(1)] %[capture.req.hdr(7)] %[capture.res.hdr(0)]", "12345 - text/pla"),
        ("%[src] %[src_port] %[dst] %[dst_port]", "127.0.0.1 40894 10.9.8.7 443"),
        ("%[method] %[path] %[query] %[pathq] %[url] %[status]", "GET /x y=1 /x?y=1 /x?y=1 200"),
        ("%[fe_name] %[be_name] %[hostname] %[pid]", "public be_http:app:web vm 14809"),
        ("%[uuid()]", "00000000-0000-4000-8000-000000000000"),
        ("%{+E}CC", "SESSIO"),
    ] {
        assert_eq!(filled(format, &record), expected, "{format}");
    }
    let bare = AccessRecord::default();
    assert_eq!(filled("%ci %hr%hs %B %ST", &bare), "0.0.0.0 0 -1", "blanks are merged");
}

/// S-94: HAProxy writes `#` and two digits.
#[test]
fn s_94_control_characters_do_not_reach_the_line() {
    let mut record = record();
    detail(&mut record).request = vec![Some(b"a\n{b|\"#\x7f\xff".as_slice().into())];
    detail(&mut record).request_cookie = Some(b"x\r\n\x1by\"]\\".as_slice().into());
    assert_eq!(filled("%hr", &record), "{a#0A#7Bb#7C#22#23#7F#FF}");
    assert_eq!(filled("%CC %{+E}CC", &record), "x#0D#0A#1By\"]\\ x#0D#0A#1By\\\"\\]\\\\");
}

proptest! {
    #[test]
    fn every_record_is_one_line(
        value in prop::collection::vec(any::<u8>(), 0..40),
        path in "/[!-~]{0,30}",
        flags in "(\\+[QXE],){0,2}",
        numbers in any::<[u32; 6]>(),
        unparsed: bool,
    ) {
        let mut record = record();
        if let Ok(uri) = Uri::try_from(path) {
            record.target = uri;
        }
        let [head, connect, response, total, idle, status] = numbers;
        record.times = Times { head: Some(head), queue: None, connect: Some(connect), response: Some(response), total };
        record.status = (status % 600) as u16;
        let inner = detail(&mut record);
        inner.request = vec![Some(value.clone().into())];
        inner.response_cookie = Some(value.clone().into());
        inner.unique_id = Some(value.into());
        (inner.idle, inner.unparsed) = (idle, unparsed);
        let line = filled(&format!("%{{{flags}}}o {} %ID %hrl %HU %si", logformat::HTTP), &record);
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
    }
}
