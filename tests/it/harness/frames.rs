//! An HTTP/2 client that sends exactly the frames it is given and shows exactly what comes back.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// Type of a frame.
pub const DATA: u8 = 0;
/// Type of a frame.
pub const HEADERS: u8 = 1;
/// Type of a frame.
pub const PRIORITY: u8 = 2;
/// Type of a frame.
pub const RST_STREAM: u8 = 3;
/// Type of a frame.
pub const SETTINGS: u8 = 4;
/// Type of a frame.
pub const PING: u8 = 6;
/// Type of a frame.
pub const GOAWAY: u8 = 7;
/// Type of a frame.
pub const WINDOW_UPDATE: u8 = 8;
/// Type of a frame.
pub const CONTINUATION: u8 = 9;

/// Nothing follows on the stream; ACK in SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// The header block is complete.
pub const END_HEADERS: u8 = 4;

/// An error code.
pub const PROTOCOL_ERROR: u32 = 1;
/// An error code.
pub const FLOW_CONTROL_ERROR: u32 = 3;
/// An error code.
pub const REFUSED_STREAM: u32 = 7;
/// An error code.
pub const CANCEL: u32 = 8;
/// An error code.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A SETTINGS parameter: the window that streams begin with.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).expect("a frame with a code");
        u32::from_be_bytes(code.try_into().expect("four bytes"))
    }

    /// The last stream that a GOAWAY names.
    pub fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }

    /// True for the last frame of its stream.
    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The status, as far as the table of HPACK has it; 431 comes Huffman-coded.
    pub fn status(&self) -> u16 {
        match self.payload.as_slice() {
            [0x88, ..] => 200,
            [0x8d, ..] => 404,
            other if other.windows(3).any(|window| window == [0x69, 0x90, 0xff]) => 431,
            other => panic!("another status in {other:x?}"),
        }
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame.
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let pairs = parameters.iter();
    let bytes =
        pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, bytes.collect::<Vec<u8>>())
}

/// A WINDOW_UPDATE frame.
pub fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
}

/// An RST_STREAM frame.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, code.to_be_bytes())
}

/// An integer of HPACK with `bits` bits in its first byte, whose other bits are `first`.
pub fn integer(first: u8, bits: u8, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).expect("below the limit")];
    }
    let mut bytes = vec![first | u8::try_from(most).expect("a byte")];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("below 128") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("below 128"));
    bytes
}

/// A string of HPACK without Huffman coding.
pub fn string(text: &str) -> Vec<u8> {
    [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat()
}

/// A field that no table keeps.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// The pseudo-fields of a request.
pub fn pseudo(method: &str, host: &str, path: &str) -> Vec<u8> {
    // :method, :scheme http, :path and :authority, by their names in the static table.
    [vec![2], string(method), vec![0x86, 4], string(path), vec![1], string(host)].concat()
}

/// HEADERS of a GET.
pub fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, pseudo("GET", host, path))
}

/// HEADERS of a POST whose body follows.
pub fn post(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, pseudo("POST", host, path))
}

/// A connection.
#[derive(Debug)]
pub struct Frames<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Frames<TcpStream> {
    /// A connection to `address` that has begun, with `parameters`.
    pub async fn connect(address: SocketAddr, parameters: &[(u16, u32)]) -> Self {
        let stream = within("connecting", TcpStream::connect(address)).await.expect("connected");
        stream.set_nodelay(true).expect("an option of TCP");
        let mut client = Self::over(stream);
        client.send([PREFACE, &settings(parameters)].concat()).await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// A client over any stream, which has sent nothing yet.
    pub const fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes. A failure shows in what is read afterwards.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _may_be_closed = within("sending", self.stream.write_all(bytes.as_ref())).await;
        let _may_be_closed = within("sending", self.stream.flush()).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.take(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.take(length).await?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            let read = within("reading", self.stream.read_buf(&mut self.buffer)).await;
            // A reset is an end as well.
            read.ok().filter(|read| *read > 0)?;
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// The next frame that is `wanted`; others are passed over, but PINGs are answered.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await;
            let found = frame.unwrap_or_else(|| panic!("{what}: the connection ended"));
            if wanted(&found) {
                return found;
            }
            if found.kind == PING && found.flags & END_STREAM == 0 {
                self.send(frame_of_pong(&found)).await;
            }
        }
    }

    /// The next GOAWAY.
    pub async fn goaway(&mut self) -> Frame {
        self.until("a GOAWAY", |frame| frame.kind == GOAWAY).await
    }

    /// The head of the response of `stream`.
    pub async fn head(&mut self, stream: u32) -> Frame {
        self.until("a head", |frame| frame.kind == HEADERS && frame.stream == stream).await
    }

    /// The code with which `stream` is reset.
    pub async fn reset_of(&mut self, stream: u32) -> u32 {
        let reset = |frame: &Frame| frame.kind == RST_STREAM && frame.stream == stream;
        self.until("a reset", reset).await.code()
    }

    /// Waits until everything sent so far has been read by the other side.
    pub async fn settled(&mut self) {
        self.send(frame(PING, 0, 0, b"settled!")).await;
        self.until("a pong", |frame| {
            frame.kind == PING && frame.flags == END_STREAM && frame.payload == b"settled!"
        })
        .await;
    }

    /// Whatever comes up to the end of the connection; PINGs are answered.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            if frame.kind == PING && frame.flags & END_STREAM == 0 {
                self.send(frame_of_pong(&frame)).await;
            }
            frames.push(frame);
        }
        frames
    }
}

fn frame_of_pong(ping: &Frame) -> Vec<u8> {
    frame(PING, END_STREAM, 0, &ping.payload)
}
