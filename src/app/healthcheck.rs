//! `wharf healthcheck`: for container health checks, so that an image needs no curl.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::client::{self, ClientError};

#[cfg(test)]
mod tests;

/// What is asked when nothing is given.
pub const DEFAULT_URL: &str = "http://127.0.0.1:1936/healthz/ready";
/// For the whole check.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Why a process is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It cannot be asked.
    #[error(transparent)]
    Ask(#[from] ClientError),
    /// It says so itself.
    #[error("{url} answered {status}: {text}")]
    NotReady {
        /// What was asked.
        url: String,
        /// Status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// No datagram can be exchanged in time.
    #[error("no DNS answer from {server}")]
    Socket {
        /// The DNS server.
        server: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The domain is not a name.
    #[error("{domain:?} is not a domain name")]
    Domain {
        /// The domain.
        domain: String,
        /// Why.
        #[source]
        source: ProtoError,
    },
    /// The DNS server answers, but not for this domain.
    #[error("{server} answered {code} for {domain}")]
    Dns {
        /// The DNS server.
        server: SocketAddr,
        /// Its code.
        code: ResponseCode,
        /// The domain.
        domain: String,
    },
}

/// Good when `url` answers 200 within `limit`.
pub fn http(url: &str, limit: Duration) -> Result<(), HealthError> {
    let url = client::base(url);
    let reply = client::get(&url, limit)?;
    if reply.status == 200 {
        return Ok(());
    }
    let text = super::table::clean(String::from_utf8_lossy(&reply.body).trim());
    Err(HealthError::NotReady { url, status: reply.status, text })
}

/// Good when the DNS server at `server` answers NOERROR for the SOA of `domain` within `limit`.
pub fn dns(server: SocketAddr, domain: &str, limit: Duration) -> Result<(), HealthError> {
    let bad = |source| HealthError::Domain { domain: domain.to_owned(), source };
    let mut name = Name::from_utf8(domain).map_err(bad)?;
    name.set_fqdn(true);
    let mut query = Message::query();
    query.add_query(Query::query(name, RecordType::SOA));
    let id = query.metadata.id;
    let bytes = query.to_vec().map_err(bad)?;
    let answer = exchange(server, &bytes, id, limit)
        .map_err(|source| HealthError::Socket { server, source })?;
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(HealthError::Dns { server, code, domain: domain.to_owned() }),
    }
}

/// Sends `query` and waits for the answer with its id; anything else is passed over.
pub(super) fn exchange(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    limit: Duration,
) -> std::io::Result<Message> {
    let from: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(from)?;
    // Connected: answers from elsewhere are dropped, and a closed port is an error at once.
    socket.connect(server)?;
    socket.send(query)?;
    let end = Instant::now() + limit;
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let size = socket.recv(&mut buffer)?;
        match Message::from_vec(&buffer[..size]) {
            Ok(answer)
                if answer.metadata.id == id
                    && answer.metadata.message_type == MessageType::Response =>
            {
                return Ok(answer);
            },
            _ => {},
        }
    }
}
