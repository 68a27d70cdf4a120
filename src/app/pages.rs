//! A small HTTP port, for what a process shows of itself: pages made in memory, over HTTP/1.
//!
//! Served by `wharf nlb` (API, metrics) and by `wharf router --node-health`; the admin port, which
//! asks who is there, is `admin`. Always holds: connections are bounded in number and in time, and a
//! peer that leaves or stalls concerns nobody else.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::telemetry::metrics::Format;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Limit of a request head, and of an idle connection.
const HEAD: Duration = Duration::from_secs(10);
/// Limit of a whole connection.
const CONNECTION: Duration = Duration::from_secs(60);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Kind of a page that is plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
pub type Page = Response<Full<Bytes>>;

/// A page of the kind `kind` (`Content-Type`).
#[must_use]
pub fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

/// What `answer` makes of a request that only asks; another one is refused, and what is nowhere is not
/// found.
pub fn read_only(method: &Method, answer: impl FnOnce() -> Option<Page>) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
    }
    answer().unwrap_or_else(|| page(StatusCode::NOT_FOUND, TEXT, "not found\n"))
}

/// Metrics that were encoded.
pub fn metrics(encoded: Result<String, std::fmt::Error>) -> Page {
    match encoded {
        Ok(text) => page(StatusCode::OK, Format::OpenMetrics.content_type(), text),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "not encoded\n"),
    }
}

/// Answers every request on `listener` with what `answer` makes of it, until it is dropped.
pub async fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Page> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                connections.spawn(async move {
                    connection(stream, answer).await;
                    drop(permit);
                });
            },
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<F, A>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Page>,
{
    let service = service_fn(|request| {
        let page = answer(request);
        async { Ok::<_, Infallible>(page.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION, connection).await;
}
