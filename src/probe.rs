//! L4: active health checks: one check of an address, and the router's checks of its endpoints.
//!
//! Called by `nlb` for its targets and by `app` for [`run_checks`]. Always holds: a check ends within
//! its limit, its connection is closed afterwards, and the number of checks at once is bounded.

mod endpoints;
mod matcher;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

pub use endpoints::run_checks;
pub use matcher::{Matcher, MatcherError};

use crate::{
    net::{connect, proxy_protocol},
    tls::client,
    upstream::{dial::DialError, secure::Secure},
};

/// Most bytes of a response head.
const MAX_HEAD: usize = 16 * 1024;

/// Outcome of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The address answered, and not with something else.
    Fail(FailReason),
    /// It answered as wanted.
    Pass,
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// The connection broke, or what came was no HTTP.
    Failed,
    /// Nobody listens there.
    Refused,
    /// An answer with another status code.
    ResponseCode(u16),
    /// No answer in time.
    Timeout,
    /// The TLS handshake failed.
    Handshake,
}

/// What a check sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// Nothing.
    None,
    /// A PROXY header without addresses, as the AWS load balancer does (A.7).
    ProxyLocal,
}

/// What an HTTP check asks and expects.
#[derive(Clone, Copy, Debug)]
pub struct HttpCheck<'a> {
    /// Value of Host.
    pub host: &'a str,
    /// Path of the GET.
    pub path: &'a str,
    /// Codes that pass.
    pub matcher: &'a Matcher,
}

/// Passes if `address` accepts a connection within `limit`.
pub async fn tcp(address: SocketAddr, limit: Duration, preamble: Preamble) -> Outcome {
    within(limit, async {
        open(address, limit, preamble).await?;
        Ok(())
    })
    .await
}

/// Passes if `address` accepts a connection and a TLS handshake with a certificate that is accepted
/// for requests as well, all within `limit` [REENC-5].
pub async fn tls(address: SocketAddr, secure: &Secure, limit: Duration) -> Outcome {
    within(limit, async {
        let stream = open(address, limit, Preamble::None).await?;
        let mut stream = secure.check(stream).await.map_err(|error| {
            if DialError::is_about_certificate(&error) {
                secure.complain(address, &error);
            }
            FailReason::Handshake
        })?;
        // The pod sees an end and no cut; whether it takes it is its own affair.
        let _gone = stream.shutdown().await;
        Ok(())
    })
    .await
}

/// Passes if `address` answers a GET with a code that the matcher wants, all within `limit`. The
/// body is not read.
pub async fn http(
    address: SocketAddr,
    check: HttpCheck<'_>,
    limit: Duration,
    preamble: Preamble,
) -> Outcome {
    within(limit, async {
        let stream = open(address, limit, preamble).await?;
        judge(get(stream, check).await?, check)
    })
    .await
}

/// [`http()`] over TLS, for targets of load balancers: the certificate is not validated, and TLS 1.2 is
/// the only version, as at AWS, so a target that speaks TLS 1.3 alone fails (A.5).
pub async fn https(
    address: SocketAddr,
    check: HttpCheck<'_>,
    limit: Duration,
    preamble: Preamble,
) -> Outcome {
    static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        client::unverified(&provider, &[&rustls::version::TLS12], &[]).ok()
    });
    within(limit, async {
        let config = CONFIG.as_ref().ok_or(FailReason::Handshake)?;
        let stream = open(address, limit, preamble).await?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(client::nobody(), stream).await;
        judge(get(stream.map_err(|_broken| FailReason::Handshake)?, check).await?, check)
    })
    .await
}

fn judge(status: StatusCode, check: HttpCheck<'_>) -> Result<(), FailReason> {
    if check.matcher.matches(status.as_u16()) {
        return Ok(());
    }
    Err(FailReason::ResponseCode(status.as_u16()))
}

async fn within(limit: Duration, check: impl Future<Output = Result<(), FailReason>>) -> Outcome {
    match tokio::time::timeout(limit, check).await {
        Ok(Ok(())) => Outcome::Pass,
        Ok(Err(reason)) => Outcome::Fail(reason),
        Err(_elapsed) => Outcome::Fail(FailReason::Timeout),
    }
}

async fn open(
    address: SocketAddr,
    limit: Duration,
    preamble: Preamble,
) -> Result<TcpStream, FailReason> {
    let mut stream = connect::tcp(address, limit).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => FailReason::Refused,
        std::io::ErrorKind::TimedOut => FailReason::Timeout,
        _ => FailReason::Failed,
    })?;
    if preamble == Preamble::ProxyLocal {
        let mut header = Vec::new();
        proxy_protocol::write_v2_local(&mut header);
        stream.write_all(&header).await.map_err(|_broken| FailReason::Failed)?;
    }
    Ok(stream)
}

async fn get<S>(stream: S, check: HttpCheck<'_>) -> Result<StatusCode, FailReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::get(check.path)
        .header(header::HOST, check.host)
        .header(header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_bad_path| FailReason::Failed)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_broken| FailReason::Failed)?;
    let mut connection = pin!(connection);
    let mut response = pin!(sender.send_request(request));
    let mut open = true;
    loop {
        // The connection may end in the same step in which the response is ready.
        tokio::select! {
            biased;
            answer = &mut response => {
                return answer.map(|answer| answer.status()).map_err(|_broken| FailReason::Failed);
            },
            _ended = &mut connection, if open => open = false,
        }
    }
}

#[cfg(test)]
mod tests;
