//! TLS with one peer: its configurations, its sessions, and what is known of it.
//!
//! Part of a [`super::peer::Peer`] of a reencrypt route; used by `dial` and `probe`. Sessions belong to
//! the peer, so that none is offered to another pod or under another policy.
//!
//! Always holds: a session is resumed only within `TRUSTED_FOR` of a handshake in which the pod has
//! shown its certificate; resuming, it need not show it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, HandshakeKind, NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    pki_types::ServerName,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls::client::Policy;

/// Longest time for which sessions stand for a certificate that was verified.
const TRUSTED_FOR: Duration = Duration::from_secs(3600);

/// Sessions of TLS 1.3 that are kept for one peer.
const SESSIONS: usize = 8;

/// Shortest time between two complaints about a pod's certificate.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(30);

/// Which protocols a handshake offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Those of the policy: h2 and http/1.1, or none at all.
    All,
    /// Only http/1.1, for a request that HTTP/2 cannot carry.
    Http1,
}

/// What a pod chose when it was last asked, which it may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Spoken {
    /// It was not asked yet.
    Unknown,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// TLS with one peer.
#[derive(Debug)]
pub struct Secure {
    all: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    name: ServerName<'static>,
    sessions: Arc<Sessions>,
    spoken: AtomicU8,
    complained: Mutex<Option<Instant>>,
}

impl Secure {
    /// For a peer that is spoken to by `policy`.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let sessions = Arc::new(Sessions::default());
        let mut all = policy.config();
        all.resumption = Resumption::store(Arc::clone(&sessions) as Arc<dyn ClientSessionStore>);
        let mut http1 = all.clone();
        let spoken = if all.alpn_protocols.is_empty() { Spoken::Http1 } else { Spoken::Unknown };
        if spoken == Spoken::Unknown {
            http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Self {
            all: Arc::new(all),
            http1: Arc::new(http1),
            name: policy.name().clone(),
            sessions,
            spoken: AtomicU8::new(spoken as u8),
            complained: Mutex::default(),
        }
    }

    /// The handshake.
    ///
    /// # Errors
    /// What the stream or rustls says, the latter as the inner error.
    pub async fn connect(
        &self,
        stream: TcpStream,
        offer: Offer,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = match offer {
            Offer::All => &self.all,
            Offer::Http1 => &self.http1,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        if stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Resumed) {
            self.sessions.verified(Instant::now());
        }
        Ok(stream)
    }

    /// A handshake in which the pod shows its certificate in any case.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn check(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(&self.all);
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await
    }

    /// What the pod chose when it was last asked.
    #[must_use]
    pub fn spoken(&self) -> Spoken {
        match self.spoken.load(Relaxed) {
            code if code == Spoken::Http1 as u8 => Spoken::Http1,
            code if code == Spoken::Http2 as u8 => Spoken::Http2,
            _ => Spoken::Unknown,
        }
    }

    /// Notes what it has chosen now.
    pub fn speaks(&self, spoken: Spoken) {
        self.spoken.store(spoken as u8, Relaxed);
    }

    /// Logs why the certificate of the pod at `endpoint` was refused, unless that was said a moment
    /// ago: clients decide how often pods are dialled.
    pub fn complain(&self, endpoint: SocketAddr, error: &io::Error) {
        if self.may_complain(Instant::now()) {
            tracing::warn!(%endpoint, %error, "a pod's certificate was refused");
        }
    }

    fn may_complain(&self, now: Instant) -> bool {
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = last.is_some_and(|last| now.duration_since(last) < COMPLAINT_PAUSE);
        if !recent {
            *last = Some(now);
        }
        !recent
    }
}

/// The sessions with one peer.
#[derive(Debug)]
struct Sessions {
    cache: ClientSessionMemoryCache,
    verified: Mutex<Option<Instant>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { cache: ClientSessionMemoryCache::new(SESSIONS), verified: Mutex::default() }
    }
}

impl Sessions {
    /// The pod has shown its certificate.
    fn verified(&self, now: Instant) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn may_resume(&self, now: Instant) -> bool {
        let verified = *self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.is_some_and(|verified| now.duration_since(verified) < TRUSTED_FOR)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.cache.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.cache.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.cache.tls12_session(name).filter(|_| self.may_resume(Instant::now()))
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.cache.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.cache.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.cache.take_tls13_ticket(name).filter(|_| self.may_resume(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_stand_for_a_certificate_for_a_while_only() {
        let sessions = Sessions::default();
        let now = Instant::now();
        assert!(!sessions.may_resume(now));
        sessions.verified(now);
        assert!(sessions.may_resume(now + TRUSTED_FOR - Duration::from_millis(1)));
        assert!(!sessions.may_resume(now + TRUSTED_FOR));
        sessions.verified(now + TRUSTED_FOR);
        assert!(sessions.may_resume(now + TRUSTED_FOR));
    }
}
