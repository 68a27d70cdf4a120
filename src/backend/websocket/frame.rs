//! WebSocket frames as a server sees them (RFC 6455 5): decoding masked frames into messages, and
//! encoding unmasked ones. No I/O.
//!
//! Always holds: nothing beyond [`MAX_MESSAGE`] is kept, and after an error nothing more is decoded.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of one message over all its fragments.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// Text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Text,
}

/// Why a WebSocket ends: the status of the close frame (RFC 6455 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The client's own status, sent back.
    Client(u16),
    /// The client closed without a status.
    ClientSilent,
    GoingAway,
    InvalidText,
    Protocol,
    TooBig,
}

impl Close {
    fn code(self) -> Option<u16> {
        Some(match self {
            Self::Client(code) => code,
            Self::ClientSilent => return None,
            Self::GoingAway => 1001,
            Self::InvalidText => 1007,
            Self::Protocol => 1002,
            Self::TooBig => 1009,
        })
    }
}

/// What the client said. A pong says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Close(Close),
    Message(Kind, Bytes),
    Ping(Bytes),
}

#[derive(Debug)]
struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    length: usize,
}

/// Turns bytes into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    header: Option<Header>,
    /// Kind and fragments of the message that is not complete.
    partial: Option<(Kind, BytesMut)>,
    failed: Option<Close>,
}

impl Decoder {
    /// Adds bytes from the client.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Close> {
        if let Some(close) = self.failed {
            return Err(close);
        }
        self.decode().inspect_err(|close| self.failed = Some(*close))
    }

    fn decode(&mut self) -> Result<Option<Event>, Close> {
        loop {
            if self.header.is_none() {
                self.header = self.parse_header()?;
            }
            let Some(header) = self.header.take_if(|header| header.length <= self.buffer.len())
            else {
                return Ok(None);
            };
            let mut payload = self.buffer.split_to(header.length);
            for (index, byte) in payload.iter_mut().enumerate() {
                *byte ^= header.mask[index % 4];
            }
            if let Some(event) = self.accept(&header, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// A whole frame header, checked; the bytes are consumed only then.
    fn parse_header(&mut self) -> Result<Option<Header>, Close> {
        let [first, second, ..] = self.buffer[..] else { return Ok(None) };
        let opcode = first & 0x0f;
        let (fin, is_control) = (first & 0x80 != 0, opcode & 0x08 != 0);
        let short = second & 0x7f;
        let is_known = matches!(opcode, 0x0..=0x2 | 0x8..=0xa);
        let is_masked = second & 0x80 != 0;
        if first & 0x70 != 0 || !is_known || !is_masked || is_control && (!fin || short > 125) {
            return Err(Close::Protocol);
        }
        let mut rest = &self.buffer[2..];
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < extended + 4 {
            return Ok(None);
        }
        let length = match short {
            126 => u64::from(rest.get_u16()),
            127 => rest.get_u64(),
            _ => u64::from(short),
        };
        let is_minimal = match short {
            126 => length > 125,
            127 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !is_minimal {
            return Err(Close::Protocol);
        }
        let held = self.partial.as_ref().map_or(0, |(_, fragments)| fragments.len());
        let length = usize::try_from(length).map_err(|_too_long| Close::TooBig)?;
        if length > MAX_MESSAGE - held {
            return Err(Close::TooBig);
        }
        let mut mask = [0; 4];
        rest.copy_to_slice(&mut mask);
        self.buffer.advance(2 + extended + 4);
        Ok(Some(Header { fin, opcode, mask, length }))
    }

    fn accept(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Event>, Close> {
        match header.opcode {
            0x8 => return close_of(&payload).map(|close| Some(Event::Close(close))),
            0x9 => return Ok(Some(Event::Ping(payload.freeze()))),
            0xa => return Ok(None),
            _ => {},
        }
        let (kind, fragments) = match (header.opcode, self.partial.take()) {
            (0x0, Some((kind, mut fragments))) => {
                fragments.unsplit(payload);
                (kind, fragments)
            },
            (0x1, None) => (Kind::Text, payload),
            (0x2, None) => (Kind::Binary, payload),
            _ => return Err(Close::Protocol),
        };
        if !header.fin {
            self.partial = Some((kind, fragments));
            return Ok(None);
        }
        if kind == Kind::Text && std::str::from_utf8(&fragments).is_err() {
            return Err(Close::InvalidText);
        }
        Ok(Some(Event::Message(kind, fragments.freeze())))
    }
}

/// The status in a close frame, if it may stand there (RFC 6455 7.4).
fn close_of(mut payload: &[u8]) -> Result<Close, Close> {
    if payload.is_empty() {
        return Ok(Close::ClientSilent);
    }
    if payload.len() == 1 {
        return Err(Close::Protocol);
    }
    let code = payload.get_u16();
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::Protocol);
    }
    if std::str::from_utf8(payload).is_err() {
        return Err(Close::InvalidText);
    }
    Ok(Close::Client(code))
}

/// Frames from the server: whole and unmasked.
pub(super) mod encode {
    use bytes::{BufMut, BytesMut};

    use super::{Close, Kind};

    /// Appends a message.
    pub(crate) fn message(out: &mut BytesMut, kind: Kind, payload: &[u8]) {
        let opcode = match kind {
            Kind::Text => 0x1,
            Kind::Binary => 0x2,
        };
        frame(out, opcode, payload);
    }

    /// Appends the answer to a ping.
    pub(crate) fn pong(out: &mut BytesMut, payload: &[u8]) {
        frame(out, 0xa, payload);
    }

    /// A close frame.
    pub(crate) fn close(close: Close) -> BytesMut {
        let mut out = BytesMut::new();
        match close.code() {
            Some(code) => frame(&mut out, 0x8, &code.to_be_bytes()),
            None => frame(&mut out, 0x8, &[]),
        }
        out
    }

    fn frame(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
        out.put_u8(0x80 | opcode);
        match u16::try_from(payload.len()) {
            Ok(length @ ..=125) => out.put_u8(length.to_be_bytes()[1]),
            Ok(length) => {
                out.put_u8(126);
                out.put_u16(length);
            },
            Err(_) => {
                out.put_u8(127);
                out.put_u64(payload.len() as u64);
            },
        }
        out.put_slice(payload);
    }
}

#[cfg(test)]
mod tests;
