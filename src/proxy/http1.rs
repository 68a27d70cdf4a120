//! The HTTP/1 engine of a client connection.
//!
//! Called by `entry` with a stream that speaks HTTP/1.

use std::{rc::Rc, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    gated::GatedIo,
    serve::{Connection, answer},
};
use crate::{
    gate::{MAX_FIELDS, MAX_HEAD},
    net::timed::TimedIo,
};

/// Most bytes buffered in one direction of a client connection.
const MAX_BUFFER: usize = 64 * 1024;

/// How long a stopping worker waits for the first request of a connection.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, or until the process drains.
///
/// # Errors
/// What ended the connection, if it was not an orderly close.
pub(super) async fn run<S>(connection: Rc<Connection>, io: TimedIo<S>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| answer(Rc::clone(&connection), Rc::default(), request))
    };
    let drain = connection.worker.drain.clone();
    let gate = Arc::clone(&connection.gate);
    let io = GatedIo::new(io, gate, Arc::clone(&connection.phase));
    let mut engine = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .header_read_timeout(None)
            .half_close(false)
            .max_headers(MAX_FIELDS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
    );
    tokio::select! {
        biased; // what has been received already is served
        result = engine.as_mut() => return result,
        () = wound_up(&connection) => engine.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = engine.as_mut() => result,
        () = drain.killed.cancelled() => Ok(()),
    }
}

/// Done when an idle HTTP/1 connection is to be closed. One that has just been opened may still say
/// what it came for.
async fn wound_up(connection: &Connection) {
    let drain = &connection.worker.drain;
    drain.stopped.cancelled().await;
    if connection.requests.get() == 0 {
        tokio::time::sleep(FIRST_REQUEST).await;
    }
}
