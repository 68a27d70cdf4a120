//! An HTTP/2 client.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use super::within;

/// A request body.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A connection.
#[derive(Debug)]
pub struct Http2 {
    sender: SendRequest<Body>,
    task: JoinHandle<hyper::Result<()>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailer fields, if any.
    pub trailers: Option<HeaderMap>,
}

impl Http2 {
    /// Starts HTTP/2 over `stream`.
    pub async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("the preface", handshake).await.expect("HTTP/2");
        Self { sender, task: tokio::spawn(connection) }
    }

    /// A request whose response is awaited separately.
    pub fn start(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Reply>> + use<> {
        let response = self.sender.send_request(request);
        async move {
            within("an HTTP/2 response", async {
                let (parts, body) = response.await?.into_parts();
                let whole = body.collect().await?;
                let trailers = whole.trailers().cloned();
                let (status, headers, body) = (parts.status, parts.headers, whole.to_bytes());
                Ok(Reply { status, headers, body, trailers })
            })
            .await
        }
    }

    /// A request whose response is read bit by bit.
    pub async fn open(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<http::Response<hyper::body::Incoming>> {
        within("an HTTP/2 response", self.sender.send_request(request)).await
    }

    /// A request and its response.
    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Reply> {
        self.start(request).await
    }

    /// A GET.
    pub async fn get(&mut self, url: &str) -> hyper::Result<Reply> {
        self.send(Request::get(url).body(body("")).expect("a request")).await
    }

    /// Waits until the other side has ended the connection.
    pub async fn ended(self) -> hyper::Result<()> {
        let Self { sender, task } = self;
        let outcome = within("the connection to end", task).await.expect("no panic");
        drop(sender);
        outcome
    }
}

/// A body of known length.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body with trailers.
pub fn with_trailers(bytes: impl Into<Bytes>, trailers: HeaderMap) -> Body {
    Full::new(bytes.into()).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
}

/// A body of what is sent; it ends when the sender is dropped.
pub fn channel() -> (tokio::sync::mpsc::Sender<Frame>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (sender, Channel(receiver).boxed())
}

/// What a channel's body consists of.
pub type Frame = Result<http_body::Frame<Bytes>, std::convert::Infallible>;

struct Channel(tokio::sync::mpsc::Receiver<Frame>);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        self.0.poll_recv(cx)
    }
}
