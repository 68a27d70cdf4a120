//! HTTP/1.1 connections to pods: dialling and the task that drives one.
//!
//! Called by `proxy::forward` on a worker's own runtime.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{body::RequestBody, dial::DialError};
use crate::{
    net::{connect, flat::FlatStream},
    settings::HeaderCase,
    task,
};

/// The request side of a connection.
#[derive(Debug)]
pub struct Sender {
    send: http1::SendRequest<RequestBody>,
    born: Instant,
}

impl Sender {
    /// When the connection was made.
    #[must_use]
    pub const fn born(&self) -> Instant {
        self.born
    }

    /// True when it can take a request now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.send.is_ready()
    }

    /// True when it will never take one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    /// Sends `request` and waits for the head of its response.
    ///
    /// # Errors
    /// What hyper says, with the request if it was not sent.
    pub fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        if let Some(expectation) = request.body().expectation().cloned() {
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    expectation.meet();
                }
            });
        }
        self.send.try_send_request(request)
    }
}

/// How messages are written and read.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Case of header names.
    pub case: HeaderCase,
    /// Most bytes of a response head [LIM-1].
    pub max_head: usize,
}

/// Most header fields of a response [LIM-1].
const MAX_HEADERS: usize = 101;

/// Most bytes buffered in one direction of a connection; see that of client connections.
const MAX_BUFFER: usize = 48 * 1024;

/// Room beside a head in a buffer that is larger only because heads may be.
const HEAD_ROOM: usize = 8 * 1024;

/// Connects to `address` within `limit`.
///
/// # Errors
/// [`DialError`] when no connection came about.
pub async fn dial(address: SocketAddr, wire: Wire, limit: Duration) -> Result<Sender, DialError> {
    start(FlatStream(connect::tcp(address, limit).await?), wire).await
}

/// Starts HTTP/1.1 over `stream`; nothing is sent yet.
///
/// # Errors
/// [`DialError::Connect`], which hyper never asks for.
pub async fn start<S>(stream: S, wire: Wire) -> Result<Sender, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = http1::Builder::new()
        .preserve_header_case(wire.case == HeaderCase::Kept)
        .max_headers(MAX_HEADERS)
        .max_header_size(wire.max_head)
        .max_buf_size(MAX_BUFFER.max(wire.max_head + HEAD_ROOM))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| DialError::Connect(io::Error::other(error)))?;
    // The task ends with the connection, which ends with its sender and its last response.
    task::spawn_local::<{ task::UPSTREAM }, _>(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "pod connection ended");
        }
    });
    Ok(Sender { send, born: Instant::now() })
}
