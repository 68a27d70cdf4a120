//! A connection to the TLS port whose TLS ends here: certificate, handshake, and then the HTTP engine.
//!
//! Called by `entry` with the ClientHello. Always holds: the whole handshake has one limit, and what
//! it decides by is the snapshot that serves when its ClientHello is complete.

use std::{io, rc::Rc, sync::Arc};

use bytes::Bytes;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::server::TlsStream;

use super::{
    entry::{About, Serving, refused, reset_on_close, serve},
    hello,
    record::Frontend,
    worker::Worker,
};
use crate::{model::reason::Reason, tls::store::Offer};

/// The record of a fatal alert `unrecognized_name` (RFC 8446 5.1, 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

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
        let (config, has_sni) = {
            let offer = Offer::of(&start.client_hello());
            let snapshot = worker.live.load();
            let served = snapshot.certs.select(&offer);
            (served.map(|served| Arc::clone(&served.config)), offer.name.is_some())
        };
        let Some(config) = config else {
            // Whoever cannot take seven bytes at once learns it from the end of the connection.
            drop(start.io.try_write(&UNRECOGNIZED_NAME));
            return Err(io::Error::other("no certificate for this name"));
        };
        let waited = || worker.stats.workers.cell(worker.index).handshakes_waited.add(1);
        let answer = std::pin::pin!(start.into_stream(config));
        // Boxed, since it is large and handed on several times.
        Ok::<_, io::Error>((Box::new(worker.handshakes.take(waited, answer).await?), has_sni))
    };
    match tokio::time::timeout_at(deadline, handshake).await {
        Ok(Ok((stream, has_sni))) => {
            worker.stats.workers.cell(worker.index).handshakes.add(1);
            about.frontend = if has_sni { Frontend::FeSni } else { Frontend::FeNoSni };
            about.http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let reset: fn(&Box<TlsStream<TcpStream>>) = |tls| reset_on_close(tls.get_ref().0);
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
