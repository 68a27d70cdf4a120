//! HAProxy's log-format language, compiled once at start [LOG-3, UID-1].
//!
//! Read by `settings` for ROUTER_SYSLOG_FORMAT and ROUTER_UNIQUE_ID_FORMAT; what is compiled here is
//! filled in by `proxy::logline`. Pure; never panics. Always holds: what is not known here is an error
//! that names it and its column, so that no line silently lacks what was asked for; and
//! [`LogFormat::needs`] says what has to be recorded, so that a format pays for nothing else.

mod parse;

#[cfg(test)]
mod tests;

/// HAProxy's `option httplog` (its documentation 8.2.3) [LOG-2].
pub const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                        %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// HAProxy's `option tcplog` (8.2.2) [LOG-3].
pub const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// A compiled format.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LogFormat {
    items: Box<[Item]>,
    needs: Needs,
}

impl std::fmt::Debug for LogFormat {
    /// How much there is of it: its text is shown by whoever has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogFormat({} items)", self.items.len())
    }
}

/// Why a format was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct FormatError {
    /// Where it begins, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// What an empty value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// `-`, as in log lines.
    Dash,
    /// Nothing, as in unique ids.
    Nothing,
}

impl LogFormat {
    /// Compiles `text`, with or without the quotes of HAProxy's configuration around it.
    ///
    /// # Errors
    /// The first thing that is not understood.
    pub fn parse(text: &str, empty: Empty) -> Result<Self, FormatError> {
        let items = parse::items(text, empty)?;
        let mut needs = Needs::default();
        for item in &items {
            if let Item::Value(field, _) = item {
                needs = needs | field.needs();
            }
        }
        Ok(Self { items: items.into(), needs })
    }

    /// Its parts, in their order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What must be recorded for it.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        self.needs
    }
}

/// One part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Text as it is.
    Text(Box<str>),
    /// A blank, unless one was just written or nothing yet.
    Space,
    /// A value.
    Value(Field, Style),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// `Q`: in double quotes.
    pub quote: bool,
    /// `X`: addresses, ports and counters in hexadecimal.
    pub hex: bool,
    /// `E`: a backslash before `"`, `\` and `]`.
    pub escape: bool,
    /// `M`: `-` in place of nothing.
    pub dash: bool,
}

/// What must be recorded beside what every record has; a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u16);

impl Needs {
    /// What costs next to nothing: addresses, times and numbers.
    pub const DETAIL: Self = Self(1);
    /// Sizes of heads.
    pub const SIZES: Self = Self(1 << 1);
    /// Connections and requests at the same time.
    pub const COUNTS: Self = Self(1 << 2);
    /// Captured fields of requests.
    pub const REQUEST: Self = Self(1 << 3);
    /// Captured fields of responses.
    pub const RESPONSE: Self = Self(1 << 4);
    /// The captured cookie.
    pub const COOKIE: Self = Self(1 << 5);
    /// The unique id.
    pub const ID: Self = Self(1 << 6);
    /// A random number.
    pub const RANDOM: Self = Self(1 << 7);
    /// Connections, beside requests.
    pub const CONNECTIONS: Self = Self(1 << 8);

