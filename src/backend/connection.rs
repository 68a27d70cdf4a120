//! One connection to a pod: TLS or sniffing, then HTTP/1.1 or HTTP/2 until the client or a drain
//! ends it.
//!
//! Called by `backend::serve`, once per accepted connection. Always holds: the handshake, the
//! preface and each request head have a deadline.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Shared, answer,
    stream::{PodStream, ResetSwitch},
};

/// A client's first bytes, and its TLS handshake.
const OPENING: Duration = Duration::from_secs(10);

/// A client's first bytes once the pod is stopping: time for what has been sent to be seen.
const LATE_OPENING: Duration = Duration::from_millis(250);

/// A request head, counted from the end of the request before it.
const HEAD: Duration = Duration::from_secs(60);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;

/// Header fields of an HTTP/1 request.
const MAX_FIELDS: usize = 1000;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 200;

/// What a request can learn about its connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) tls: Option<TlsFacts>,
    pub(super) reset: ResetSwitch,
    pub(super) shared: Shared,
}

/// What the TLS handshake agreed on.
#[derive(Debug)]
pub(super) struct TlsFacts {
    pub(super) version: String,
    pub(super) server_name: Option<String>,
}

/// Serves one connection to its end.
pub(super) async fn serve(tcp: TcpStream, remote: SocketAddr, shared: Shared) {
    if let Err(error) = open(tcp, remote, shared).await {
        tracing::debug!(%remote, error = %error, "connection ended");
    }
}

async fn open(tcp: TcpStream, remote: SocketAddr, shared: Shared) -> io::Result<()> {
    let local = tcp.local_addr()?;
    let reset = ResetSwitch::default();
    let mut stream = PodStream::new(tcp, reset.clone());
    let tls = shared.tls.clone();
    let mut link = Link { local, remote, tls: None, reset, shared };
    let Some(config) = tls else {
        let drain = link.shared.drain.clone();
        let is_http2 = tokio::select! {
            is_http2 = timeout(OPENING, stream.sniff_http2()) => is_http2??,
            () = async { drain.cancelled().await; tokio::time::sleep(LATE_OPENING).await } => {
                return Ok(());
            },
        };
        return speak(stream, is_http2, link).await;
    };
    let stream = timeout(OPENING, TlsAcceptor::from(config).accept(stream)).await??;
    link.tls = Some(facts(&stream));
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    speak(stream, is_http2, link).await
}

fn facts(stream: &TlsStream<PodStream>) -> TlsFacts {
    let (_, session) = stream.get_ref();
    TlsFacts {
        version: session.protocol_version().map(|v| format!("{v:?}")).unwrap_or_default(),
        server_name: session.server_name().map(ToOwned::to_owned),
    }
}

async fn speak<S>(stream: S, is_http2: bool, link: Link) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let drain = link.shared.drain.clone();
    let executor = OwnedTasks(link.shared.clone());
    let link = Arc::new(link);
    let service = service_fn(move |request: Request<Incoming>| {
        let link = Arc::clone(&link);
        async move { answer::answer(request, &link).await }
    });
    let io = TokioIo::new(stream);
    // The connection first: a request that has arrived is read before a drain is seen.
    let ended = if is_http2 {
        let mut connection = Box::pin(http2(executor).serve_connection(io, service));
        tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            },
        }
    } else {
        let mut connection = Box::pin(http1().serve_connection(io, service).with_upgrades());
        tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            },
        }
    };
    ended.map_err(io::Error::other)
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS);
    builder
}

fn http2(executor: OwnedTasks) -> http2::Builder<OwnedTasks> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    builder
}

/// Runs the streams of an HTTP/2 connection as tasks that `backend::serve` owns.
#[derive(Clone, Debug)]
struct OwnedTasks(Shared);

impl<F> hyper::rt::Executor<F> for OwnedTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.tasks.spawn(self.0.abort.clone().run_until_cancelled_owned(future));
    }
}
