//! L1: the settings of the access log and of the unique id (spec/route.md 16, [UID-1]).
//!
//! Filled by `settings::env::rows::log`. Always holds: formats are compiled, names are header names, and
//! every length is bounded.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::HeaderName;

use crate::model::{
    logformat::{self, Empty, LogFormat, Needs},
    reason::{REASONS, Reason},
};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// One JSON object.
    Json,
    /// HAProxy's, or the one of ROUTER_SYSLOG_FORMAT [LOG-2, LOG-3].
    Haproxy,
    /// That of Apache and nginx.
    Combined,
    /// `key=value` pairs with the keys of the JSON.
    Logfmt,
}

impl Lines {
    /// The word of a setting.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "json" => Self::Json,
            "haproxy" => Self::Haproxy,
            "combined" => Self::Combined,
            "logfmt" => Self::Logfmt,
            _ => return None,
        })
    }

    /// The word of a setting.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Haproxy => "haproxy",
            Self::Combined => "combined",
            Self::Logfmt => "logfmt",
        }
    }
}

/// A syslog daemon [LOG-1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// UDP to an address.
    Address(SocketAddr),
    /// UDP to a name and port, which is resolved again and again.
    Name(String, u16),
    /// A unix datagram socket.
    Path(PathBuf),
}

/// The port of syslog (RFC 5426 3.3).
const SYSLOG_PORT: u16 = 514;

impl Target {
    /// `host:port`, an address without port, or a path that begins with a slash.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Path(text.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(SocketAddr::new(ip, SYSLOG_PORT)));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0)?),
            None => (text, SYSLOG_PORT),
        };
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_name_byte);
        is_name.then(|| Self::Name(name.to_owned(), port))
    }
}

/// Syslog's envelope around a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// RFC 3164, as HAProxy sends by default.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
}

/// A header field whose value is logged, cut to so many bytes [LOG-5].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Name of the field.
    pub name: HeaderName,
    /// Most bytes of its value.
    pub len: usize,
}

/// Most bytes of one captured value.
pub const MAX_CAPTURE: usize = 32_768;

/// Most header fields that may be captured in one direction.
pub const MAX_CAPTURES: usize = 64;

impl Capture {
    /// `name:len,name:len`.
    ///
    /// # Errors
    /// The part that is no name and length.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let all: Vec<_> = text.split(',').map(Self::parse).collect::<Result<_, _>>()?;
        if all.len() > MAX_CAPTURES {
            return Err(format!("more than {MAX_CAPTURES} header fields"));
        }
        Ok(all)
    }

    fn parse(part: &str) -> Result<Self, String> {
        let (name, len) = named(part)?;
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(Self { name, len }),
            Err(_) => Err(format!("{name:?} is not a header name")),
        }
    }
}

/// `name:len`.
fn named(part: &str) -> Result<(&str, usize), String> {
    let Some((name, len)) = part.trim().split_once(':') else {
        return Err(format!("expected NAME:LENGTH instead of {part:?}"));
    };
    match len.parse() {
        Ok(len @ 1..=MAX_CAPTURE) => Ok((name, len)),
        _ => Err(format!("{len:?} is not a length from 1 to {MAX_CAPTURE}")),
    }
}

/// A cookie that is logged as `name=value`, cut to so many bytes [LOG-5].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieCapture {
    /// What a cookie must begin with: `name=` for one cookie, `name` for all whose names begin so.
    pub begin: String,
    /// Most bytes.
    pub len: usize,
}

impl CookieCapture {
    /// `name=:len` or `name:len`.
    ///
    /// # Errors
    /// What is no name and length.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (begin, len) = named(text)?;
        let name = begin.strip_suffix('=').unwrap_or(begin);
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("{name:?} is not a cookie name"));
        }
        Ok(Self { begin: begin.to_owned(), len })
    }
}

/// Which requests are logged (ux.md 6). A status of 5xx always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Classes of statuses, a bit for each first digit from 1 on; bit 0 for none.
    pub classes: u8,
    /// Shortest duration.
    pub shortest: Duration,
    /// With reasons: only requests that the router answered for one of them, a bit for each
    /// discriminant.
    pub reasons: Option<u64>,
    /// Of those, one in so many.
    pub sample: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { classes: u8::MAX, shortest: Duration::ZERO, reasons: None, sample: 1 }
    }
}

