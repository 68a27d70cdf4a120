//! L2: counts the frames of one HTTP/2 connection against budgets (reliability.md 6.3).
//!
//! [`Meter`] is fed what comes in and what goes out, in pieces of any size, and says when a budget is
//! used up. It reads frame headers only and skips payloads; nothing is decoded, copied or kept.
//! Called by `proxy::metered`, in front of the HTTP/2 library. Always holds: the verdict does not
//! depend on how the bytes are split, and the clock is asked for counted frames only, so DATA and
//! HEADERS cost a few instructions each.

mod cursor;

use std::time::{Duration, Instant};

use cursor::{Cursor, Frame};

use crate::settings::Http2Budgets;

/// What a client begins with (RFC 9113 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
}

/// Error codes (RFC 9113 7).
pub mod code {
    /// An orderly end.
    pub const NO_ERROR: u32 = 0;
    /// A fault of our own side, or of a pod.
    pub const INTERNAL_ERROR: u32 = 2;
    /// The peer asks too much.
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// WINDOW_UPDATE frames that a request entitles a client to: one for its stream, one to spare.
const UPDATES_PER_REQUEST: u32 = 2;

/// Most WINDOW_UPDATE frames that a DATA frame entitles a client to: two each for stream and
/// connection.
const UPDATES_PER_DATA: u32 = 4;

/// Sent bytes for which a client may send a WINDOW_UPDATE. A smaller DATA frame entitles it to none,
/// or a client could have its bytes one by one for ever (CVE-2019-9511).
const BYTES_PER_UPDATE: u32 = 8;

/// Most WINDOW_UPDATE frames that a client can save up.
const MAX_UPDATE_CREDIT: u32 = 65_536;

/// What a client has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Budget {
    /// CONTINUATION frames of one header block (S-36).
    Continuations,
    /// DATA without bytes that ends nothing, HEADERS without bytes (S-38).
    EmptyFrames,
    /// The library's own limits: reset streams that were not yet accepted, small DATA frames,
    /// header lists and others.
    Engine,
    /// Bytes of one header block (S-36).
    HeaderBlock,
    /// PRIORITY, GOAWAY, and frames of unknown types, which nobody acts on (S-41).
    Ignored,
    /// PING but for answers to ours (S-37).
    Pings,
    /// RST_STREAM in a window of time (S-34).
    Resets,
    /// RST_STREAM that the client made us send (S-35).
    ResetsEmitted,
    /// RST_STREAM in the connection's life (S-34).
    ResetsTotal,
    /// RST_STREAM before the connection's first response (S-34).
    ResetsUnanswered,
    /// SETTINGS but for acknowledgements (S-37).
    Settings,
    /// WINDOW_UPDATE beyond what was sent to the client (S-40, S-41).
    WindowUpdates,
}

/// Word of each budget in the metric, indexed by its discriminant.
pub const BUDGETS: [(Budget, &str); 12] = [
    (Budget::Continuations, "continuations"),
    (Budget::EmptyFrames, "empty_frames"),
    (Budget::Engine, "engine"),
    (Budget::HeaderBlock, "header_block"),
    (Budget::Ignored, "ignored"),
    (Budget::Pings, "pings"),
    (Budget::Resets, "resets"),
    (Budget::ResetsEmitted, "resets_emitted"),
    (Budget::ResetsTotal, "resets_total"),
    (Budget::ResetsUnanswered, "resets_unanswered"),
    (Budget::Settings, "settings"),
    (Budget::WindowUpdates, "window_updates"),
];

impl Budget {
    /// The word used in the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        BUDGETS[self as usize].1
    }
}

/// Events since the first one of a window; the next event after its end begins another.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<Instant>,
    count: u32,
}

