//! WebSocket echo (RFC 6455): handshake, and the loop that sends each message back.
//!
//! Called by `answer` for `/echo`. The frames themselves are in `frame`, which does no I/O.
//! Always holds: a message is at most 1 MiB, and a client that breaks the protocol gets a close
//! frame with the reason.

mod frame;

use std::{io, time::Duration};

use aws_lc_rs::digest;
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

/// Between two pieces from the client.
const IDLE: Duration = Duration::from_secs(3600);

/// From the 101 to the upgraded stream.
const SWITCH: Duration = Duration::from_secs(10);

/// What RFC 6455 1.3 appends to the key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Accepts or refuses the handshake; an accepted client is served by a task of its own.
pub(super) fn upgrade(mut request: Request<Incoming>, link: &Link) -> Response<PodBody> {
    let accept = match check(&request) {
        Ok(key) => accept_value(key.as_bytes()),
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

fn accept_value(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(ACCEPT_SUFFIX.as_bytes());
    let text = base64(context.finish().as_ref());
    HeaderValue::try_from(text).expect("base64 is visible ASCII")
}

/// Base64 with padding (RFC 4648 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_padding = digit > three.len();
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if is_padding { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455_1_3() {
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_pads_as_rfc_4648_10_shows() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
