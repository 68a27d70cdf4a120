//! The variables of the access log and of the unique id (spec/route.md 17.5, 16).

use std::time::Duration;

use http::HeaderName;

use super::{
    super::{Kind, Outcome, RouterSettings, Row, show},
    row,
};
use crate::{
    model::{
        grammar::action::is_framing,
        logformat::{Empty, LogFormat},
    },
    settings::log::{Capture, CookieCapture, Envelope, FACILITIES, Filter, LEVELS, Lines, Target},
};

/// What cannot be logged as asked stops the start.
pub const LOG: &[Row] = &[
    row(
        "ROUTER_SYSLOG_ADDRESS",
        "where the access log goes instead of stdout: HOST:PORT (UDP), an address, or the path of a \
         unix datagram socket",
        Kind::Text(target),
    )
    .shows_text(),
    row(
        "ROUTER_SYSLOG_FORMAT",
        "format of a request's line, in HAProxy's log-format language",
        Kind::Text(format),
    )
    .shows_text(),
    row(
        "WHARF_ACCESS_LOG_FORMAT",
        "json, haproxy, combined or logfmt; haproxy where a syslog address or format is set, else json",
        Kind::Text(lines),
    )
    .flags(&["--access-log-format"])
    .shows(|settings| settings.log.lines().word().to_owned()),
    row("ROUTER_LOG_FACILITY", "syslog facility, local1 by default", Kind::Text(facility))
    .shows(|settings| word(&FACILITIES, settings.log.facility)),
    row(
        "ROUTER_LOG_LEVEL",
        "least severe lines that syslog gets; warning, which leaves errors alone, by default",
        Kind::Text(level),
    )
    .shows(|settings| word(&LEVELS, settings.log.level)),
    row(
        "ROUTER_LOG_MAX_LENGTH",
        "bytes at which lines to syslog and those of HAProxy's format are cut",
        Kind::Number(80, 65_507, |settings, bytes| settings.log.max_length = bytes as usize),
    )
    .shows(|settings| settings.log.max_length.to_string()),
    row("WHARF_SYSLOG_ENVELOPE", "rfc3164 or rfc5424", Kind::Text(envelope))
    .shows(|settings| {
        let name = match settings.log.envelope {
            Envelope::Rfc3164 => "rfc3164",
            Envelope::Rfc5424 => "rfc5424",
        };
        name.to_owned()
    }),
    row("WHARF_SYSLOG_TAG", "name of the program that syslog is told", Kind::Text(tag))
    .shows(|settings| settings.log.tag.clone()),
    row(
        "ROUTER_CAPTURE_HTTP_REQUEST_HEADERS",
        "request header fields in HAProxy's lines: NAME:LENGTH,...",
        Kind::Text(request_headers),
    )
    .flags(&["--capture-http-request-headers"])
    .shows_text(),
    row(
        "ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS",
        "response header fields in HAProxy's lines: NAME:LENGTH,...",
        Kind::Text(response_headers),
    )
    .flags(&["--capture-http-response-headers"])
    .shows_text(),
    row(
        "ROUTER_CAPTURE_HTTP_COOKIE",
        "cookie in HAProxy's lines: NAME=:LENGTH, or PREFIX:LENGTH",
        Kind::Text(cookie),
    )
    .flags(&["--capture-http-cookie"])
    .shows_text(),
    row(
        "ROUTER_DONT_LOG_NULL",
        "connections without data have no line",
        Kind::Bool(|settings, flag| settings.log.skip_null = flag),
    )
    .shows(|settings| settings.log.skip_null.to_string()),
    row(
        "ROUTER_HTTP_IGNORE_PROBES",
        "connections without data are no errors either",
        Kind::Bool(|settings, flag| settings.log.ignore_probes = flag),
    )
    .shows(|settings| settings.log.ignore_probes.to_string()),
    row(
        "WHARF_ACCESS_LOG_STATUS",
        "classes of statuses that are logged, such as 4xx,5xx; 5xx always is",
        Kind::Text(classes),
    )
    .shows_text(),
    row(
        "WHARF_ACCESS_LOG_MIN_DURATION",
        "shortest request that is logged",
        Kind::Duration(|settings, value| settings.log.filter.shortest = value),
    )
    .shows(|settings| match settings.log.filter.shortest {
        Duration::ZERO => String::new(),
        shortest => show::duration(shortest),
    }),
    row(
        "WHARF_ACCESS_LOG_REASONS",
        "only requests that the router answered for one of these reasons are logged",
        Kind::Text(reasons),
    )
    .shows_text(),
    row(
        "WHARF_ACCESS_LOG_SAMPLE",
        "one request in so many is logged",
        Kind::Number(1, 1_000_000, |settings, every| settings.log.filter.sample = every),
    )
    .shows(|settings| settings.log.filter.sample.to_string()),
    row(
        "ROUTER_UNIQUE_ID_FORMAT",
        "a request's unique id, in HAProxy's log-format language",
        Kind::Text(id_format),
    )
    .shows_text(),
    row(
        "ROUTER_UNIQUE_ID_HEADER_NAME",
        "the header field that tells pods the unique id",
        Kind::Text(id_header),
    )
    .shows_text(),
];

