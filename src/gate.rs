//! Where HTTP/1 requests begin and end, and which bytes are not HTTP/1 at all (decisions 9).
//!
//! Called by `proxy::gated` with what a client sends, before hyper sees it, and by fuzzing. Always
//! holds: the verdict depends on the bytes alone and not on how they were cut into reads; what passes
//! has one reading only, so that neither hyper nor a pod can find another message in it
//! (reliability.md 6.1).

mod about;
mod bytes;
mod chunks;
mod head;

pub use about::{About, about};
use chunks::Chunks;
use head::{Framing, Head, Progress};

/// Bytes that a request line may always have, as far as the head may have them (S-25).
const LINE: usize = 16_384;

/// What larger heads keep for fields; more of them may be request line.
const FIELDS: usize = 8192;

/// Most fields of a head, and of a trailer section [LIM-1].
pub const MAX_FIELDS: usize = 101;

/// Most bytes of the extensions of one chunk (S-05).
pub const MAX_EXTENSION: usize = 256;

/// Most bytes of all chunk extensions of a message (S-05).
pub const MAX_EXTENSIONS: usize = 16_384;

/// Most bytes of a trailer section.
pub const MAX_TRAILERS: usize = 8192;

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Not HTTP, or framed in a way that could be read in two ways.
    Malformed,
    /// The request line is longer than [`Limits::line`].
    LineTooLong,
    /// The head is longer than [`Limits::head`] or has more than [`MAX_FIELDS`] fields.
    HeadTooLarge,
    /// The head is longer than [`Limits::buffer`].
    BeyondBuffer,
    /// A transfer coding in front of `chunked`.
    Coding,
    /// `Expect` with anything but `100-continue` (S-13).
    Expectation,
    /// CONNECT (S-17).
    Connect,
    /// Extended CONNECT to anything but a WebSocket (RFC 9220 3). Never said by a [`Scanner`]: HTTP/1 has none.
    Protocol,
    /// The head was not complete in time. Never said by a [`Scanner`], which knows no time.
    Timeout,
}

/// What a [`Scanner`] says of the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many of the bytes may be passed on.
    pub passed: usize,
    /// What is wrong with what follows them; the connection is of no use from there on.
    pub fault: Option<Fault>,
}

/// How large a head may be [LIM-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a head.
    pub head: usize,
    /// Bytes of a head that are read to see where it ends, at least [`Self::head`]. What ends in them
    /// is answered otherwise than what does not (spec/route.md 26.1).
    pub buffer: usize,
    /// Most bytes of the request line (S-25).
    pub line: usize,
}

impl Limits {
    /// Heads of `head` bytes in a buffer of `buffer`.
    #[must_use]
    pub const fn new(head: usize, buffer: usize) -> Self {
        let line = head.saturating_sub(FIELDS);
        let line = if line < LINE { LINE } else { line };
        Self { head, buffer: if buffer < head { head } else { buffer }, line }
    }
}

impl Default for Limits {
    /// OpenShift's.
    fn default() -> Self {
        Self::new(24_576, 32_768)
    }
}

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub struct Scanner {
    limits: Limits,
    state: State,
    head: Head,
    heads: u64,
    broken: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// In front of a head, or in it.
    #[default]
    Head,
    /// In a body with so many bytes to come.
    Length(u64),
    Chunked(Chunks),
    /// Behind a request that asks for an upgrade.
    Held,
    Refused(Fault),
}

impl Scanner {
    /// A scanner at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Judges `window`: the bytes that came after those passed before. What did not pass has to be
    /// shown again, in front of what follows it. A head passes as a whole or not at all; a body
    /// passes as it comes.
    pub fn scan(&mut self, window: &[u8]) -> Verdict {
        let mut passed = 0;
        let fault = loop {
            let rest = &window[passed..];
            match &mut self.state {
                State::Refused(fault) => break Some(*fault),
                State::Held => break None,
                _ if rest.is_empty() => break None,
                State::Head => match self.head.scan(rest, &self.limits) {
                    Ok(Progress::Complete(len)) => {
                        passed += len;
                        self.heads += 1;
                        self.enter_body();
                    },
                    Ok(Progress::Partial) => break None,
                    Err(fault) => self.state = State::Refused(fault),
                },
                State::Length(left) => {
                    let step = usize::try_from(*left).map_or(rest.len(), |it| it.min(rest.len()));
                    *left -= step as u64;
                    passed += step;
                    if *left == 0 {
                        self.end_message();
                    }
                },
                State::Chunked(chunks) => {
                    let (step, outcome) = chunks.scan(rest);
                    passed += step;
                    match outcome {
                        Ok(true) => self.end_message(),
                        Ok(false) => {},
                        Err(fault) => {
                            self.broken = true;
                            self.state = State::Refused(fault);
                        },
                    }
                },
            }
        };
        Verdict { passed, fault }
    }

    fn enter_body(&mut self) {
        match self.head.framing {
            Framing::None | Framing::Length(0) => self.end_message(),
            Framing::Length(length) => self.state = State::Length(length),
            Framing::Chunked => self.state = State::Chunked(Chunks::default()),
        }
    }

    fn end_message(&mut self) {
        self.state = if self.head.upgrade { State::Held } else { State::Head };
        self.head = Head::default();
    }

    /// The request that asked for an upgrade was answered otherwise: what follows is a request.
    pub const fn proceed(&mut self) {
        if let State::Held = self.state {
            self.state = State::Head;
        }
    }

    /// Heads that have passed.
    #[must_use]
    pub const fn heads(&self) -> u64 {
        self.heads
    }

    /// True behind a request that asks for an upgrade: nothing passes until [`Self::proceed`] (S-15).
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// True where a message has ended, as far as passed bytes go.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Head | State::Held)
    }

    /// True behind a fault in a body: the request it belongs to has passed already.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }
}

#[cfg(test)]
mod tests;
