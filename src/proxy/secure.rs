//! A connection to the TLS port whose TLS ends here: certificate, handshake, and then the HTTP engine.
//!
//! Called by `entry` with the ClientHello. Always holds: the whole handshake has one limit, and what
//! it decides by is the snapshot that serves when its ClientHello is complete.

use std::{io, rc::Rc, sync::Arc};

use bytes::Bytes;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::server::TlsStream;

use super::{
    entry::{About, Serving, refused, serve},
    hello,
    record::Frontend,
    worker::Worker,
};
use crate::{
    model::reason::Reason,
    net::reset,
    routing::host::{self, MAX_HOST},
    snapshot::Snapshot,
    tls::{
        client_auth::{Client, ClientAuth, Verdict},
        store::{CertStore, Offer, Served},
        suites,
    },
};

/// The record of a fatal alert `unrecognized_name` (RFC 8446 5.1, 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What the handshake has to say about the requests of a connection. Only there when a setting asks for
/// it, so other connections have one empty pointer.
#[derive(Debug)]
pub(super) struct Secured {
    /// The client, where clients are asked for certificates [MTLS-1].
    client: Option<Client>,
    /// What the client was shown, where requests are held to it (S-63).
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    offer: Offer,
    served: Arc<Served>,
}

impl Secured {
    /// Why no request of the connection is served, if so [MTLS-3].
    pub(super) fn refuses(&self) -> Option<Reason> {
        match self.client.as_ref()?.verdict {
            Verdict::Served => None,
            Verdict::Denied => Some(Reason::ClientCertDenied),
            Verdict::TooLarge => Some(Reason::RewriteOverflow),
        }
    }

    /// The client, where clients are asked for certificates.
    pub(super) const fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// True when a request for `host` belongs to a connection that shows another certificate, or that
    /// goes to a pod as it is (S-63). The server name itself is never misdirected, so a renewed
    /// certificate disturbs nobody.
    pub(super) fn misdirects(&self, host: &[u8], found: Found, snapshot: &Snapshot) -> bool {
        let Some(shown) = &self.shown else { return false };
        let mut scratch = [0; MAX_HOST];
        let Some(host) = host::normalise(host, &mut scratch) else { return false };
        if shown.offer.name.as_deref() == Some(host) {
            return false;
        }
        if found != Found::Route && snapshot.passthrough.lookup(host.as_bytes()).is_some() {
            return true;
        }
        let is_alike = |served: &Arc<Served>| served.is_like(&shown.served);
        let would = || snapshot.certs.choose(Some(host), shown.offer.ecdsa);
        found != Found::Nothing && !would().is_some_and(is_alike)
    }
}

/// What there is for a request's host on the TLS port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A route.
    Route,
    /// Routes with other paths, or for other ports.
    OnlyHost,
    /// Nothing.
    Nothing,
}

/// What a ClientHello was answered with.
struct Answer {
    served: Arc<Served>,
    client_auth: Option<Arc<ClientAuth>>,
    offer: Offer,
}

/// The TLS handshake with a client that has `said` its ClientHello: the certificate is chosen from the
/// snapshot that serves now, by SNI and key type, and stays with the connection [CERT-7].
pub(super) async fn run(
    worker: Rc<Worker>,
    stream: TcpStream,
    said: Bytes,
    deadline: Instant,
    mut about: About,
) -> Option<Serving> {
    let handshake = async {
        let start = hello::accept(stream, said).await?;
        let answer = choose(&worker.live.load().certs, Offer::of(&start.client_hello()));
        let Some(answer) = answer else {
            // Whoever cannot take seven bytes at once learns it from the end of the connection.
            drop(start.io.try_write(&UNRECOGNIZED_NAME));
            return Err(io::Error::other("no certificate for this name"));
        };
        let waited = || worker.stats.workers.cell(worker.index).handshakes_waited.add(1);
        let work = std::pin::pin!(start.into_stream(Arc::clone(&answer.served.config)));
        // Boxed, since it is large and handed on several times.
        let stream = Box::new(worker.handshakes.take(waited, work).await?);
        let has_sni = answer.offer.name.is_some();
        let secured = secured(&stream, answer, worker.settings.tls.http2_everywhere);
        Ok::<_, io::Error>((stream, has_sni, secured.map_err(io::Error::other)?))
    };
    match tokio::time::timeout_at(deadline, handshake).await {
        Ok(Ok((stream, has_sni, secured))) => {
            worker.stats.workers.cell(worker.index).handshakes.add(1);
            if let Some(told) = &mut about.told {
                let session = stream.get_ref().1;
                let cipher = session.negotiated_cipher_suite().map(|suite| suite.suite());
                told.secured(
                    version_name(session.protocol_version()),
                    suites::openssl_name(cipher),
                );
            }
            about.frontend = if has_sni { Frontend::FeSni } else { Frontend::FeNoSni };
            about.open.decrypted(about.frontend);
            about.secured = secured;
            about.http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let reset: fn(&Box<TlsStream<TcpStream>>) = |tls| reset::on_close(tls.get_ref().0);
            return Some(Box::pin(serve(worker, stream, Bytes::new(), about, reset)));
        },
        Ok(Err(error)) => {
            tracing::debug!(client = %about.client, %error, "TLS handshake failed");
            refused(&worker, Frontend::PublicSsl, Reason::TlsHandshake);
        },
        Err(_elapsed) => refused(&worker, Frontend::PublicSsl, Reason::TlsHandshake),
    }
    None
}

/// In OpenSSL's words, which are those of HAProxy.
const fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

fn choose(certs: &CertStore, offer: Offer) -> Option<Answer> {
    let served = Arc::clone(certs.select(&offer)?);
    Some(Answer { served, client_auth: certs.client_auth().cloned(), offer })
}

/// What the handshake says about the requests; nothing where no setting asks.
fn secured(
    stream: &TlsStream<TcpStream>,
    answer: Answer,
    is_held: bool,
) -> Result<Option<Box<Secured>>, rustls::Error> {
    let Answer { served, client_auth, offer } = answer;
    if client_auth.is_none() && !is_held {
        return Ok(None);
    }
    let session = stream.get_ref().1;
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let known = |auth: Arc<ClientAuth>| auth.client(session.peer_certificates(), resumed);
    let client = client_auth.map(known).transpose()?;
    let shown = is_held.then_some(Shown { offer, served });
    Ok(Some(Box::new(Secured { client, shown })))
}