impl Filter {
    /// Classes such as `4xx,5xx`.
    #[must_use]
    pub fn parse_classes(text: &str) -> Option<u8> {
        text.split(',').try_fold(0, |classes, class| {
            let digit = class.trim().to_ascii_lowercase();
            match digit.strip_suffix("xx")? {
                digit @ ("1" | "2" | "3" | "4" | "5") => {
                    Some(classes | 1 << digit.parse::<u8>().ok()?)
                },
                _ => None,
            }
        })
    }

    /// Reasons such as `no_route,client_timeout`.
    #[must_use]
    pub fn parse_reasons(text: &str) -> Option<u64> {
        text.split(',').try_fold(0, |reasons, word| {
            let (reason, ..) = REASONS.iter().find(|(_, known, _)| *known == word.trim())?;
            Some(reasons | bit(*reason))
        })
    }

    /// True when every request passes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// True when `reason` is one of those wanted.
    #[must_use]
    pub fn wants(&self, reason: Option<Reason>) -> bool {
        self.reasons.is_none_or(|all| reason.is_some_and(|reason| all & bit(reason) != 0))
    }
}

const fn bit(reason: Reason) -> u64 {
    1 << (reason as u64 % 64)
}

/// Facilities of syslog in HAProxy's words, by number [LOG-1].
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Severities of syslog in HAProxy's words, by number.
pub const LEVELS: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Severity of a line about an error.
pub const ERR: u8 = 3;

/// Severity of any other line.
pub const INFO: u8 = 6;

/// Settings of the access log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How a line looks; see [`Self::lines`]. WHARF_ACCESS_LOG_FORMAT.
    pub lines: Option<Lines>,
    /// Where lines go; stdout when absent. ROUTER_SYSLOG_ADDRESS.
    pub target: Option<Target>,
    /// Number in [`FACILITIES`]. ROUTER_LOG_FACILITY.
    pub facility: u8,
    /// Number in [`LEVELS`]: with syslog, only lines as severe as this are sent. ROUTER_LOG_LEVEL.
    pub level: u8,
    /// Most bytes of a line with its envelope [LIM-2]. ROUTER_LOG_MAX_LENGTH.
    pub max_length: usize,
    /// WHARF_SYSLOG_ENVELOPE.
    pub envelope: Envelope,
    /// Name of the program in the envelope. WHARF_SYSLOG_TAG.
    pub tag: String,
    /// Format of a request in HAProxy's lines. ROUTER_SYSLOG_FORMAT.
    pub http: LogFormat,
    /// A format was given.
    pub is_custom: bool,
    /// ROUTER_CAPTURE_HTTP_REQUEST_HEADERS.
    pub request_headers: Vec<Capture>,
    /// ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS.
    pub response_headers: Vec<Capture>,
    /// ROUTER_CAPTURE_HTTP_COOKIE.
    pub cookie: Option<CookieCapture>,
    /// Connections without any data are not logged. ROUTER_DONT_LOG_NULL.
    pub skip_null: bool,
    /// Nor are they errors. ROUTER_HTTP_IGNORE_PROBES.
    pub ignore_probes: bool,
    /// Which requests are logged.
    pub filter: Filter,
    /// ROUTER_UNIQUE_ID_FORMAT.
    pub id_format: Option<LogFormat>,
    /// ROUTER_UNIQUE_ID_HEADER_NAME.
    pub id_header: Option<HeaderName>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            lines: None,
            target: None,
            facility: 17,
            level: 4,
            max_length: 1024,
            envelope: Envelope::Rfc3164,
            tag: "haproxy".to_owned(),
            http: LogFormat::parse(logformat::HTTP, Empty::Dash).unwrap_or_default(),
            is_custom: false,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            cookie: None,
            skip_null: false,
            ignore_probes: false,
            filter: Filter::default(),
            id_format: None,
            id_header: None,
        }
    }
}

