//! What each path of a pod answers.
//!
//! Called by `connection` for every request. Always holds: a request body is read to its end before
//! the answer (but for `/reset` and `/echo`), and a parameter out of range is answered with 400.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    body::{Events, Letters, PodBody},
    connection::Link,
    query::{Query, QueryError},
    reflect, websocket,
};

/// Longest `?wait=`, and longest pause of `/sse`.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Longest made body, and longest request body.
const MAX_SIZE: u64 = 64 << 30;

/// Between two pieces of a request body.
const BODY_STALL: Duration = Duration::from_secs(30);

/// Most headers of `/headers`.
const MAX_HEADERS: u64 = 10_000;

const TEXT: &str = "text/plain; charset=utf-8";

/// Why a request ends its connection, or its HTTP/2 stream, without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("reset on request")]
    Reset,
    #[error("the request body stalled")]
    Stalled,
    #[error("cannot read the request body")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    link: &Link,
) -> Result<Response<PodBody>, AnswerError> {
    match request.uri().path() {
        "/reset" => {
            link.reset.turn_on();
            return Err(AnswerError::Reset);
        },
        "/echo" => return Ok(websocket::upgrade(request, link)),
        _ => {},
    }
    let (parts, body) = request.into_parts();
    let body = drain(body, parts.uri.path() == "/health").await?;
    match wait_and_answer(&parts, &body, link).await {
        Ok(response) => Ok(response),
        Err(error) => Ok(plain(StatusCode::BAD_REQUEST, format!("{error}\n"))),
    }
}

/// A request body that has been read.
struct Drained {
    length: u64,
    /// The start of it, if it was asked for.
    head: Vec<u8>,
}

async fn drain(body: Incoming, keep: bool) -> Result<Drained, AnswerError> {
    let mut drained = Drained { length: 0, head: Vec::new() };
    let mut body = Limited::new(body, usize::try_from(MAX_SIZE).unwrap_or(usize::MAX));
    loop {
        let frame =
            timeout(BODY_STALL, body.frame()).await.map_err(|_elapsed| AnswerError::Stalled)?;
        let Some(frame) = frame else { return Ok(drained) };
        if let Some(data) = frame.map_err(AnswerError::Body)?.data_ref() {
            drained.length += data.len() as u64;
            if keep && drained.head.len() < 16 {
                drained.head.extend_from_slice(&data[..data.len().min(16)]);
            }
        }
    }
}

async fn wait_and_answer(
    parts: &Parts,
    body: &Drained,
    link: &Link,
) -> Result<Response<PodBody>, QueryError> {
    let query = Query(parts.uri.query().unwrap_or(""));
    let wait = query.duration("wait", Duration::ZERO, MAX_WAIT)?;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let response = match parts.uri.path() {
        "/api" => typed("application/json", PodBody::text(reflect::json(parts, body.length, link))),
        "/chunked" => letters(Letters::new(query.size(64 << 10, MAX_SIZE)?).unpromised()),
        "/cut" => {
            let after = query.number("after", 1000, (0, MAX_SIZE))?;
            letters(Letters::new(after).cut(after + 1000))
        },
        "/data" if parts.method == Method::POST || parts.method == Method::PUT => {
            plain(StatusCode::OK, format!("received {} bytes\n", body.length))
        },
        "/data" => letters(Letters::new(query.size(1, MAX_SIZE)?)),
        "/headers" => many_headers(query.number("n", 100, (0, MAX_HEADERS))?),
        "/health" => health(parts, body, link),
        "/slow" => {
            let size = query.size(1000, MAX_SIZE)?;
            letters(Letters::new(size).paced(query.number("bps", 1000, (1, MAX_SIZE))?))
        },
        "/sse" => {
            let count = query.number("n", 10, (0, 1_000_000))?;
            events(count, query.duration("every", Duration::from_millis(100), MAX_WAIT)?)
        },
        path => match path.strip_prefix("/status/") {
            Some(status) => with_status(status),
            None => plain(StatusCode::OK, reflect::text(parts, body.length, link)),
        },
    };
    Ok(response)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<PodBody> {
    let mut response = typed(TEXT, PodBody::text(text));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: PodBody) -> Response<PodBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn letters(letters: Letters) -> Response<PodBody> {
    typed(TEXT, PodBody::Letters(letters))
}

fn events(count: u64, every: Duration) -> Response<PodBody> {
    let mut response = typed("text/event-stream", PodBody::Events(Events::new(count, every)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn many_headers(count: u64) -> Response<PodBody> {
    let mut response = plain(StatusCode::OK, format!("{count} headers\n"));
    for index in 0..count {
        let name = HeaderName::try_from(format!("x-header-{index}"));
        if let Ok(name) = name {
            response.headers_mut().insert(name, HeaderValue::from(index));
        }
    }
    response
}

fn with_status(text: &str) -> Response<PodBody> {
    let code = text.parse().ok().filter(|code| (200..=999).contains(code));
    let Some(status) = code.and_then(|code| StatusCode::from_u16(code).ok()) else {
        return plain(StatusCode::BAD_REQUEST, "status: must be from 200 to 999\n");
    };
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        let mut response = Response::new(PodBody::Given(None));
        *response.status_mut() = status;
        return response;
    }
    plain(status, format!("{status}\n"))
}

/// GET answers with the set status; POST sets it.
fn health(parts: &Parts, body: &Drained, link: &Link) -> Response<PodBody> {
    let health = &link.shared.identity.health;
    if parts.method != Method::POST {
        let status = StatusCode::from_u16(health.load(Relaxed)).unwrap_or(StatusCode::OK);
        return plain(status, format!("{status}\n"));
    }
    let text = std::str::from_utf8(&body.head).unwrap_or("").trim();
    match text.parse::<u16>().ok().filter(|code| (200..=599).contains(code)) {
        Some(code) => {
            health.store(code, Relaxed);
            plain(StatusCode::OK, format!("health is now {code}\n"))
        },
        None => plain(StatusCode::BAD_REQUEST, "body: must be a status from 200 to 599\n"),
    }
}
