//! One line of the access log: 22 fields separated by spaces, `-` for what is absent.

use std::{
    fmt::{self, Display, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::model::civil::civil;

/// Longest list of protocols.
const MAX_LIST: usize = 256;

/// What a line says of a connection.
#[derive(Clone, Debug)]
pub(in crate::nlb) struct Record {
    /// `net/NAME/ID`.
    pub(in crate::nlb) balancer: Arc<str>,
    /// Id of the listener.
    pub(in crate::nlb) listener: Arc<str>,
    pub(in crate::nlb) client: SocketAddr,
    /// What the client connected to.
    pub(in crate::nlb) destination: SocketAddr,
    pub(in crate::nlb) opened: SystemTime,
    pub(in crate::nlb) lasted: Duration,
    /// None when the handshake failed, as for all that follows from it.
    pub(in crate::nlb) handshake: Option<Duration>,
    /// From the client, decrypted.
    pub(in crate::nlb) received: u64,
    /// To the client, before encryption.
    pub(in crate::nlb) sent: u64,
    /// Code of the alert that the client sent.
    pub(in crate::nlb) alert: Option<u8>,
    /// ARN or file of the certificate.
    pub(in crate::nlb) certificate: Option<Arc<str>>,
    /// In OpenSSL's words; empty for none.
    pub(in crate::nlb) cipher: &'static str,
    /// `tlsv12` or `tlsv13`.
    pub(in crate::nlb) version: Option<&'static str>,
    /// Server name of the ClientHello.
    pub(in crate::nlb) domain: Option<String>,
    /// What ALPN came to with the client.
    pub(in crate::nlb) alpn: Option<&'static str>,
    /// What ALPN came to with the target.
    pub(in crate::nlb) target_alpn: Option<&'static str>,
    /// See [`quoted_list`].
    pub(in crate::nlb) offered: Option<String>,
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = self.certificate.as_deref().map(|name| encoded(name.as_bytes()));
        let domain = self.domain.as_deref().map(|name| encoded(name.as_bytes()));
        let cipher = Some(self.cipher).filter(|name| !name.is_empty());
        write!(
            f,
            "tls 2.0 {end} {balancer} {listener} {client} {destination} {lasted} {handshake} \
             {received} {sent} {alert} {certificate} - {cipher} {version} - {domain} {alpn} \
             {target_alpn} {offered} {opened}",
            end = Time(self.opened + self.lasted),
            balancer = self.balancer,
            listener = self.listener,
            client = self.client,
            destination = self.destination,
            lasted = self.lasted.as_millis(),
            handshake = Field(self.handshake.map(|time| time.as_millis())),
            received = self.received,
            sent = self.sent,
            alert = Field(self.alert),
            certificate = Field(certificate),
            cipher = Field(cipher),
            version = Field(self.version),
            domain = Field(domain),
            alpn = Field(self.alpn),
            target_alpn = Field(self.target_alpn),
            offered = Field(self.offered.as_deref()),
            opened = Time(self.opened),
        )
    }
}

/// A field that may be absent.
struct Field<T>(Option<T>);

impl<T: Display> Display for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// `2018-12-20T02:59:30`, UTC.
pub(super) struct Time(pub(super) SystemTime);

impl Time {
    /// Year, month, day, hour, minute, second.
    pub(super) fn parts(&self) -> [i64; 6] {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = i64::try_from(since.as_secs()).unwrap_or(i64::MAX).min(253_402_300_799);
        let (year, month, day) = civil(unix / 86_400);
        let rest = unix % 86_400;
        [year, month, day, rest / 3600, rest / 60 % 60, rest % 60]
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// URL-encoded, so that it holds no space, quote or comma.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b'*'
            | b'@' => text.push(char::from(*byte)),
            // Writing to a String does not fail.
            _ => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
    text
}

/// A list of protocols as the log has it: each URL-encoded and in quotes, separated by commas, the
/// whole cut after 256 bytes.
pub(in crate::nlb) fn quoted_list<'a>(protocols: impl Iterator<Item = &'a [u8]>) -> String {
    let mut list = String::new();
    for protocol in protocols {
        let comma = if list.is_empty() { "" } else { "," };
        list.push_str(comma);
        list.push('"');
        list.push_str(&encoded(protocol));
        list.push('"');
        if list.len() > MAX_LIST {
            list.truncate(MAX_LIST);
            break;
        }
    }
    list
}
