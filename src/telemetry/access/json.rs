//! A record as a JSON object with the keys of ux.md 6.
//!
//! Every value is escaped, so a client cannot forge a line (S-94).

use std::{io::Write as _, net::IpAddr, sync::Arc, time::SystemTime};

use http::{HeaderValue, Version};

use crate::{proxy::record::AccessRecord, snapshot::CompiledRoute, telemetry::time};

#[cfg(test)]
mod tests;

/// Makes the lines of records.
#[derive(Debug)]
pub(super) struct Formatter {
    /// The second that was formatted last: records of the same second share its text.
    second: Option<(u64, String)>,
    /// Texts of routes and their pods, by [`Destination::slot`].
    destinations: [Option<Destination>; DESTINATIONS],
    /// The snapshot they are of: those of an older one would keep it from being freed.
    generation: u64,
}

impl Default for Formatter {
    fn default() -> Self {
        Self { second: None, destinations: std::array::from_fn(|_| None), generation: 0 }
    }
}

/// Texts that are kept.
const DESTINATIONS: usize = 64;

/// The text of a route and the pod that took the request.
#[derive(Debug)]
struct Destination {
    route: Arc<CompiledRoute>,
    server: Option<u32>,
    text: Vec<u8>,
}

impl Destination {
    /// Where the text of `route` and `server` is kept, if it is.
    fn slot(route: &Arc<CompiledRoute>, server: Option<u32>) -> usize {
        // A route is larger than 64 bytes, so the bits below say nothing.
        let address = Arc::as_ptr(route).addr() >> 6;
        (address ^ server.unwrap_or(0) as usize) % DESTINATIONS
    }

    fn new(route: &Arc<CompiledRoute>, server: Option<u32>) -> Self {
        let mut text = Vec::new();
        optional(b",\"namespace\":\"", Some(route.key.namespace.as_bytes()), &mut text);
        optional(b",\"route\":\"", Some(route.key.name.as_bytes()), &mut text);
        let index = server.and_then(|index| usize::try_from(index).ok());
        if let Some(server) = index.and_then(|index| route.backend.servers.get(index)) {
            optional(b",\"service\":\"", Some(server.service.as_bytes()), &mut text);
            optional(b",\"endpoint\":\"", Some(server.label.as_bytes()), &mut text);
            optional(b",\"pod\":\"", Some(server.pod.as_bytes()), &mut text);
        }
        Self { route: Arc::clone(route), server, text }
    }
}

