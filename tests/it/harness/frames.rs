//! An HTTP/2 client that sends exactly the frames it is given, sound or not.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// PROTOCOL_ERROR.
pub const PROTOCOL_ERROR: u32 = 1;

/// A connection.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// Starts HTTP/2 with prior knowledge.
    pub async fn over(stream: TcpStream) -> Self {
        let mut this = Self { stream };
        this.write(PREFACE).await;
        this.frame(SETTINGS, 0, 0, &[]).await;
        this
    }

    async fn write(&mut self, bytes: &[u8]) {
        let _may_be_closed = within("sending", self.stream.write_all(bytes)).await;
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.write(&[&head, payload].concat()).await;
    }

    /// A HEADERS frame with these fields, uncompressed.
    pub async fn headers<N, V>(&mut self, stream: u32, fields: &[(N, V)], ends: bool)
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut block = Vec::new();
        for (name, value) in fields {
            // Literal without indexing, new name (RFC 7541 6.2.2).
            block.push(0);
            string(&mut block, name.as_ref());
            string(&mut block, value.as_ref());
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block).await;
    }

    /// A DATA frame.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.frame(DATA, if ends { END_STREAM } else { 0 }, stream, bytes).await;
    }

    /// The first word on the stream, or on the connection.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some((kind, on, payload)) = self.next().await else { return Outcome::Closed };
            let number = |at: usize| {
                let bytes = payload[at..at + 4].try_into().expect("four bytes");
                u32::from_be_bytes(bytes)
            };
            match kind {
                HEADERS if on == stream => return Outcome::Status(status(&payload)),
                RST_STREAM if on == stream => return Outcome::Reset(number(0)),
                GOAWAY => return Outcome::GoAway(number(4)),
                _ => {},
            }
        }
    }

    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        within("a frame", self.stream.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        within("a frame", self.stream.read_exact(&mut payload)).await.ok()?;
        Some((kind, u32::from_be_bytes(stream), payload))
    }
}

/// A string of HPACK without Huffman coding (RFC 7541 5.1, 5.2).
fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut len = text.len();
    if len < 127 {
        block.push(u8::try_from(len).expect("small"));
    } else {
        block.push(127);
        len -= 127;
        while len >= 128 {
            block.push(u8::try_from(len % 128 + 128).expect("a byte"));
            len /= 128;
        }
        block.push(u8::try_from(len).expect("a byte"));
    }
    block.extend_from_slice(text);
}

/// The status at the start of the first header block of a connection.
fn status(block: &[u8]) -> u16 {
    match *block {
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        // A literal value of the static table's `:status`, with or without Huffman coding.
        [0x48 | 0x08, len, ref rest @ ..] if len & 0x80 == 0 => {
            let digits = std::str::from_utf8(&rest[..usize::from(len)]).expect("digits");
            digits.parse().expect("digits")
        },
        [0x48 | 0x08, len, ref rest @ ..] => digits(&rest[..usize::from(len & 0x7f)]),
        _ => panic!("a status that the harness cannot read: {block:02x?}"),
    }
}

/// Three digits in the Huffman code of RFC 7541, appendix B: 0 to 2 have five bits, the rest six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).expect("bits");
        let (digit, len) = if five < 3 {
            (five, 5)
        } else {
            (u16::from_str_radix(&bits[at..at + 6], 2).expect("bits") - 0b01_1001 + 3, 6)
        };
        number = number * 10 + digit;
        at += len;
    }
    number
}
