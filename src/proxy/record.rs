//! What one request leaves behind for the access log: filled along the path, formatted elsewhere.
//!
//! Made by `proxy::serve`; written by `telemetry::access` on a thread of its own. Nothing is
//! formatted here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderValue, Method, Uri, Version};

use super::detail::Detail;
use crate::{model::reason::Reason, snapshot::CompiledRoute};

/// The logical proxy that took a request [LSN-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Frontend {
    /// Plain HTTP.
    Public = 0,
    /// TLS entry, before the handshake.
    PublicSsl = 1,
    /// Decrypted traffic with SNI.
    FeSni = 2,
    /// Decrypted traffic without SNI.
    FeNoSni = 3,
}

impl Frontend {
    /// All frontends, in order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Public, Self::PublicSsl, Self::FeSni, Self::FeNoSni];

    /// Name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::PublicSsl => "public_ssl",
            Self::FeSni => "fe_sni",
            Self::FeNoSni => "fe_no_sni",
        }
    }

    /// True for decrypted traffic.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        !matches!(self, Self::Public)
    }
}

/// HAProxy's timers, in microseconds. A phase that was not reached is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// TR: from the first byte of the request to its whole head; not known of a stream of HTTP/2.
    pub head: Option<u32>,
    /// Tw: waiting for a free pod connection.
    pub queue: Option<u32>,
    /// Tc: connecting to the pod; 0 for a pooled connection.
    pub connect: Option<u32>,
    /// Tr: from the request sent to the response head.
    pub response: Option<u32>,
    /// Ta: from the head to the last byte of the response.
    pub total: u32,
}

/// One request, or one connection that was passed through.
#[derive(Debug)]
pub struct AccessRecord {
    /// It is a connection: there is no version, method, target and status, and `host` is its SNI.
    pub passthrough: bool,
    /// When the head was complete.
    pub at: SystemTime,
    /// The client, from the PROXY header if there was one.
    pub client: SocketAddr,
    /// The frontend.
    pub frontend: Frontend,
    /// Protocol of the client's side.
    pub version: Version,
    /// Method.
    pub method: Method,
    /// Host as received; of a connection that is passed through, its server name.
    pub host: Option<HeaderValue>,
    /// Request target.
    pub target: Uri,
    /// Status sent, 0 when none was.
    pub status: u16,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// The route, if one matched.
    pub route: Option<Arc<CompiledRoute>>,
    /// Index into the route's `backend.servers`.
    pub server: Option<u32>,
    /// Timers.
    pub times: Times,
    /// Tries after the first.
    pub retries: u8,
    /// Why the router answered itself.
    pub reason: Option<Reason>,
    /// HAProxy's two-letter termination state, such as `--` or `SC` [LOG-7].
    pub termination: [u8; 2],
    /// HAProxy's two letters about the stickiness cookie, of the request and of the response, `--`
    /// where the route has none [LOG-7].
    pub cookie_states: [u8; 2],
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// `Referer`.
    pub referer: Option<HeaderValue>,
    /// Generation of the snapshot.
    pub generation: u64,
    /// What only HAProxy's formats and unique ids ask for.
    pub detail: Option<Box<Detail>>,
}

impl Default for AccessRecord {
    /// A record that says nothing yet.
    fn default() -> Self {
        Self {
            passthrough: false,
            at: SystemTime::UNIX_EPOCH,
            client: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            frontend: Frontend::Public,
            version: Version::default(),
            method: Method::default(),
            host: None,
            target: Uri::default(),
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            route: None,
            server: None,
            times: Times::default(),
            retries: 0,
            reason: None,
            termination: *b"--",
            cookie_states: *b"--",
            user_agent: None,
            referer: None,
            generation: 0,
            detail: None,
        }
    }
}

impl AccessRecord {
    /// True when HAProxy would call it an error: a fault, a retry, another server, or 5xx.
    #[must_use]
    pub fn is_error(&self) -> bool {
        let is_fault = !matches!(self.termination[0], b'-' | b'L');
        let redispatched = self.detail.as_ref().is_some_and(|detail| detail.redispatched);
        is_fault || redispatched || self.retries > 0 || self.status >= 500
    }
}

/// Batches of records on their way to the writer. A worker sends a batch with `try_send`; a full
/// channel drops the batch and counts its records in `RouterStats::log_dropped`.
pub type LogSender = std::sync::mpsc::SyncSender<Vec<AccessRecord>>;
