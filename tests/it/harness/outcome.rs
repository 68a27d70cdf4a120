//! Requests of HTTP/2 that need not be sound, and what comes of each.

use tokio::net::TcpStream;

use super::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM, frame, integer,
    settings,
};

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

/// A connection.
#[derive(Debug)]
pub struct Requests {
    frames: Frames<TcpStream>,
}

impl Requests {
    /// Starts HTTP/2 with prior knowledge.
    pub async fn over(stream: TcpStream) -> Self {
        let mut frames = Frames::over(stream);
        frames.send([PREFACE, &settings(&[])].concat()).await;
        Self { frames }
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
            for text in [name.as_ref(), value.as_ref()] {
                block.extend(integer(0, 7, text.len()));
                block.extend_from_slice(text);
            }
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frames.send(frame(HEADERS, flags, stream, block)).await;
    }

    /// A DATA frame.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.frames.send(frame(DATA, if ends { END_STREAM } else { 0 }, stream, bytes)).await;
    }

    /// The first word on the stream, or on the connection.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.frames.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    return Outcome::Status(status(&frame.payload));
                },
                RST_STREAM if frame.stream == stream => return Outcome::Reset(frame.code()),
                GOAWAY => return Outcome::GoAway(frame.code()),
                _ => {},
            }
        }
        Outcome::Closed
    }
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