/// Puts what was understood into `place`.
fn put<T>(place: &mut T, value: Option<T>, problem: &'static str) -> Outcome {
    match value {
        Some(value) => {
            *place = value;
            Outcome::Used
        },
        None => Outcome::Refused(problem),
    }
}

/// The same, where what is wrong is said by the value's own grammar.
fn put_or<T>(place: &mut T, value: Result<T, impl std::fmt::Display>) -> Outcome {
    match value {
        Ok(value) => {
            *place = value;
            Outcome::Used
        },
        // The process ends with these words, so nothing is lost.
        Err(problem) => Outcome::Refused(problem.to_string().leak()),
    }
}

fn target(settings: &mut RouterSettings, value: &str) -> Outcome {
    let expected = "expected HOST:PORT, an address, or the path of a unix datagram socket";
    put(&mut settings.log.target, Target::parse(value).map(Some), expected)
}

fn format(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.log.is_custom = true;
    put_or(&mut settings.log.http, LogFormat::parse(value, Empty::Dash))
}

fn lines(settings: &mut RouterSettings, value: &str) -> Outcome {
    let lines = Lines::parse(value).map(Some);
    put(&mut settings.log.lines, lines, "expected json, haproxy, combined or logfmt")
}

/// The word of a number.
fn word(words: &[&str], number: u8) -> String {
    words.get(usize::from(number)).copied().unwrap_or_default().to_owned()
}

/// The number of `word` in `words`.
fn number(words: &[&str], word: &str) -> Option<u8> {
    words.iter().position(|known| *known == word).and_then(|at| u8::try_from(at).ok())
}

fn facility(settings: &mut RouterSettings, value: &str) -> Outcome {
    let expected = "expected a syslog facility such as local1";
    put(&mut settings.log.facility, number(&FACILITIES, value), expected)
}

fn level(settings: &mut RouterSettings, value: &str) -> Outcome {
    let expected = "expected emerg, alert, crit, err, warning, notice, info or debug";
    put(&mut settings.log.level, number(&LEVELS, value), expected)
}

fn envelope(settings: &mut RouterSettings, value: &str) -> Outcome {
    let envelope = match value {
        "rfc3164" => Some(Envelope::Rfc3164),
        "rfc5424" => Some(Envelope::Rfc5424),
        _ => None,
    };
    put(&mut settings.log.envelope, envelope, "expected rfc3164 or rfc5424")
}

/// RFC 5424 6.2.5: 48 visible ASCII characters.
fn tag(settings: &mut RouterSettings, value: &str) -> Outcome {
    let is_sound = value.len() <= 48 && value.bytes().all(|byte| byte.is_ascii_graphic());
    let tag = is_sound.then(|| value.to_owned());
    put(&mut settings.log.tag, tag, "expected up to 48 visible ASCII characters")
}

fn request_headers(settings: &mut RouterSettings, value: &str) -> Outcome {
    put_or(&mut settings.log.request_headers, Capture::parse_list(value))
}

fn response_headers(settings: &mut RouterSettings, value: &str) -> Outcome {
    put_or(&mut settings.log.response_headers, Capture::parse_list(value))
}

fn cookie(settings: &mut RouterSettings, value: &str) -> Outcome {
    put_or(&mut settings.log.cookie, CookieCapture::parse(value).map(Some))
}

fn classes(settings: &mut RouterSettings, value: &str) -> Outcome {
    let classes = Filter::parse_classes(value);
    put(&mut settings.log.filter.classes, classes, "expected classes such as 4xx,5xx")
}

fn reasons(settings: &mut RouterSettings, value: &str) -> Outcome {
    let reasons = Filter::parse_reasons(value).map(Some);
    put(&mut settings.log.filter.reasons, reasons, "expected reasons such as no_route,no_path")
}

fn id_format(settings: &mut RouterSettings, value: &str) -> Outcome {
    put_or(&mut settings.log.id_format, LogFormat::parse(value, Empty::Nothing).map(Some))
}

/// Fields that frame or route a request are not overwritten by an id.
fn id_header(settings: &mut RouterSettings, value: &str) -> Outcome {
    let is_free = |name: &HeaderName| {
        !is_framing(name.as_str()) && !matches!(name.as_str(), "host" | "expect")
    };
    let name = HeaderName::from_bytes(value.as_bytes()).ok().filter(is_free);
    put(&mut settings.log.id_header, name.map(Some), "expected the name of a free header field")
}
