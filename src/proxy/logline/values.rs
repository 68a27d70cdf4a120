//! The value that each field of a format has for a record.

use std::{
    io::Write as _,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::Version;

use super::{Frame, Map, encode, hex_digit, text, write};
use crate::{
    model::{
        civil::{civil, month},
        logformat::{Field, Style},
        reason::Reason,
    },
    proxy::{
        detail::{Captured, Detail},
        record::{AccessRecord, Frontend},
    },
    snapshot::Server,
};

/// What HAProxy writes in place of a request that it could not read.
const BAD_REQUEST: &[u8] = b"<BADREQ>";

/// What HAProxy writes where no server had a request.
const NO_SERVER: &str = "<NOSRV>";

/// The backend of what no route takes [LSN-1].
const NO_ROUTE: &str = "openshift_default";

/// Appends the value of `field`.
pub(super) fn value(field: Field, style: Style, frame: &Frame<'_>, out: &mut Vec<u8>) {
    let record = frame.record;
    let nothing;
    let detail = match record.detail.as_deref() {
        Some(detail) => detail,
        None => {
            nothing = Detail::default();
            &nothing
        },
    };
    let times = Times::of(record, detail);
    match field {
        // HAProxy does not count what it says to a request that it could not read.
        Field::BytesOut | Field::BytesIn if detail.unparsed && !record.passthrough => {
            number(0, out);
        },
        Field::BytesOut => number(record.bytes_out + detail.response_head, out),
        Field::BytesIn => number(record.bytes_in + detail.request_head, out),
        Field::Status => number(status(record), out),
        Field::TimeActive => number(times.active, out),
        Field::TimeConnect => number(times.connect, out),
        Field::TimeHandshake => number(times.handshake, out),
        Field::TimeIdle => number(times.idle, out),
        Field::TimeRequest => number(times.request, out),
        Field::TimeHead => number(times.head, out),
        Field::TimeResponse => number(times.response, out),
        Field::TimeData => number(times.data, out),
        Field::TimeTotal => number(times.total, out),
        Field::TimeUser => number(times.user, out),
        Field::TimeQueue => number(times.queue, out),
        Field::ActiveConnections => number(detail.counts.active, out),
        Field::FrontendConnections => number(detail.counts.frontend, out),
        Field::BackendConnections => number(detail.counts.backend, out),
        Field::ServerConnections => number(detail.counts.server, out),
        Field::ServerQueue => number(detail.queued, out),
        // Requests wait for an endpoint here, never for any of a backend.
        Field::BackendQueue => number(0, out),
        Field::Retries => {
            if detail.redispatched {
                out.push(b'+');
            }
            number(record.retries, out);
        },
        Field::Number => hex(detail.number, 4, style, out),
        Field::LogCount => hex(frame.count, 4, style, out),
        Field::Pid => hex(u64::from(frame.process.pid), 4, style, out),
        Field::Timestamp => hex(since(detail.since).as_secs(), 4, style, out),
        Field::Milliseconds if style.hex => {
            hex(u64::from(since(detail.since).subsec_millis()), 2, style, out);
        },
        Field::Milliseconds => _ = write!(out, "{:03}", since(detail.since).subsec_millis()),
        Field::Termination => out.extend(record.termination),
        Field::TerminationCookie => {
            out.extend(record.termination);
            out.extend(record.cookie_states);
        },
        Field::RequestCaptures => captures(&detail.request, detail, style, out),
        Field::ResponseCaptures => captures(&detail.response, detail, style, out),
        Field::RequestCaptureList => list(&detail.request, detail, style, out),
        Field::ResponseCaptureList => list(&detail.response, detail, style, out),
        Field::Date | Field::DateGmt | Field::DateLocal => date(field, detail.since, out),
        Field::RequestDate | Field::RequestDateGmt | Field::RequestDateLocal => {
            let head = Duration::from_micros(u64::from(record.times.head.unwrap_or(0)));
            date(field, record.at.checked_sub(head).unwrap_or(record.at), out);
        },
        Field::ClientIp => ip(record.client.ip(), style, out),
        Field::ClientPort => hex(u64::from(record.client.port()), 4, style, out),
        Field::FrontendIp => ip(detail.facts.destination.ip(), style, out),
        Field::FrontendPort => hex(u64::from(detail.facts.destination.port()), 4, style, out),
        Field::ServerIp => match server(record) {
            Some(server) => ip(server.peer.key.address.ip(), style, out),
            None => text(b"", Map::Text, style, out),
        },
        Field::ServerPort => match server(record) {
            Some(server) => hex(u64::from(server.peer.key.address.port()), 4, style, out),
            None => text(b"", Map::Text, style, out),
        },
        Field::IsTls => number(u8::from(record.frontend.is_tls()), out),
        Field::UniqueId => unique_id(detail, style, frame, out),
        Field::Uuid => uuid(detail.random, style, out),
        _ => words(field, style, frame, detail, out),
    }
}

/// Fields that are texts.
fn words(field: Field, style: Style, frame: &Frame<'_>, detail: &Detail, out: &mut Vec<u8>) {
    let record = frame.record;
    let mut plain = |bytes: &[u8]| text(bytes, Map::Text, style, out);
    let tls = detail.facts.tls.as_ref();
    match field {
        Field::Hostname => plain(frame.process.host.as_bytes()),
        Field::Backend => plain(backend(record, detail).as_bytes()),
        Field::Frontend => plain(record.frontend.name().as_bytes()),
        Field::FrontendTransport => {
            let is_tls = matches!(record.frontend, Frontend::FeSni | Frontend::FeNoSni);
            let mark = if is_tls { "~" } else { "" };
            plain(&[record.frontend.name(), mark].concat().into_bytes());
        },
        Field::Server => match server(record) {
            Some(server) => plain(&server_name(server)),
            None => plain(terminated(record, detail).map_or(NO_SERVER, Frontend::name).as_bytes()),
        },
        Field::Cipher => plain(tls.map_or(b"", |tls| tls.cipher.as_bytes())),
        Field::TlsVersion => plain(tls.map_or(b"", |tls| tls.version.as_bytes())),
        Field::ServerName => {
            plain(tls.and_then(|tls| tls.name.as_deref()).unwrap_or_default().as_bytes());
        },
        Field::RequestCookie => plain(detail.request_cookie.as_deref().unwrap_or_default()),
        Field::ResponseCookie => plain(detail.response_cookie.as_deref().unwrap_or_default()),
        Field::RequestCapture(index) => plain(captured(&detail.request, index)),
        Field::ResponseCapture(index) => plain(captured(&detail.response, index)),
        _ => request(field, style, record, detail, out),
    }
}

/// Fields of the request line. In HAProxy nothing but quotes can be around them, and never a dash.
fn request(field: Field, style: Style, record: &AccessRecord, detail: &Detail, out: &mut Vec<u8>) {
    let style = Style { dash: false, ..style };
    if detail.unparsed || record.passthrough {
        return text(BAD_REQUEST, Map::Url, style, out);
    }
    let uri = &record.target;
    let mut line = Vec::new();
    let origin = uri.path_and_query().map_or("", |it| it.as_str());
    match field {
        Field::Method => line.extend_from_slice(record.method.as_str().as_bytes()),
        Field::Version => line.extend_from_slice(version(record.version)),
        Field::Path => line.extend_from_slice(uri.path().as_bytes()),
        Field::PathAndQuery => line.extend_from_slice(origin.as_bytes()),
        Field::QueryBare => line.extend_from_slice(uri.query().unwrap_or_default().as_bytes()),
        Field::Query => {
            if let Some(query) = uri.query() {
                line.push(b'?');
                line.extend_from_slice(query.as_bytes());
            }
        },
        Field::Uri => _ = write!(line, "{uri}"),
        Field::PathOfUri => {
            _ = write!(line, "{uri}");
            let end = line.iter().position(|byte| *byte == b'?').unwrap_or(line.len());
            line.truncate(end);
        },
        _ => {
            _ = write!(line, "{} {uri} ", record.method);
            line.extend_from_slice(version(record.version));
        },
    }
    text(&line, Map::Url, style, out);
}

const fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

/// HAProxy has -1 where no status was sent.
fn status(record: &AccessRecord) -> i32 {
    if record.status == 0 { -1 } else { i32::from(record.status) }
}

/// Milliseconds; -1 for what was not reached.
struct Times {
    handshake: i64,
    idle: i64,
    head: i64,
    request: i64,
    queue: i64,
    connect: i64,
    response: i64,
    data: i64,
    active: i64,
    total: i64,
    user: i64,
}

impl Times {
    fn of(record: &AccessRecord, detail: &Detail) -> Self {
        let known = |micros: Option<u32>| micros.map_or(-1, |micros| i64::from(micros / 1000));
        let times = &record.times;
        let head = if record.passthrough { None } else { times.head };
        let before = u64::from(detail.handshake) + u64::from(detail.idle);
        let active = u64::from(head.unwrap_or(0)) + u64::from(times.total);
        let millis = |micros: u64| i64::try_from(micros / 1000).unwrap_or(i64::MAX);
        let head = if detail.unparsed { -1 } else { known(Some(head.unwrap_or(0))) };
        let spent = [detail.assigned, times.connect, times.response].map(|it| it.unwrap_or(0));
        let spent: u64 = spent.into_iter().map(u64::from).sum();
        let reached = if record.passthrough { times.connect } else { times.response };
        let data = reached.map_or(-1, |_| millis(u64::from(times.total).saturating_sub(spent)));
        Self {
            handshake: millis(u64::from(detail.handshake)),
            idle: millis(u64::from(detail.idle)),
            head,
            request: if head < 0 { -1 } else { head + millis(before) },
            queue: known(detail.assigned.or(times.queue)),
            connect: known(times.connect),
            response: known(times.response),
            data,
            active: millis(active),
            total: millis(before + active),
            user: millis(u64::from(detail.handshake) + active),
        }
    }
}

fn server(record: &AccessRecord) -> Option<&Server> {
    let index = usize::try_from(record.server?).ok()?;
    record.route.as_ref()?.backend.servers.get(index)
}

/// In the words of OpenShift's configuration [EP-2].
fn server_name(server: &Server) -> Vec<u8> {
    let Server { pod, service, label, .. } = server;
    let name = match &**pod {
        "" => format!("ept:{service}:{label}"),
        pod => format!("pod:{pod}:{service}:{label}"),
    };
    name.into_bytes()
}

/// Where a connection went whose own line this is.
fn terminated(record: &AccessRecord, detail: &Detail) -> Option<Frontend> {
    detail.facts.terminated.filter(|_| record.passthrough)
}

fn backend<'a>(record: &'a AccessRecord, detail: &Detail) -> &'a str {
    match (terminated(record, detail), &record.route, record.reason) {
        (Some(Frontend::FeSni), ..) => "be_sni",
        (Some(_), ..) => "be_no_sni",
        (None, Some(_), Some(Reason::Redirect)) => record.frontend.name(),
        (None, Some(route), _) => &route.backend.name,
        (None, None, Some(Reason::NoRoute | Reason::NoPath)) => NO_ROUTE,
        (None, None, _) => record.frontend.name(),
    }
}

fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number, in hexadecimal of at least `digits` digits where asked for.
fn hex(value: u64, digits: usize, style: Style, out: &mut Vec<u8>) {
    if style.hex {
        _ = write!(out, "{value:0digits$X}");
    } else {
        number(value, out);
    }
}

fn ip(ip: IpAddr, style: Style, out: &mut Vec<u8>) {
    let mut written = Vec::with_capacity(40);
    match (ip, style.hex) {
        (IpAddr::V4(ip), true) => hex_bytes(&ip.octets(), out),
        (IpAddr::V6(ip), true) => hex_bytes(&ip.octets(), out),
        (ip, false) => {
            _ = write!(written, "{ip}");
            text(&written, Map::Text, style, out);
        },
    }
}

fn hex_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15].map(hex_digit)));
}

fn captured(all: &[Captured], index: u8) -> &[u8] {
    all.get(usize::from(index)).and_then(|value| value.as_deref()).unwrap_or_default()
}

/// `{a|b}`; nothing where nothing is captured.
fn captures(all: &[Captured], detail: &Detail, style: Style, out: &mut Vec<u8>) {
    if all.is_empty() || detail.unparsed {
        return;
    }
    let quote = if style.quote { "\"" } else { "" };
    out.extend_from_slice(quote.as_bytes());
    for (index, value) in all.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b'|' });
        encode(value.as_deref().unwrap_or_default(), Map::Header, out);
    }
    out.push(b'}');
    out.extend_from_slice(quote.as_bytes());
}

