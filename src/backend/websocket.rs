//! WebSocket echo (RFC 6455): handshake, and the loop that sends each message back.
//!
//! Called by `answer` for `/echo`. The frames themselves are in `frame`, which does no I/O.
//! Always holds: a message is at most 1 MiB, and a client that breaks the protocol gets a close
//! frame with the reason.

mod frame;

use std::{io, time::Duration};

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::frame::{Close, Decoder, Event, encode};
use super::{body::PodBody, connection::Link};
use crate::headers::websocket;

/// Between two pieces from the client.
const IDLE: Duration = Duration::from_secs(3600);

/// From the 101 to the upgraded stream.
const SWITCH: Duration = Duration::from_secs(10);

/// Accepts or refuses the handshake; an accepted client is served by a task of its own.
pub(super) fn upgrade(mut request: Request<Incoming>, link: &Link) -> Response<PodBody> {
    let accept = match check(&request) {
        Ok(key) => websocket::accept(key.as_bytes()),
        Err(refusal) => return refusal.response(),
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    let drain = link.shared.drain.clone();
    let remote = link.remote;
    let echo = async move {
        if let Err(error) = run(on_upgrade, drain).await {
            tracing::debug!(%remote, %error, "websocket ended");
        }
    };
    link.shared.tasks.spawn(link.shared.abort.clone().run_until_cancelled_owned(echo));
    let mut response = Response::new(PodBody::Given(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// What is wrong with a handshake.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Key,
    NoUpgrade,
    Version,
}

impl Refusal {
    fn response(self) -> Response<PodBody> {
        let (status, text) = match self {
            Self::Key => (StatusCode::BAD_REQUEST, "sec-websocket-key: must have 24 bytes\n"),
            Self::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, "/echo speaks WebSocket\n"),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, "only version 13 is spoken\n"),
        };
        let mut response = Response::new(PodBody::text(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// The client's key, if its handshake is right (RFC 6455 4.2.1).
fn check(request: &Request<Incoming>) -> Result<&HeaderValue, Refusal> {
    let headers = request.headers();
    let is_upgrade = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket");
    if !is_upgrade {
        return Err(Refusal::NoUpgrade);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24).ok_or(Refusal::Key)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

async fn run(on_upgrade: OnUpgrade, drain: CancellationToken) -> io::Result<()> {
    let upgraded = timeout(SWITCH, on_upgrade).await?.map_err(io::Error::other)?;
    let mut stream = TokioIo::new(upgraded);
    let close = tokio::select! {
        close = echo(&mut stream) => close?,
        () = drain.cancelled() => Some(Close::GoingAway),
    };
    if let Some(close) = close {
        stream.write_all(&encode::close(close)).await?;
    }
    stream.shutdown().await
}

/// Echoes messages until the client closes or breaks the protocol; the answer is the close frame to
/// send, none if the client is gone.
async fn echo(stream: &mut TokioIo<Upgraded>) -> io::Result<Option<Close>> {
    let mut decoder = Decoder::default();
    let mut out = BytesMut::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        loop {
            match decoder.next() {
                Ok(Some(Event::Message(kind, payload))) => {
                    encode::message(&mut out, kind, &payload);
                },
                Ok(Some(Event::Ping(payload))) => encode::pong(&mut out, &payload),
                Ok(Some(Event::Close(close))) | Err(close) => {
                    stream.write_all(&out).await?;
                    return Ok(Some(close));
                },
                Ok(None) => break,
            }
            // Written at once: the buffer holds one message.
            stream.write_all(&out).await?;
            out.clear();
        }
        let read = timeout(IDLE, stream.read(&mut piece)).await??;
        if read == 0 {
            return Ok(None);
        }
        decoder.push(&piece[..read]);
    }
}
