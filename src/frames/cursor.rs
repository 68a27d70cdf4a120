//! Finds the frame headers in a stream of bytes that comes in pieces.
//!
//! Used by `frames::Meter`, one for each direction. Always holds: payloads are skipped without being
//! looked at, but for the error code of the frames that end with one.

/// Length of a frame header (RFC 9113 4.1).
const HEADER: u8 = 9;

/// Most bytes gathered of one frame: the header, and a payload up to the error code of GOAWAY.
const MOST: usize = 17;

/// What a frame header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Length of the payload.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The error code, if it was asked for.
    pub(super) code: u32,
}

impl Frame {
    /// True when all bits of `flag` are set.
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }

    fn read(head: &[u8; HEADER as usize]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = *head;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff,
            code: 0,
        }
    }
}

/// Where a direction of a connection is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// Bytes of a header that is not complete.
    held: [u8; MOST],
    len: u8,
    /// Payload bytes still to be skipped.
    skip: u32,
}

impl Cursor {
    /// No frame has begun that has not ended.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.len == 0 && self.skip == 0
    }

    /// Takes what is left of the present payload from `bytes`.
    pub(super) fn skip(&mut self, bytes: &mut &[u8]) {
        let payload = (self.skip as usize).min(bytes.len());
        self.skip -= u32::try_from(payload).unwrap_or(self.skip);
        *bytes = &bytes[payload..];
    }

    /// Takes `bytes` up to and with the next frame header; `None` when they end before. `code_end` says
    /// how much of a payload is up to the end of an error code that is wanted, 0 for none.
    pub(super) fn next(
        &mut self,
        bytes: &mut &[u8],
        code_end: impl Fn(&Frame) -> u8,
    ) -> Option<Frame> {
        self.skip(bytes);
        if self.len == 0
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            let frame = Frame::read(head);
            if code_end(&frame) == 0 {
                *bytes = rest;
                self.skip = frame.length;
                return Some(frame);
            }
        }
        self.gather(bytes, code_end)
    }

    /// As [`Self::next`], for what has to be put together.
    #[cold]
    fn gather(&mut self, bytes: &mut &[u8], code_end: impl Fn(&Frame) -> u8) -> Option<Frame> {
        while let Some((first, rest)) = bytes.split_first() {
            self.held[usize::from(self.len)] = *first;
            self.len += 1;
            *bytes = rest;
            if let Some(frame) = self.complete(&code_end) {
                self.len = 0;
                return Some(frame);
            }
        }
        None
    }

    fn complete(&mut self, code_end: impl Fn(&Frame) -> u8) -> Option<Frame> {
        let (head, payload) = self.held.split_first_chunk()?;
        let have = self.len.checked_sub(HEADER)?;
        let mut frame = Frame::read(head);
        let wanted = code_end(&frame).min(8);
        if u32::from(wanted) > frame.length {
            // Too short for its type; the other side will say so.
            self.skip = frame.length - u32::from(have);
            return Some(frame);
        }
        if have < wanted {
            return None;
        }
        if let Some(code) = payload[..usize::from(wanted)].last_chunk() {
            frame.code = u32::from_be_bytes(*code);
        }
        self.skip = frame.length - u32::from(wanted);
        Some(frame)
    }
}