impl Formatter {
    /// Appends the line of `record`, whose unique id is `id`, without its newline.
    pub(super) fn line(&mut self, record: &AccessRecord, id: Option<&[u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        self.timestamp(record.at, out);
        optional(b"\",\"id\":\"", id, out);
        out.extend_from_slice(if id.is_some() { b",\"client\":\"" } else { b"\",\"client\":\"" });
        address(record.client.ip(), out);
        out.extend_from_slice(b"\",\"client_port\":");
        number(record.client.port(), out);
        out.extend_from_slice(b",\"listener\":\"");
        out.extend_from_slice(record.frontend.name().as_bytes());
        if let Some(tls) = record.detail.as_ref().and_then(|detail| detail.facts.tls.as_ref()) {
            optional(b"\",\"tls_version\":\"", Some(tls.version.as_bytes()), out);
            if !record.passthrough {
                optional(b",\"sni\":\"", tls.name.as_ref().map(|name| name.as_bytes()), out);
            }
            out.extend_from_slice(b",\"proto\":\"");
        } else {
            out.extend_from_slice(b"\",\"proto\":\"");
        }
        if record.passthrough {
            out.extend_from_slice(b"TCP\"");
            optional(b",\"sni\":\"", record.host.as_ref().map(HeaderValue::as_bytes), out);
        } else {
            request(record, out);
        }
        out.extend_from_slice(b",\"bytes_in\":");
        number(record.bytes_in, out);
        out.extend_from_slice(b",\"bytes_out\":");
        number(record.bytes_out, out);
        self.destination(record, out);
        duration(b",\"t_req_ms\":", record.times.head, out);
        duration(b",\"t_queue_ms\":", record.times.queue, out);
        duration(b",\"t_connect_ms\":", record.times.connect, out);
        duration(b",\"t_resp_ms\":", record.times.response, out);
        duration(b",\"t_total_ms\":", Some(record.times.total), out);
        out.extend_from_slice(b",\"retries\":");
        number(record.retries, out);
        if let Some(reason) = record.reason {
            out.extend_from_slice(b",\"reason\":\"");
            out.extend_from_slice(reason.word().as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b",\"term_state\":\"");
        out.extend_from_slice(&record.termination);
        out.extend_from_slice(&record.cookie_states);
        out.push(b'"');
        optional(b",\"ua\":\"", record.user_agent.as_ref().map(HeaderValue::as_bytes), out);
        optional(b",\"referer\":\"", record.referer.as_ref().map(HeaderValue::as_bytes), out);
        out.extend_from_slice(b",\"gen\":");
        number(record.generation, out);
        out.push(b'}');
    }

    fn destination(&mut self, record: &AccessRecord, out: &mut Vec<u8>) {
        let Some(route) = &record.route else { return };
        if record.generation != self.generation {
            self.generation = record.generation;
            self.destinations.fill_with(|| None);
        }
        let slot = &mut self.destinations[Destination::slot(route, record.server)];
        let text = match slot {
            Some(known) if Arc::ptr_eq(&known.route, route) && known.server == record.server => {
                &known.text
            },
            _ => &slot.insert(Destination::new(route, record.server)).text,
        };
        out.extend_from_slice(text);
    }

    /// `2026-08-04T12:30:00.250Z`
    fn timestamp(&mut self, at: SystemTime, out: &mut Vec<u8>) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = match &mut self.second {
            Some((second, text)) if *second == since.as_secs() => text,
            other => {
                let mut text = time::seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
                text.pop();
                &mut other.insert((since.as_secs(), text)).1
            },
        };
        out.extend_from_slice(second.as_bytes());
        out.push(b'.');
        out.extend_from_slice(&three_digits(since.subsec_millis()));
        out.push(b'Z');
    }
}

/// What only a request has, from the protocol on.
fn request(record: &AccessRecord, out: &mut Vec<u8>) {
    out.extend_from_slice(protocol(record.version).as_bytes());
    // A token has nothing to escape.
    out.extend_from_slice(b"\",\"method\":\"");
    out.extend_from_slice(record.method.as_str().as_bytes());
    out.push(b'"');
    optional(b",\"host\":\"", record.host.as_ref().map(HeaderValue::as_bytes), out);
    optional(b",\"path\":\"", Some(record.target.path().as_bytes()), out);
    optional(b",\"query\":\"", record.target.query().map(str::as_bytes), out);
    out.extend_from_slice(b",\"status\":");
    number(record.status, out);
}

pub(super) const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// `before` ends with the quote that opens the value.
fn optional(before: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(before);
        escape(value, out);
        out.push(b'"');
    }
}

pub(super) fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Microseconds as milliseconds with three decimals; nothing for a phase that was not reached.
fn duration(before: &[u8], micros: Option<u32>, out: &mut Vec<u8>) {
    let Some(micros) = micros else { return };
    out.extend_from_slice(before);
    number(micros / 1000, out);
    out.push(b'.');
    out.extend_from_slice(&three_digits(micros % 1000));
}

/// `value`, below 1000, with leading zeros.
pub(super) fn three_digits(value: u32) -> [u8; 3] {
    [100, 10, 1].map(|divisor| b"0123456789"[(value / divisor % 10) as usize])
}

pub(super) fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            number(first, out);
            for octet in rest {
                out.push(b'.');
                number(octet, out);
            }
        },
        // A vector takes every write.
        IpAddr::V6(ip) => _ = write!(out, "{ip}"),
    }
}

/// True when `value` may stand in a JSON string as it is.
fn is_plain(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    words.iter().all(|word| is_plain_word(u64::from_le_bytes(*word)))
        && rest.iter().all(|byte| is_plain_word(ONES * u64::from(*byte)))
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Eight bytes at a time: the highest bit of a byte tells that it is below a blank, a quote, a
/// backslash, DEL, or not ASCII. A borrow marks a byte too many only above one that is marked.
const fn is_plain_word(word: u64) -> bool {
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let del = zero(word ^ (ONES * 0x7f));
    (low | quote | backslash | del | word) & (ONES << 7) == 0
}

/// Appends `value` as the inside of a JSON string. Bytes that are not UTF-8 become the text `\xNN`;
/// control characters, C1 ones and line separators too, are escaped, so that a terminal or a line
/// reader sees none of them.
pub(super) fn escape(value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        out.extend_from_slice(value);
        return;
    }
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let code = u32::from(character);
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(b"0123456789abcdef"[(code >> shift & 15) as usize]);
                    }
                },
                _ => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                },
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
            out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
        }
    }
}