impl Window {
    /// Counts an event; false when it is one too many.
    fn allows(&mut self, max: u32, now: Instant, interval: Duration) -> bool {
        let fresh = self.since.is_none_or(|since| now.saturating_duration_since(since) >= interval);
        if fresh {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= max
    }
}

/// The frames of one connection.
#[derive(Debug)]
pub struct Meter {
    budgets: Http2Budgets,
    exceeded: Option<Budget>,
    /// Bytes of the preface seen.
    preface: u8,
    preface_is_wrong: bool,
    inbound: Cursor,
    outbound: Cursor,
    /// A header block that goes out is not complete.
    outbound_block: bool,
    last_stream: u32,
    /// A response head has gone out.
    responded: bool,
    /// CONTINUATION frames and bytes of the present header block.
    continuations: u32,
    block_bytes: u32,
    resets: Window,
    resets_total: u32,
    resets_emitted: u32,
    settings: Window,
    pings: Window,
    /// PINGs of ours that are not answered.
    pings_sent: u32,
    empty: Window,
    ignored: Window,
    updates: Window,
    /// WINDOW_UPDATE frames that the client is entitled to.
    update_credit: u32,
    goaway: Option<u32>,
}

impl Meter {
    /// A connection that has not begun.
    #[must_use]
    pub fn new(budgets: Http2Budgets) -> Self {
        Self {
            budgets,
            exceeded: None,
            preface: 0,
            preface_is_wrong: false,
            inbound: Cursor::default(),
            outbound: Cursor::default(),
            outbound_block: false,
            last_stream: 0,
            responded: false,
            continuations: 0,
            block_bytes: 0,
            resets: Window::default(),
            resets_total: 0,
            resets_emitted: 0,
            settings: Window::default(),
            pings: Window::default(),
            pings_sent: 0,
            empty: Window::default(),
            ignored: Window::default(),
            updates: Window::default(),
            update_credit: 0,
            goaway: None,
        }
    }

    /// Bytes from the client, from the first byte of the connection on. `clock` is asked once for each
    /// counted frame.
    ///
    /// # Errors
    /// The budget that is used up, also at every later call.
    pub fn inbound(&mut self, bytes: &[u8], clock: impl Fn() -> Instant) -> Result<(), Budget> {
        let mut rest = self.after_preface(bytes);
        while self.exceeded.is_none()
            && let Some(frame) = self.inbound.next(&mut rest, |_head| 0)
        {
            self.exceeded = self.received(frame, &clock).err();
        }
        self.exceeded.map_or(Ok(()), Err)
    }

    /// Bytes that have gone out to the client.
    ///
    /// # Errors
    /// The budget that is used up, also at every later call.
    pub fn outbound(&mut self, bytes: &[u8]) -> Result<(), Budget> {
        let mut rest = bytes;
        while let Some(frame) = self.outbound.next(&mut rest, code_end) {
            if let Err(budget) = self.sent(frame) {
                self.exceeded.get_or_insert(budget);
            }
        }
        self.exceeded.map_or(Ok(()), Err)
    }

    /// How many of `bytes`, which are next to go out, belong to a frame or header block that has begun.
    /// 0 means that a frame may be put in here.
    #[must_use]
    pub fn until_boundary(&self, bytes: &[u8]) -> usize {
        let (mut cursor, mut block, mut rest) = (self.outbound, self.outbound_block, bytes);
        loop {
            cursor.skip(&mut rest);
            if rest.is_empty() || (cursor.is_between_frames() && !block) {
                return bytes.len() - rest.len();
            }
            if let Some(frame) = cursor.next(&mut rest, code_end) {
                block = leaves_block_open(frame, block);
            }
        }
    }

    /// True when what has gone out ends with a frame and a header block.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        self.outbound.is_between_frames() && !self.outbound_block
    }

    /// A GOAWAY frame with `code` that names the last stream seen.
    #[must_use]
    pub fn goaway_frame(&self, code: u32) -> [u8; 17] {
        let mut frame = [0; 17];
        frame[2] = 8;
        frame[3] = kind::GOAWAY;
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        frame[13..].copy_from_slice(&code.to_be_bytes());
        frame
    }

    /// The error code of the GOAWAY that has gone out, the last one if there were several.
    #[must_use]
    pub const fn goaway(&self) -> Option<u32> {
        self.goaway
    }

    /// The connection does not begin as HTTP/2 does.
    #[must_use]
    pub const fn preface_is_wrong(&self) -> bool {
        self.preface_is_wrong
    }