    /// True when nothing is needed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when one of `other` is among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A value of a record, after HAProxy's variable or sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is explained by the variable of FIELDS, in HAProxy's words")]
pub enum Field {
    BytesOut,
    BytesIn,
    RequestCookie,
    ResponseCookie,
    Hostname,
    UniqueId,
    Status,
    DateGmt,
    DateLocal,
    Date,
    RequestDate,
    RequestDateGmt,
    RequestDateLocal,
    Timestamp,
    Milliseconds,
    TimeActive,
    TimeConnect,
    TimeHandshake,
    TimeIdle,
    TimeRequest,
    TimeHead,
    TimeResponse,
    TimeData,
    TimeTotal,
    TimeUser,
    TimeQueue,
    ActiveConnections,
    FrontendConnections,
    BackendConnections,
    ServerConnections,
    Backend,
    Server,
    Frontend,
    FrontendTransport,
    ClientIp,
    ClientPort,
    FrontendIp,
    FrontendPort,
    ServerIp,
    ServerPort,
    BackendQueue,
    ServerQueue,
    RequestCaptures,
    RequestCaptureList,
    ResponseCaptures,
    ResponseCaptureList,
    LogCount,
    Pid,
    Request,
    Method,
    PathOfUri,
    Path,
    Query,
    Uri,
    Version,
    Retries,
    Number,
    Cipher,
    TlsVersion,
    Termination,
    TerminationCookie,
    RequestCapture(u8),
    ResponseCapture(u8),
    ServerName,
    IsTls,
    QueryBare,
    PathAndQuery,
    Uuid,
}

/// HAProxy's variables, without the per cent sign.
const FIELDS: &[(&str, Field)] = &[
    ("B", Field::BytesOut),
    ("CC", Field::RequestCookie),
    ("CS", Field::ResponseCookie),
    ("H", Field::Hostname),
    ("HM", Field::Method),
    ("HP", Field::PathOfUri),
    ("HPO", Field::Path),
    ("HQ", Field::Query),
    ("HU", Field::Uri),
    ("HV", Field::Version),
    ("ID", Field::UniqueId),
    ("ST", Field::Status),
    ("T", Field::DateGmt),
    ("TR", Field::TimeHead),
    ("Ta", Field::TimeActive),
    ("Tc", Field::TimeConnect),
    ("Td", Field::TimeData),
    ("Th", Field::TimeHandshake),
    ("Ti", Field::TimeIdle),
    ("Tl", Field::DateLocal),
    ("Tq", Field::TimeRequest),
    ("Tr", Field::TimeResponse),
    ("Ts", Field::Timestamp),
    ("Tt", Field::TimeTotal),
    ("Tu", Field::TimeUser),
    ("Tw", Field::TimeQueue),
    ("U", Field::BytesIn),
    ("ac", Field::ActiveConnections),
    ("b", Field::Backend),
    ("bc", Field::BackendConnections),
    ("bq", Field::BackendQueue),
    ("ci", Field::ClientIp),
    ("cp", Field::ClientPort),
    ("f", Field::Frontend),
    ("fc", Field::FrontendConnections),
    ("fi", Field::FrontendIp),
    ("fp", Field::FrontendPort),
    ("ft", Field::FrontendTransport),
    ("hr", Field::RequestCaptures),
    ("hrl", Field::RequestCaptureList),
    ("hs", Field::ResponseCaptures),
    ("hsl", Field::ResponseCaptureList),
    ("lc", Field::LogCount),
    ("ms", Field::Milliseconds),
    ("pid", Field::Pid),
    ("r", Field::Request),
    ("rc", Field::Retries),
    ("rt", Field::Number),
    ("s", Field::Server),
    ("sc", Field::ServerConnections),
    ("si", Field::ServerIp),
    ("sp", Field::ServerPort),
    ("sq", Field::ServerQueue),
    ("sslc", Field::Cipher),
    ("sslv", Field::TlsVersion),
    ("t", Field::Date),
    ("tr", Field::RequestDate),
    ("trg", Field::RequestDateGmt),
    ("trl", Field::RequestDateLocal),
    ("ts", Field::Termination),
    ("tsc", Field::TerminationCookie),
];

/// HAProxy's samples, as in `%[src]`; those with an argument are in `parse`.
const SAMPLES: &[(&str, Field)] = &[
    ("be_name", Field::Backend),
    ("capture.req.method", Field::Method),
    ("capture.req.uri", Field::Uri),
    ("capture.req.ver", Field::Version),
    ("dst", Field::FrontendIp),
    ("dst_port", Field::FrontendPort),
    ("fe_name", Field::Frontend),
    ("hostname", Field::Hostname),
    ("method", Field::Method),
    ("path", Field::Path),
    ("pathq", Field::PathAndQuery),
    ("pid", Field::Pid),
    ("query", Field::QueryBare),
    ("src", Field::ClientIp),
    ("src_port", Field::ClientPort),
    ("srv_name", Field::Server),
    ("ssl_fc", Field::IsTls),
    ("ssl_fc_cipher", Field::Cipher),
    ("ssl_fc_protocol", Field::TlsVersion),
    ("ssl_fc_sni", Field::ServerName),
    ("status", Field::Status),
    ("txn.status", Field::Status),
    ("unique-id", Field::UniqueId),
    ("url", Field::Uri),
    ("uuid", Field::Uuid),
];

impl Field {
    /// What must be recorded for it.
    const fn needs(self) -> Needs {
        match self {
            Self::BytesOut | Self::BytesIn => Needs::SIZES,
            Self::ActiveConnections
            | Self::FrontendConnections
            | Self::BackendConnections
            | Self::ServerConnections => Needs::COUNTS,
            Self::RequestCaptures | Self::RequestCaptureList | Self::RequestCapture(_) => {
                Needs::REQUEST
            },
            Self::ResponseCaptures | Self::ResponseCaptureList | Self::ResponseCapture(_) => {
                Needs::RESPONSE
            },
            Self::RequestCookie | Self::ResponseCookie => Needs::COOKIE,
            Self::UniqueId => Needs::ID,
            Self::Uuid => Needs::RANDOM,
            _ => Needs::DETAIL,
        }
    }
}
