//! An HTTP/1 client that sends exactly the bytes it is given and shows exactly what comes back.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// A response as it was on the wire.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// `HTTP/1.1 200 OK`.
    pub line: String,
    /// Fields in order.
    pub headers: Vec<(String, String)>,
    /// Body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
    /// The connection ended before the message did.
    pub cut: bool,
}

impl Response {
    /// The status, 0 when nothing came.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// First value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client<S> {
    /// The stream.
    pub stream: S,
    buffer: Vec<u8>,
    ended: bool,
}

impl Client<TcpStream> {
    /// A plain connection to `address`.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("connecting", TcpStream::connect(address)).await.expect("connected");
        Self::over(stream)
    }
}

/// A GET request.
pub fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client over any stream.
    pub const fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), ended: false }
    }

    /// Sends bytes. A failure shows in what is read afterwards.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _may_be_closed = within("sending", self.stream.write_all(bytes.as_ref())).await;
        let _may_be_closed = within("sending", self.stream.flush()).await;
    }

    /// Sends a GET and reads the answer.
    pub async fn get(&mut self, host: &str, path: &str) -> Response {
        self.send(get(host, path)).await;
        self.response().await
    }

    /// Reads more; false at the end of the stream.
    pub async fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut chunk = vec![0; 65_536];
        // A reset is an end as well.
        let read = within("reading", self.stream.read(&mut chunk)).await.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..read]);
        self.ended = read == 0;
        !self.ended
    }

    /// Exactly `count` bytes of what comes, less at the end of the stream.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more().await {}
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// True when the other side closes without another byte.
    pub async fn closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    /// The bytes up to and with `mark`; `None` at the end of the stream.
    async fn up_to(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next response.
    pub async fn response(&mut self) -> Response {
        self.response_to("GET").await
    }

    /// The head of the next response.
    pub async fn head(&mut self) -> Response {
        let Some(head) = self.up_to(b"\r\n\r\n").await else {
            return Response { cut: true, ..Response::default() };
        };
        let head = String::from_utf8(head).expect("heads are text");
        let (line, fields) = head.split_once("\r\n").expect("a status line");
        Response { line: line.to_owned(), headers: fields_of(fields), ..Response::default() }
    }

    /// The next response, to a request with `method`.
    pub async fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.head().await;
        let status = response.status();
        if response.cut || method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return response;
        }
        if response.header("transfer-encoding").is_some() {
            self.chunked(&mut response).await;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a length");
            response.body = self.bytes(length).await;
            response.cut = response.body.len() < length;
        } else {
            response.body = self.rest().await;
        }
        response
    }

    async fn chunked(&mut self, response: &mut Response) {
        response.cut = true;
        loop {
            let Some(line) = self.up_to(b"\r\n").await else { return };
            let size = std::str::from_utf8(&line).expect("a chunk size").trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            let data = self.bytes(size).await;
            response.body.extend_from_slice(&data);
            if data.len() < size || self.bytes(2).await != b"\r\n" {
                return;
            }
        }
        while let Some(line) = self.up_to(b"\r\n").await {
            if line == b"\r\n" {
                response.cut = false;
                return;
            }
            let line = String::from_utf8(line).expect("trailers are text");
            response.trailers.extend(fields_of(&line));
        }
    }
}

fn fields_of(text: &str) -> Vec<(String, String)> {
    let fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}