/// The same, each by itself.
fn list(all: &[Captured], detail: &Detail, style: Style, out: &mut Vec<u8>) {
    if detail.unparsed {
        return;
    }
    let style = Style { dash: true, ..style };
    for (index, value) in all.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        text(value.as_deref().unwrap_or_default(), Map::Header, style, out);
    }
}

fn unique_id(detail: &Detail, style: Style, frame: &Frame<'_>, out: &mut Vec<u8>) {
    match (&detail.unique_id, frame.id) {
        (Some(id), _) => text(id, Map::Text, style, out),
        (None, Some(format)) => {
            let mut id = Vec::new();
            // An id cannot be part of itself.
            write(format, &Frame { id: None, ..*frame }, &mut id);
            text(&id, Map::Text, style, out);
        },
        (None, None) => text(b"", Map::Text, style, out),
    }
}

/// RFC 9562 5.4.
fn uuid(random: [u64; 2], style: Style, out: &mut Vec<u8>) {
    let [high, low] = random;
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    let (fourth, fifth) = (low >> 48, low & 0xffff_ffff_ffff);
    let id = format!("{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{fifth:012x}");
    text(id.as_bytes(), Map::Text, style, out);
}

fn since(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `23/Nov/2026:07:15:55.290`, or `23/Nov/2026:07:15:55 +0000` for the fields that name a zone. Local time
/// is UTC here.
pub fn date(field: Field, at: SystemTime, out: &mut Vec<u8>) {
    let since = since(at);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    let (year, number, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let month = month(number);
    _ = write!(out, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}");
    match field {
        Field::Date | Field::RequestDate => _ = write!(out, ".{:03}", since.subsec_millis()),
        _ => out.extend_from_slice(b" +0000"),
    }
}
