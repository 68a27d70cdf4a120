//! Pods over TLS, which choose between HTTP/1.1 and HTTP/2 at each handshake [ALPN-4].
//!
//! Called by `proxy::forward`. What a pod chose last is remembered with the peer: of one that spoke
//! HTTP/1.1 every request takes or makes a connection for itself; with any other, requests wait for
//! the connection that the first of them makes. A pod that has changed its mind costs a detour, never
//! a request.

use std::{sync::Arc, time::Duration};

use http::uri::Scheme;
use tokio::time::Instant;

use super::{Found, Pool, wait};
use crate::{
    net::clock,
    upstream::{
        dial::{self, DialError},
        h1::{self, Sender},
        h2::{self, Lease},
        peer::Peer,
        secure::{Offer, Secure, Spoken},
    },
};

/// A way to send a request.
#[derive(Debug)]
pub enum Reached {
    /// Over a connection of HTTP/1.1 alone.
    Http1 {
        /// The connection.
        sender: Sender,
        /// It has served before.
        reused: bool,
    },
    /// Over a stream of HTTP/2.
    Http2(Lease),
}

impl Pool {
    /// A connection or a stream to `peer`, by what it speaks, within `limit`. Only with `may_reuse` it
    /// is a connection of HTTP/1.1 that has served before. With [`Offer::Http1`] it is never HTTP/2.
    ///
    /// # Errors
    /// [`DialError`] when no connection came about.
    pub async fn reach(
        &self,
        peer: &Arc<Peer>,
        secure: &Secure,
        offer: Offer,
        may_reuse: bool,
        limit: Duration,
    ) -> Result<Reached, DialError> {
        let end = Instant::now() + limit;
        loop {
            if offer == Offer::Http1 || secure.spoken() == Spoken::Http1 {
                let idle = may_reuse.then(|| self.take(peer.id, clock::now().into_std()));
                return match idle.flatten() {
                    Some(sender) => Ok(Reached::Http1 { sender, reused: true }),
                    None => self.choose(peer, secure, offer, end).await,
                };
            }
            match self.find(peer, std::time::Instant::now()) {
                Found::Lease(lease) => return Ok(Reached::Http2(lease)),
                Found::Wait(dialling) => wait(&dialling, end).await?,
                Found::Dial(dialling) => {
                    let begun = dialling.guard();
                    let reached = self.choose(peer, secure, offer, end).await;
                    begun.end(&reached);
                    return reached;
                },
            }
        }
    }

    /// A new connection, of what the pod chooses.
    async fn choose(
        &self,
        peer: &Arc<Peer>,
        secure: &Secure,
        offer: Offer,
        end: Instant,
    ) -> Result<Reached, DialError> {
        let stream = dial::tls(peer.key.address, secure, offer, end).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let connection =
                h2::start(stream, Scheme::HTTPS, self.wire.max_head, dial::left(end)).await?;
            secure.speaks(Spoken::Http2);
            return self.share(peer, connection).map(Reached::Http2);
        }
        if offer == Offer::All {
            secure.speaks(Spoken::Http1);
        }
        Ok(Reached::Http1 { sender: h1::start(stream, self.wire).await?, reused: false })
    }
}
