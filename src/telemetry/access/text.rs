//! A record as a line of the combined format, or as `key=value` pairs.

use std::io::Write as _;

use http::HeaderValue;

use super::json::{address, number, protocol, three_digits};
use crate::{
    model::logformat::Field,
    proxy::{logline::date, record::AccessRecord},
    telemetry::time,
};

/// The combined format of Apache and nginx. A connection that is passed through is a request of the
/// method TCP for its server name.
pub(super) fn combined(record: &AccessRecord, out: &mut Vec<u8>) {
    address(record.client.ip(), out);
    out.extend_from_slice(b" - - [");
    date(Field::DateGmt, record.at, out);
    out.extend_from_slice(b"] \"");
    if record.passthrough {
        out.extend_from_slice(b"TCP ");
        escaped(record.host.as_ref().map_or(b"-", HeaderValue::as_bytes), out);
    } else {
        out.extend_from_slice(record.method.as_str().as_bytes());
        out.push(b' ');
        escaped(record.target.to_string().as_bytes(), out);
        out.push(b' ');
        out.extend_from_slice(protocol(record.version).as_bytes());
    }
    out.extend_from_slice(b"\" ");
    match record.status {
        0 => out.push(b'-'),
        status => number(status, out),
    }
    out.push(b' ');
    number(record.bytes_out, out);
    for field in [&record.referer, &record.user_agent] {
        out.extend_from_slice(b" \"");
        escaped(field.as_ref().map_or(b"-", HeaderValue::as_bytes), out);
        out.push(b'"');
    }
}

/// As Apache does: a backslash before quotes and backslashes, and `\xNN` for what could end a line or
/// move a cursor.
fn escaped(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
}

/// `key=value` pairs with the keys of the JSON.
pub(super) fn logfmt(record: &AccessRecord, id: Option<&[u8]>, out: &mut Vec<u8>) {
    let mut pairs = Pairs { out };
    pairs.text("ts", Some(time::millis(record.at).as_bytes()));
    pairs.text("id", id);
    pairs.text("client", Some(record.client.ip().to_string().as_bytes()));
    pairs.number("client_port", record.client.port());
    pairs.text("listener", Some(record.frontend.name().as_bytes()));
    let host = record.host.as_ref().map(HeaderValue::as_bytes);
    if record.passthrough {
        pairs.text("proto", Some(b"TCP"));
        pairs.text("sni", host);
    } else {
        pairs.text("proto", Some(protocol(record.version).as_bytes()));
        pairs.text("method", Some(record.method.as_str().as_bytes()));
        pairs.text("host", host);
        pairs.text("path", Some(record.target.path().as_bytes()));
        pairs.text("query", record.target.query().map(str::as_bytes));
        pairs.number("status", record.status);
    }
    pairs.number("bytes_in", record.bytes_in);
    pairs.number("bytes_out", record.bytes_out);
    if let Some(route) = &record.route {
        pairs.text("namespace", Some(route.key.namespace.as_bytes()));
        pairs.text("route", Some(route.key.name.as_bytes()));
        let index = record.server.and_then(|index| usize::try_from(index).ok());
        if let Some(server) = index.and_then(|index| route.backend.servers.get(index)) {
            pairs.text("service", Some(server.service.as_bytes()));
            pairs.text("endpoint", Some(server.label.as_bytes()));
            pairs.text("pod", Some(server.pod.as_bytes()));
        }
    }
    pairs.millis("t_req_ms", record.times.head);
    pairs.millis("t_queue_ms", record.times.queue);
    pairs.millis("t_connect_ms", record.times.connect);
    pairs.millis("t_resp_ms", record.times.response);
    pairs.millis("t_total_ms", Some(record.times.total));
    pairs.number("retries", record.retries);
    pairs.text("reason", record.reason.map(|reason| reason.word().as_bytes()));
    pairs.text("term_state", Some(&[record.termination, record.cookie_states].concat()));
    pairs.text("ua", record.user_agent.as_ref().map(HeaderValue::as_bytes));
    pairs.text("referer", record.referer.as_ref().map(HeaderValue::as_bytes));
    pairs.number("gen", record.generation);
}

struct Pairs<'a> {
    out: &'a mut Vec<u8>,
}

impl Pairs<'_> {
    fn key(&mut self, key: &str) {
        if key != "ts" {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    /// In quotes where it could be taken for more than one word.
    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.key(key);
        let is_word = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        if !value.is_empty() && value.iter().all(is_word) {
            return self.out.extend_from_slice(value);
        }
        self.out.push(b'"');
        escaped(value, self.out);
        self.out.push(b'"');
    }

    fn number(&mut self, key: &str, value: impl itoa::Integer) {
        self.key(key);
        number(value, self.out);
    }

    fn millis(&mut self, key: &str, micros: Option<u32>) {
        let Some(micros) = micros else { return };
        self.number(key, micros / 1000);
        self.out.push(b'.');
        self.out.extend_from_slice(&three_digits(micros % 1000));
    }
}
