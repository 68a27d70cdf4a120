//! Making a connection to a pod: what can go wrong, and the way up to a TLS stream.
//!
//! Called by `h1` and `pool`. Always holds: TCP, TLS and the preface of HTTP/2 have one deadline.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::client::TlsStream;

use super::secure::{Offer, Secure};
use crate::net::connect;

/// Why a pod could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The kernel refused or failed.
    #[error("connecting failed")]
    Connect(#[source] io::Error),
    /// No answer within the connect timeout.
    #[error("connecting took too long")]
    Timeout,
    /// It does not speak HTTP/2.
    #[error("the pod does not speak HTTP/2")]
    Preface(#[source] h2::Error),
    /// The TLS handshake failed, but not for the certificate.
    #[error("the TLS handshake with the pod failed")]
    Handshake(#[source] io::Error),
    /// The pod's certificate does not pass [REENC-4].
    #[error("the pod's certificate was refused")]
    Certificate(#[source] io::Error),
    /// Another request has tried, for this one as well.
    #[error("the connection that was waited for could not be made")]
    Shared(Cause),
}

/// What a [`DialError`] comes down to, where it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel refused or failed.
    Connect(io::ErrorKind),
    /// It took too long.
    Timeout,
    /// No HTTP/2.
    Preface,
    /// No TLS.
    Handshake,
    /// The certificate.
    Certificate,
}

impl DialError {
    /// What it comes down to.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Connect(error) => Cause::Connect(error.kind()),
            Self::Timeout => Cause::Timeout,
            Self::Preface(_) => Cause::Preface,
            Self::Handshake(_) => Cause::Handshake,
            Self::Certificate(_) => Cause::Certificate,
            Self::Shared(cause) => *cause,
        }
    }

    /// True for a TLS handshake that failed for the pod's certificate.
    #[must_use]
    pub fn is_about_certificate(error: &io::Error) -> bool {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(
            inner,
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
        )
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Connect(error),
        }
    }
}

/// A TLS connection to `address` by `deadline`.
///
/// # Errors
/// [`DialError`] when no connection came about. A refused certificate is logged, now and then.
pub async fn tls(
    address: SocketAddr,
    secure: &Secure,
    offer: Offer,
    deadline: Instant,
) -> Result<Box<TlsStream<TcpStream>>, DialError> {
    let stream = connect::tcp(address, left(deadline)).await?;
    let handshake = secure.connect(stream, offer);
    let outcome =
        tokio::time::timeout_at(deadline, handshake).await.map_err(|_late| DialError::Timeout)?;
    outcome.map(Box::new).map_err(|error| {
        if !DialError::is_about_certificate(&error) {
            return DialError::Handshake(error);
        }
        secure.complain(address, &error);
        DialError::Certificate(error)
    })
}

/// Time until `deadline`.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
