//! L6: the admin port: health, metrics, statistics and a read-only API.
//!
//! Started by `app` on the control runtime, never on a worker. Plain HTTP and, with a certificate, TLS
//! [ADMIN-1]. `/healthz*` answers everybody; the rest answers loopback peers, the allow list and who has
//! the credentials (S-91). Only GET and HEAD, so nothing can be changed from here. No answer holds a key
//! (S-92).

pub mod access;
pub mod checks;
pub mod explain;
pub mod ingresses;
pub mod model;
pub mod readiness;
pub mod redact;
pub mod routes;
pub mod statistics;
pub mod trace;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use rustls::ServerConfig;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::stats::RouterStats,
    snapshot::{Live, Snapshot},
    sources::Sources,
    telemetry::metrics::{Exporter, Extra, ExtraCell, Format},
};
use access::{Access, Credentials};
use checks::PortCheck;
use readiness::Readiness;

/// Connections at once.
const CONNECTIONS: usize = 100;
/// Connections at once from one source that is not trusted: nobody may take them all and keep checks of
/// health out.
const PER_SOURCE: usize = 10;
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
    /// Who may read everything from elsewhere, too.
    pub credentials: Option<Credentials>,
    /// TLS of the port as it is now, if it has any.
    pub tls: Option<TlsCell>,
    /// What the ready check asks for over the network.
    pub port_check: Option<PortCheck>,
    /// Makes the metrics.
    pub metrics: Exporter,
    /// Figures for the metrics that change with each compile.
    pub extra: ExtraCell,
}

/// A TLS configuration that is replaced when its files change.
pub type TlsCell = Arc<ArcSwap<ServerConfig>>;

type Answer = Response<trace::Body>;

/// Serves until `cancel`; open connections are then cut.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>, cancel: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let sources = Arc::<Sources>::default();
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
                let trusted = is_trusted(peer.ip(), &state.allow);
                let limit = if trusted { CONNECTIONS } else { PER_SOURCE };
                let Some(counted) = sources.enter(peer.ip(), limit) else { continue };
                connections.spawn(async move {
                    connection(stream, peer, state).await;
                    drop((permit, counted));
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

/// First byte of a TLS record that holds a handshake (RFC 8446 5.1); no HTTP begins with it.
const HANDSHAKE: u8 = 22;

async fn connection(stream: TcpStream, peer: SocketAddr, state: Arc<AdminState>) {
    let Some(tls) = &state.tls else { return plain(stream, peer, state).await };
    let mut first = [0];
    match timeout(DEADLINE, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => {},
        _ => return,
    }
    if first != [HANDSHAKE] {
        return plain(stream, peer, state).await;
    }
    let acceptor = TlsAcceptor::from(tls.load_full());
    match timeout(DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => plain(stream, peer, state).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake on the admin port failed"),
        Err(_elapsed) => {},
    }
}

/// HTTP over `stream`.
async fn plain<S>(stream: S, peer: SocketAddr, state: Arc<AdminState>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let trusted = is_trusted(peer.ip(), &state.allow);
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, head) = (Arc::clone(&state), request.into_parts().0);
        async move { Ok::<_, Infallible>(answer(&state, trusted, head).await) }
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

async fn answer(state: &Arc<AdminState>, trusted: bool, head: Parts) -> Answer {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let health = head.uri.path().strip_prefix("/healthz");
    if let Some(path) = health.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        let port = state.port_check.as_ref();
        return match checks::answer(&state.ready, port, path, head.uri.query()).await {
            Some((status, body)) => text(status, body),
            None => text(StatusCode::NOT_FOUND, "there is no such check\n".to_owned()),
        };
    }
    match access::decide(trusted, state.credentials.as_ref(), &head.headers) {
        Access::Granted => {},
        Access::Unauthorized => return unauthorized(),
        Access::Forbidden => {
            let who = "only loopback and the networks of --admin-allow may read this\n";
            return text(StatusCode::FORBIDDEN, who.to_owned());
        },
    }
    if head.uri.path() == "/api/v1/trace" {
        return traced(state, head.uri.query());
    }
    // Made elsewhere: of a large configuration it takes a while.
    let state = Arc::clone(state);
    let made = tokio::task::spawn_blocking(move || page(&state, &head.uri, &head.headers)).await;
    made.unwrap_or_else(|_panic| {
        text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n".to_owned())
    })
}

/// The realm is the one that OpenShift gives to HAProxy [ADMIN-6].
fn unauthorized() -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, "credentials are needed\n".to_owned());
    let realm = HeaderValue::from_static("Basic realm=\"Haproxy Statistics\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    answer
}

fn page(state: &AdminState, uri: &http::Uri, headers: &HeaderMap) -> Answer {
    let snapshot = state.live.load_full();
    let query = uri.query();
    let limit = || state.extra.load().max_connections;
    match uri.path() {
        "/" => {
            let body = statistics::html(&snapshot, &state.stats, limit());
            respond(StatusCode::OK, "text/html; charset=utf-8", body)
        },
        // HAProxy has options behind the semicolon, of which this one counts.
        path if path.starts_with("/;csv") => {
            text(StatusCode::OK, statistics::csv(&snapshot, &state.stats, limit()))
        },
        "/metrics" => {
            let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let format = Format::of(accept.unwrap_or(""));
            let body = state.metrics.scrape(&snapshot, &state.stats, state.extra.load(), format);
            respond(StatusCode::OK, format.content_type(), body)
        },
        path if path == "/debug/pprof" || path.starts_with("/debug/pprof/") => text(
            StatusCode::NOT_FOUND,
            "there are no profiles here: this router is not written in Go; use perf\n".to_owned(),
        ),
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

fn traced(state: &AdminState, query: Option<&str>) -> Answer {
    let client = parameter(query, "client").ok().and_then(trace::client);
    let Some(client) = client else {
        let expected = "expected ?client=ADDR:PORT, percent-encoded\n".to_owned();
        return text(StatusCode::BAD_REQUEST, expected);
    };
    match state.stats.watches.watch(client) {
        Some(watching) => {
            let mut answer = respond(StatusCode::OK, "application/json", Bytes::new());
            *answer.body_mut() = trace::Body::of(watching);
            answer
        },
        None => text(StatusCode::TOO_MANY_REQUESTS, "too many are traced at once\n".to_owned()),
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

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(trace::Body::Full(Full::new(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

impl AdminState {
    /// A state that shows `live`, trusts loopback alone and has no figures yet.
    #[must_use]
    pub fn new(live: Arc<Live>, stats: Arc<RouterStats>, ready: Arc<Readiness>) -> Self {
        Self {
            live,
            stats,
            ready,
            allow: Vec::new(),
            credentials: None,
            tls: None,
            port_check: None,
            metrics: Exporter::default(),
            extra: ExtraCell::new(Extra::default()),
        }
    }
}
