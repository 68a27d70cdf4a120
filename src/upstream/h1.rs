//! HTTP/1.1 connections to pods: dialling and the task that drives one.
//!
//! Called by `proxy::forward` on a worker's own runtime.

use std::{io, net::SocketAddr, time::Duration};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use crate::{net::connect, task};

/// The request side of a connection.
pub type Sender = http1::SendRequest<RequestBody>;

/// Limit of a response head: ROUTER_BUF_SIZE less the rewrite reserve [LIM-1].
const MAX_HEAD: usize = 24_576;

/// Most header fields of a response [LIM-1].
const MAX_HEADERS: usize = 101;

/// Most bytes buffered in one direction of a connection.
const MAX_BUFFER: usize = 64 * 1024;

/// Why a pod could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The kernel refused or failed.
    #[error("connecting failed")]
    Connect(#[source] io::Error),
    /// No answer within the connect timeout.
    #[error("connecting took too long")]
    Timeout,
}

/// Connects to `address` within `limit`.
///
/// # Errors
/// [`DialError`] when no connection came about.
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<Sender, DialError> {
    let stream = connect::tcp(address, limit).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => DialError::Timeout,
        _ => DialError::Connect(error),
    })?;
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| DialError::Connect(io::Error::other(error)))?;
    // The task ends with the connection, which ends with its sender and its last response.
    task::spawn_local::<{ task::UPSTREAM }, _>(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "pod connection ended");
        }
    });
    Ok(sender)
}