    /// What of `bytes` comes after the preface; nothing after a wrong one.
    fn after_preface<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let due = &PREFACE[usize::from(self.preface)..];
        if due.is_empty() {
            return bytes;
        }
        let len = due.len().min(bytes.len());
        if self.preface_is_wrong || bytes[..len] != due[..len] {
            self.preface_is_wrong = true;
            return &[];
        }
        self.preface += u8::try_from(len).unwrap_or(u8::MAX);
        &bytes[len..]
    }

    fn received(&mut self, frame: Frame, clock: &impl Fn() -> Instant) -> Result<(), Budget> {
        let max = self.budgets;
        match frame.kind {
            kind::DATA if frame.length > 0 || frame.has(flag::END_STREAM) => Ok(()),
            kind::HEADERS if frame.length > 0 => {
                self.last_stream = self.last_stream.max(frame.stream);
                self.entitle(UPDATES_PER_REQUEST);
                self.continuations = 0;
                self.block_bytes = 0;
                self.block(frame.length)
            },
            kind::CONTINUATION => {
                self.continuations += 1;
                within(self.continuations <= max.continuations, Budget::Continuations)?;
                self.block(frame.length)
            },
            kind::SETTINGS | kind::PING if frame.has(flag::ACK) && self.answers(frame.kind) => {
                Ok(())
            },
            kind::WINDOW_UPDATE if self.update_credit > 0 => {
                self.update_credit -= 1;
                Ok(())
            },
            _ => self.counted(frame.kind, clock()),
        }
    }

    /// A frame that only so many may come of.
    fn counted(&mut self, kind: u8, now: Instant) -> Result<(), Budget> {
        let max = self.budgets;
        let (window, limit, budget) = match kind {
            kind::DATA | kind::HEADERS => (&mut self.empty, max.empty_frames, Budget::EmptyFrames),
            kind::RST_STREAM => {
                self.resets_total = self.resets_total.saturating_add(1);
                let first = self.responded || self.resets_total <= max.resets_unanswered;
                within(first, Budget::ResetsUnanswered)?;
                within(self.resets_total <= max.resets_total, Budget::ResetsTotal)?;
                (&mut self.resets, max.resets, Budget::Resets)
            },
            kind::SETTINGS => (&mut self.settings, max.settings, Budget::Settings),
            kind::PING => (&mut self.pings, max.pings, Budget::Pings),
            kind::WINDOW_UPDATE => (&mut self.updates, max.window_updates, Budget::WindowUpdates),
            _ => (&mut self.ignored, max.ignored, Budget::Ignored),
        };
        within(window.allows(limit, now, max.interval), budget)
    }

    fn block(&mut self, bytes: u32) -> Result<(), Budget> {
        self.block_bytes = self.block_bytes.saturating_add(bytes);
        within(self.block_bytes <= self.budgets.header_block, Budget::HeaderBlock)
    }

    /// An acknowledgement: the library ends a connection for one of SETTINGS that it did not wait for,
    /// but takes any number of those of PING.
    const fn answers(&mut self, kind: u8) -> bool {
        if kind == kind::PING {
            let waited_for = self.pings_sent > 0;
            self.pings_sent = self.pings_sent.saturating_sub(1);
            return waited_for;
        }
        true
    }

    fn entitle(&mut self, updates: u32) {
        self.update_credit = (self.update_credit + updates).min(MAX_UPDATE_CREDIT);
    }

    fn sent(&mut self, frame: Frame) -> Result<(), Budget> {
        self.outbound_block = leaves_block_open(frame, self.outbound_block);
        match frame.kind {
            kind::DATA => {
                self.entitle((frame.length / BYTES_PER_UPDATE).min(UPDATES_PER_DATA));
            },
            kind::HEADERS => self.responded = true,
            // An early answer ends an upload with NO_ERROR, a pod that fails with INTERNAL_ERROR.
            kind::RST_STREAM
                if frame.code != code::NO_ERROR && frame.code != code::INTERNAL_ERROR =>
            {
                self.resets_emitted += 1;
                let fine = self.resets_emitted <= self.budgets.resets_emitted;
                within(fine, Budget::ResetsEmitted)?;
            },
            kind::PING if !frame.has(flag::ACK) => self.pings_sent += 1,
            kind::GOAWAY => self.goaway = Some(frame.code),
            _ => {},
        }
        Ok(())
    }
}

fn within(fine: bool, budget: Budget) -> Result<(), Budget> {
    if fine { Ok(()) } else { Err(budget) }
}

/// Whether a header block is open after `frame`, which came when one was or was not.
const fn leaves_block_open(frame: Frame, open: bool) -> bool {
    match frame.kind {
        kind::HEADERS | kind::CONTINUATION => !frame.has(flag::END_HEADERS),
        _ => open,
    }
}

/// Payload bytes up to the end of the error code, in frames that have one.
const fn code_end(frame: &Frame) -> u8 {
    match frame.kind {
        kind::RST_STREAM => 4,
        kind::GOAWAY => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
