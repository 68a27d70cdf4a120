//! What a TLS client says first, read for one thing: the name of the server that it wants.
//!
//! Called by `proxy::hello`, which decides by it whether the connection is passed through [LSN-5]. It
//! judges nothing else, so that whatever a pod would understand reaches it: any version from SSL 3.0
//! on, any suites, any extensions, the outer name of an encrypted hello. It reassembles the message from
//! records of any size (S-68). Always holds: a [`Scanner`] looks at every byte once, however few come
//! at a time; no input makes it panic; a hello of more than [`MAX_HELLO`] bytes is none (S-69).

use std::borrow::Cow;

/// Most bytes of a hello, with the headers of its records. Browsers send up to two thousand.
pub const MAX_HELLO: usize = 16 * 1024;

/// Type, version and length (RFC 8446 5.1).
const RECORD_HEADER: usize = 5;
/// Longest content of a record that is not encrypted.
const MAX_RECORD: usize = 1 << 14;
/// Type and length (RFC 8446 4).
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Version and random.
const FIXED: usize = 2 + 32;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A whole ClientHello; [`server_name`] reads it.
    Complete,
    /// They may become one.
    More,
    /// They cannot become one.
    NotTls,
    /// It would be longer than [`MAX_HELLO`].
    TooLong,
}

/// Looks for the end of a ClientHello in bytes that come little by little.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes looked at.
    at: usize,
    /// How many of the present record are still to come.
    left: usize,
    /// Bytes of the message looked at.
    seen: usize,
    header: [u8; MESSAGE_HEADER],
}

impl Scanner {
    /// Goes on with `wire`: everything that has come so far, from the first byte of the connection.
    pub fn scan(&mut self, wire: &[u8]) -> Scan {
        loop {
            if self.left == 0 {
                let rest = wire.get(self.at..).unwrap_or_default();
                match record(rest) {
                    Ok(Some(length)) => (self.at, self.left) = (self.at + RECORD_HEADER, length),
                    Ok(None) => return more(wire),
                    Err(NotHandshake) => return Scan::NotTls,
                }
            }
            let taken = wire.len().saturating_sub(self.at).min(self.left);
            if taken == 0 {
                return more(wire);
            }
            let content = &wire[self.at..self.at + taken];
            for (to, from) in self.header.iter_mut().skip(self.seen).zip(content) {
                *to = *from;
            }
            (self.at, self.left, self.seen) =
                (self.at + taken, self.left - taken, self.seen + taken);
            if self.header[0] != CLIENT_HELLO {
                return Scan::NotTls;
            }
            if self.seen >= MESSAGE_HEADER {
                match message_length(self.header) {
                    length if length > MAX_HELLO => return Scan::TooLong,
                    length if length <= self.seen => return Scan::Complete,
                    _ => {},
                }
            }
        }
    }
}

/// Not all of it has come.
const fn more(wire: &[u8]) -> Scan {
    if wire.len() < MAX_HELLO { Scan::More } else { Scan::TooLong }
}

/// The bytes are no record of a handshake.
struct NotHandshake;

/// Length of the content of the record that starts `wire`; `None` when its header is not complete.
fn record(wire: &[u8]) -> Result<Option<usize>, NotHandshake> {
    let is = |at: usize, wanted: u8| wire.get(at).is_none_or(|byte| *byte == wanted);
    if !is(0, HANDSHAKE) || !is(1, 3) {
        return Err(NotHandshake);
    }
    let Some(&[_, _, _, high, low]) = wire.first_chunk::<RECORD_HEADER>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        length @ 1..=MAX_RECORD => Ok(Some(length)),
        _ => Err(NotHandshake),
    }
}

/// With its header.
fn message_length([_, high, middle, low]: [u8; MESSAGE_HEADER]) -> usize {
    let length = u32::from_be_bytes([0, high, middle, low]);
    MESSAGE_HEADER + usize::try_from(length).unwrap_or(usize::MAX / 2)
}

/// The server name in `wire`, which is [`Scan::Complete`], as it was sent. `None` without one, and for
/// a hello that breaks the format or names two: no two readers of it would agree.
#[must_use]
pub fn server_name(wire: &[u8]) -> Option<Cow<'_, [u8]>> {
    match message(wire)? {
        Cow::Borrowed(message) => name_in(message).map(Cow::Borrowed),
        Cow::Owned(message) => name_in(&message).map(|name| Cow::Owned(name.to_vec())),
    }
}

/// The message that starts `wire`, without its header. It is copied only when it is in pieces.
fn message(wire: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = Reader(wire);
    let first = rest.record()?;
    let mut message = Cow::Borrowed(first);
    loop {
        if let Some(header) = message.first_chunk::<MESSAGE_HEADER>() {
            let length = message_length(*header);
            if message.len() >= length {
                return Some(match message {
                    Cow::Borrowed(message) => Cow::Borrowed(&message[MESSAGE_HEADER..length]),
                    Cow::Owned(message) => Cow::Owned(message[MESSAGE_HEADER..length].to_vec()),
                });
            }
        }
        // What is last in the bytes may be the start of a record only.
        let piece = rest.record()?;
        message.to_mut().extend_from_slice(piece);
    }
}

/// The name in a ClientHello (RFC 8446 4.1.2, RFC 6066 3).
fn name_in(hello: &[u8]) -> Option<&[u8]> {
    let mut hello = Reader(hello);
    hello.take(FIXED)?;
    let _session = hello.vector8()?;
    let _suites = hello.vector16()?;
    let _compression = hello.vector8()?;
    let mut extensions = Reader(hello.vector16()?);
    hello.is_empty().then_some(())?;
    let mut list = None;
    while !extensions.is_empty() {
        let kind = extensions.number()?;
        let data = extensions.vector16()?;
        if kind == SERVER_NAME && list.replace(data).is_some() {
            return None;
        }
    }
    let mut list = Reader(list?);
    let mut names = Reader(list.vector16()?);
    let [HOST_NAME] = names.take(1)? else { return None };
    let name = names.vector16()?;
    (list.is_empty() && names.is_empty() && !name.is_empty()).then_some(name)
}

/// Takes from the front of bytes; `None` when there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    /// The content of the next record, as much of it as there is.
    fn record(&mut self) -> Option<&'a [u8]> {
        let length = record(self.0).ok()??;
        self.take(RECORD_HEADER)?;
        self.take(length.min(self.0.len()))
    }
}

#[cfg(test)]
mod tests;
