//! The HTTP/2 engine of a client connection.
//!
//! Called by `entry` with a stream that speaks HTTP/2.

use std::{rc::Rc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::serve::{Connection, answer};
use crate::{gate::MAX_HEAD, net::timed::TimedIo};

/// Most streams at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// Flow-control windows of HTTP/2: a stream's and the connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// HTTP/2 PING, and how long its answer may take (reliability.md 3).
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

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
        service_fn(move |request| answer(Rc::clone(&connection), request))
    };
    let drain = connection.worker.drain.clone();
    let mut engine = std::pin::pin!(
        hyper::server::conn::http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(io), service)
    );
    tokio::select! {
        biased; // what has been received already is served
        result = engine.as_mut() => return result,
        () = drain.begun.cancelled() => engine.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = engine.as_mut() => result,
        () = drain.killed.cancelled() => Ok(()),
    }
}

/// Runs HTTP/2 streams on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        // Owned by the connection: hyper drops its streams with it.
        tokio::task::spawn_local(future);
    }
}