impl LogSettings {
    /// How lines look: as asked for; else HAProxy's where a daemon or a format of its own was named, and
    /// JSON on stdout.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let default =
            if self.target.is_some() || self.is_custom { Lines::Haproxy } else { Lines::Json };
        self.lines.unwrap_or(default)
    }

    /// The unique id, which takes both settings [UID-1].
    #[must_use]
    pub fn unique_id(&self) -> Option<(&HeaderName, &LogFormat)> {
        self.id_header.as_ref().zip(self.id_format.as_ref())
    }

    /// True where only what HAProxy calls an error goes to the daemon: a fault, a retry, another server
    /// or 5xx [LOG-1].
    #[must_use]
    pub const fn only_errors(&self) -> bool {
        self.target.is_some() && self.level < INFO
    }

    /// What has to be recorded; `logs` is false where there is no access log at all.
    #[must_use]
    pub fn needs(&self, logs: bool) -> Needs {
        let mut needs = Needs::default();
        if let Some((_, format)) = self.unique_id() {
            needs = needs | Needs::DETAIL | Needs::ID | format.needs();
        }
        if logs && self.lines() == Lines::Haproxy {
            // The line of a connection has sizes and counts, whatever those of its requests have.
            let line = Needs::DETAIL | Needs::CONNECTIONS | Needs::COUNTS | Needs::SIZES;
            needs = needs | line | self.http.needs();
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [LOG-2, LOG-3]: what the lines are by default.
    #[test]
    fn log_2_the_formats_of_haproxy_compile() {
        for text in [logformat::HTTP, logformat::TCP] {
            assert!(LogFormat::parse(text, Empty::Dash).is_ok(), "{text}");
        }
        assert!(!LogSettings::default().http.items().is_empty());
    }

    /// [LOG-1]
    #[test]
    fn log_1_a_daemon_is_an_address_a_name_or_a_path() {
        let address = |text: &str| Some(Target::Address(text.parse().unwrap()));
        for (text, expected) in [
            ("10.0.0.1:1514", address("10.0.0.1:1514")),
            ("10.0.0.1", address("10.0.0.1:514")),
            ("[2001:db8::1]:5140", address("[2001:db8::1]:5140")),
            ("2001:db8::1", address("[2001:db8::1]:514")),
            ("[2001:db8::1]", address("[2001:db8::1]:514")),
            ("logs.example.com:515", Some(Target::Name("logs.example.com".to_owned(), 515))),
            ("logs", Some(Target::Name("logs".to_owned(), 514))),
            (
                "/var/lib/rsyslog/rsyslog.sock",
                Some(Target::Path("/var/lib/rsyslog/rsyslog.sock".into())),
            ),
            ("logs:0", None),
            ("logs:x", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }

    /// [LOG-5]
    #[test]
    fn log_5_captures_have_a_name_and_a_length() {
        let list = Capture::parse_list("Host:15,X-Forwarded-For:100").unwrap();
        let list: Vec<_> = list.iter().map(|it| (it.name.as_str(), it.len)).collect();
        assert_eq!(list, [("host", 15), ("x-forwarded-for", 100)]);
        for bad in
            ["Host", "Host:x", "Host:", "a b:3", "Host:0", ":3", "Host:-1", "Host:1,", "a:1:2"]
        {
            assert!(Capture::parse_list(bad).is_err(), "{bad}");
        }
        let cookie = |text| CookieCapture::parse(text).map(|it| (it.begin, it.len)).ok();
        assert_eq!(cookie("SESSION=:63"), Some(("SESSION=".to_owned(), 63)));
        assert_eq!(cookie("SE:4"), Some(("SE".to_owned(), 4)));
        for bad in ["SE", "=:4", "S E:4", "SE:x", ""] {
            assert_eq!(cookie(bad), None, "{bad}");
        }
    }

    #[test]
    fn filters_are_read_from_words() {
        assert_eq!(Filter::parse_classes("4xx, 5XX"), Some(0b11_0000));
        assert_eq!(Filter::parse_classes("6xx"), None);
        let some = Filter::parse_reasons("no_route,redirect");
        let filter = Filter { reasons: some, ..Filter::default() };
        assert!(filter.wants(Some(Reason::Redirect)) && !filter.wants(Some(Reason::NoPath)));
        assert!(!filter.wants(None) && Filter::default().wants(None));
        assert_eq!(Filter::parse_reasons("nothing"), None);
        assert!(REASONS.len() <= 64, "a bit for each");
    }

    /// What no format names is not recorded.
    #[test]
    fn json_on_stdout_needs_nothing() {
        let mut settings = LogSettings::default();
        assert!(settings.needs(true).is_empty());
        settings.target = Target::parse("10.0.0.1");
        assert!(settings.needs(true).has(Needs::SIZES));
        assert!(settings.needs(false).is_empty());
        assert!(settings.only_errors(), "[LOG-1]: the level is warning by default");
    }
}
