//! L6: the admin port: health, metrics and a read-only API.
//!
//! Started by `app` on the control runtime, never on a worker. `/healthz*` answers everybody; the
//! rest answers loopback peers and the allow list (S-91). Only GET and HEAD, so nothing can be
//! changed from here. No answer holds a key (S-92).

pub mod explain;
pub mod ingresses;
pub mod model;
pub mod readiness;
pub mod redact;
pub mod routes;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::stats::RouterStats,
    snapshot::{Live, Snapshot},
    telemetry::metrics::{self, Extra, ExtraCell},
};
use readiness::Readiness;

/// Connections at once.
const CONNECTIONS: usize = 100;
/// For a request's head, for writing an answer, and for an idle connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// A connection lives no longer than this, however busy: a reader that stalls inside an answer must
/// not hold one of [`CONNECTIONS`] for ever.
const LIFETIME: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 16 * 1024;

/// What the admin port shows.
#[derive(Debug)]
pub struct AdminState {
    /// The snapshot that serves.
    pub live: Arc<Live>,
    /// Counters.
    pub stats: Arc<RouterStats>,
    /// Health.
    pub ready: Arc<Readiness>,
    /// Networks beside loopback that may read everything.
    pub allow: Vec<IpNet>,
    /// Figures for the metrics that change with each compile.
    pub extra: ExtraCell,
}

type Answer = Response<Full<Bytes>>;

/// Serves until `cancel`; open connections are then cut.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>, cancel: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = cancel.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    connection(stream, peer, state).await;
                    drop(permit);
                });
            },
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept");
                // Out of descriptors: trying again at once would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
            },
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, peer: SocketAddr, state: Arc<AdminState>) {
    let trusted = is_trusted(peer.ip(), &state.allow);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&state, trusted, request.method(), request.uri());
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Both errors mean the same to us: this client is done.
    let _ = timeout(LIFETIME, serving).await;
}

fn is_trusted(peer: IpAddr, allow: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || allow.iter().any(|net| net.contains(&peer))
}

fn answer(state: &AdminState, trusted: bool, method: &Method, uri: &http::Uri) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        answer.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match uri.path() {
        "/healthz" => text(StatusCode::OK, "ok".to_owned()),
        "/healthz/ready" => readyz(&state.ready, uri.query()),
        _ if !trusted => text(
            StatusCode::FORBIDDEN,
            "only loopback and the networks of --admin-allow may read this\n".to_owned(),
        ),
        path => page(state, path, uri.query()),
    }
}

fn readyz(ready: &Readiness, query: Option<&str>) -> Answer {
    let verbose =
        query.unwrap_or("").split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    let is_ready = ready.is_ready();
    if is_ready && !verbose {
        return text(StatusCode::OK, "ok".to_owned());
    }
    let lines = ready.checks().into_iter().filter(|(_, holds)| verbose || !holds);
    let mut body: String = lines
        .map(|(name, holds)| match holds {
            true => format!("[+]{name} ok\n"),
            false => format!("[-]{name} failed\n"),
        })
        .collect();
    body.push_str(if is_ready { "healthz check passed\n" } else { "healthz check failed\n" });
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, body)
}

fn page(state: &AdminState, path: &str, query: Option<&str>) -> Answer {
    let snapshot = state.live.load_full();
    match path {
        "/metrics" => {
            let body = metrics::encode(&snapshot, &state.stats, state.extra.load());
            respond(StatusCode::OK, metrics::CONTENT_TYPE, body)
        },
        "/api/v1/routes" => json(&routes::list(&snapshot)),
        "/api/v1/details" => {
            let wanted = |name| parameter(query, name);
            match (wanted("namespace"), wanted("name")) {
                (Ok(namespace), Ok(name)) => {
                    json(&routes::details(&snapshot, namespace.as_deref(), name.as_deref()))
                },
                _ => text(StatusCode::BAD_REQUEST, NOT_ENCODED.to_owned()),
            }
        },
        "/api/v1/ingresses" => json(&ingresses::list(&snapshot)),
        "/api/v1/services" => json(&model::services(&snapshot)),
        "/api/v1/endpoints" => json(&model::endpoints(&snapshot)),
        "/api/v1/certs" => json(&model::certs(&snapshot)),
        "/api/v1/snapshot" => json(&model::summary(&snapshot)),
        "/api/v1/explain" => explained(&snapshot, query),
        _ => text(StatusCode::NOT_FOUND, "there is no such page\n".to_owned()),
    }
}

fn explained(snapshot: &Snapshot, query: Option<&str>) -> Answer {
    let Ok(Some(url)) = parameter(query, "url") else {
        return text(StatusCode::BAD_REQUEST, "expected ?url=, percent-encoded\n".to_owned());
    };
    match explain::explain(snapshot, &url) {
        Ok(explanation) => json(&explanation),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The value of a parameter of the query.
fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, BadEncoding> {
    let pairs = query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
    value.map(|value| percent_decode(value).ok_or(BadEncoding)).transpose()
}

/// A value in the query is not percent-encoded UTF-8.
struct BadEncoding;

const NOT_ENCODED: &str = "the query is not percent-encoded UTF-8\n";

/// Text without `%XX`; `None` when that is not UTF-8 or an escape is cut.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => respond(StatusCode::OK, "application/json", body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    answer
}

impl AdminState {
    /// A state that shows `live`, trusts loopback alone and has no figures yet.
    #[must_use]
    pub fn new(live: Arc<Live>, stats: Arc<RouterStats>, ready: Arc<Readiness>) -> Self {
        Self { live, stats, ready, allow: Vec::new(), extra: ExtraCell::new(Extra::default()) }
    }
}
