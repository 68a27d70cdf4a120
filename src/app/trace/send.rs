//! The one real request of a trace: connection, TLS, request and answer, each with its time.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::{crypto::CryptoProvider, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Target;
use crate::tls::{
    anchors::Anchors,
    client::{Identity, Policy, Trust},
};

/// Bytes of a body that are read; the rest concerns nobody here.
const BODY: usize = 1 << 20;

/// A TLS session.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    /// Such as `TLSv1.3`.
    pub(super) version: String,
    /// Subject of the certificate that was shown.
    pub(super) subject: String,
    /// Its end.
    pub(super) not_after: String,
    pub(super) took: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// `Location` of a redirect.
    pub(super) location: Option<String>,
    /// To the head of the answer.
    pub(super) first: Duration,
    /// To its end, or to where it was not read on.
    pub(super) took: Duration,
}

/// Connects to `address`.
pub(super) async fn connect(
    address: SocketAddr,
    limit: Duration,
) -> Result<(TcpStream, Duration), String> {
    let begun = Instant::now();
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok((stream, begun.elapsed())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {limit:?}")),
    }
}

/// Whose certificate is taken.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    /// Anybody's.
    Anyone,
    /// One that leads to these authorities.
    Of(Arc<Anchors>),
}

/// Begins TLS for `host`.
pub(super) async fn secure(
    stream: TcpStream,
    host: &str,
    roots: &Roots,
    limit: Duration,
) -> Result<(TlsStream<TcpStream>, Secured), String> {
    let trust = match roots {
        Roots::Anyone => Trust::Anyone,
        Roots::Of(anchors) => Trust::Named(Arc::clone(anchors)),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = config(host, trust, &provider).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = match timeout(limit, connected).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no handshake within {limit:?}")),
    };
    let took = begun.elapsed();
    let session = stream.get_ref().1;
    let version = session.protocol_version();
    let version = version.map_or_else(String::new, |version| format!("{version:?}"));
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let parsed = leaf.and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let (subject, not_after) = parsed.map_or_else(Default::default, |(_, leaf)| {
        (leaf.subject().to_string(), leaf.validity().not_after.to_string())
    });
    Ok((stream, Secured { version, subject, not_after, took }))
}

fn config(
    host: &str,
    trust: Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let identity = Identity::new(&trust, host, true, false);
    Ok(Policy::new(identity, trust, provider)?.config())
}

/// Sends the request and reads the answer.
pub(super) async fn request<S>(
    stream: S,
    target: &Target,
    limit: Duration,
) -> Result<Answered, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let begun = Instant::now();
    let asked = timeout(limit, ask(stream, target, begun)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

async fn ask<S>(stream: S, target: &Target, begun: Instant) -> Result<Answered, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let driver = tokio::spawn(async move { _ = connection.await });
    let request = Request::get(&target.path_and_query)
        .header(header::HOST, &target.authority)
        .header(header::USER_AGENT, concat!("wharf-trace/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let first = begun.elapsed();
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (mut body, mut size) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(said)?;
            size += frame.data_ref().map_or(0, Bytes::len);
            if size > BODY {
                break;
            }
        }
        Ok(Answered { status, location, first, took: begun.elapsed() })
    }
    .await;
    driver.abort();
    answer
}

/// An error with what is behind it, where hyper says it.
fn said(error: hyper::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
