//! An HTTP/2 client whose streams are taken in hand: what is sent and taken, and how each side ends.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{self, SendRequest},
    ext::Protocol,
};
use http::{Method, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use super::within;

/// A connection.
#[derive(Debug)]
pub struct H2Client {
    sender: SendRequest<Bytes>,
    task: JoinHandle<Result<(), h2::Error>>,
}

/// A stream whose response has begun.
#[derive(Debug)]
pub struct Stream {
    /// The head of the response.
    pub head: Response<()>,
    /// The client's side.
    pub send: SendStream<Bytes>,
    /// The other side.
    pub receive: RecvStream,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In good order.
    Orderly,
    /// By RST_STREAM, or with the connection.
    Reset(Option<Reason>),
}

impl H2Client {
    /// Starts HTTP/2 over `stream`, with windows of the usual 65,535 bytes.
    pub async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = within("the preface", client::handshake(stream)).await;
        let (sender, connection) = handshake.expect("HTTP/2");
        Self { sender, task: tokio::spawn(connection) }
    }

    /// Waits for SETTINGS that allow extended CONNECT.
    pub async fn may_connect(&self) {
        within("extended CONNECT", async {
            while !self.sender.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Begins a request and leaves its body open.
    pub async fn open(&mut self, request: Request<()>) -> Result<Stream, h2::Error> {
        self.begin(request, b"").await
    }

    /// As [`Self::open`], with `early` sent before there is an answer.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        early: &'static [u8],
    ) -> Result<Stream, h2::Error> {
        within("a free stream", std::future::poll_fn(|cx| self.sender.poll_ready(cx))).await?;
        let (response, mut send) = self.sender.send_request(request, false)?;
        if !early.is_empty() {
            send.send_data(Bytes::from_static(early), false)?;
        }
        let (head, receive) = within("a response", response).await?.into_parts();
        Ok(Stream { head: Response::from_parts(head, ()), send, receive })
    }

    /// Sends a whole body without waiting for anything.
    pub async fn post(
        &mut self,
        request: Request<()>,
        body: &'static [u8],
    ) -> Result<Stream, h2::Error> {
        let (response, mut send) = self.sender.send_request(request, false)?;
        send.send_data(Bytes::from_static(body), true)?;
        let (head, receive) = within("a response", response).await?.into_parts();
        Ok(Stream { head: Response::from_parts(head, ()), send, receive })
    }

    /// A request whose response is awaited separately.
    pub fn start(&mut self, request: Request<()>) -> (client::ResponseFuture, SendStream<Bytes>) {
        self.sender.send_request(request, false).expect("an open connection")
    }

    /// A GET, without a body.
    pub async fn get(&mut self, url: &str) -> Result<Stream, h2::Error> {
        let request = Request::get(url).body(()).expect("a request");
        let (response, send) = self.sender.send_request(request, true)?;
        let (head, receive) = within("a response", response).await?.into_parts();
        Ok(Stream { head: Response::from_parts(head, ()), send, receive })
    }

    /// Drops the connection with everything on it.
    pub fn vanish(self) {
        self.task.abort();
    }
}

/// An extended CONNECT (RFC 8441 4).
pub fn connect(protocol: &str, url: &str) -> Request<()> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(url)
        .extension(Protocol::from(protocol))
        .header("sec-websocket-version", "13");
    request.body(()).expect("a request")
}

impl Stream {
    /// Sends bytes as the window allows.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let mut rest = Bytes::copy_from_slice(bytes.as_ref());
        while !rest.is_empty() {
            self.send.reserve_capacity(rest.len());
            let room = within("a window", std::future::poll_fn(|cx| self.send.poll_capacity(cx)));
            let room = room.await.expect("an open stream").expect("an open stream");
            let part = rest.split_to(room.min(rest.len()));
            self.send.send_data(part, false).expect("an open stream");
        }
    }

    /// Ends the client's side.
    pub fn end(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("an open stream");
    }

    /// Exactly `count` bytes, less at the end of the stream.
    pub async fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < count {
            match within("DATA", self.receive.data()).await {
                Some(Ok(data)) => {
                    let _open = self.receive.flow_control().release_capacity(data.len());
                    heard.extend_from_slice(&data);
                },
                Some(Err(_)) | None => break,
            }
        }
        heard
    }

    /// Waits for the end, with nothing in front of it.
    pub async fn over(&mut self) -> End {
        loop {
            match within("the end of the stream", self.receive.data()).await {
                None => return End::Orderly,
                Some(Ok(data)) => assert!(data.is_empty(), "{data:?}"),
                Some(Err(error)) => return End::Reset(error.reason()),
            }
        }
    }
}
