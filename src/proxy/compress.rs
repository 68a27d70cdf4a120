//! The bytes of a response that is compressed on its way to the client [COMP-1].
//!
//! Called by `forward` where compression is on; [`super::response`] drives a [`Packer`] with what the
//! pod sends. What is there when the pod pauses goes out at once, so that slow streams arrive as they
//! are sent; a body that was cut has no end of the gzip stream either; trailers follow it. A packer
//! works through a bounded share of bytes at a time, and a worker has a bounded number of them.

use std::{rc::Rc, task::Poll};

use bytes::Bytes;
use flate2::{Compress, CompressError, Compression, FlushCompress, Status};
use http::{HeaderMap, Version, response::Parts};
use http_body::{Body as _, Frame};

use super::{
    response::{BodyError, Polled, ResponseBody},
    worker::Worker,
};
use crate::headers::compression;

/// Bytes that are put into one part, if there are as many.
const PART: usize = 16 * 1024;

/// Room that the compressor has at least whenever it is asked for something.
const ROOM: usize = 1024;

/// Bytes and frames of the pod that are worked through in one turn at most.
const TURN_BYTES: usize = 64 * 1024;
const TURN_FRAMES: usize = 64;

/// The whole window of the format, as HAProxy has it.
const WINDOW_BITS: u8 = 15;

/// Compresses `body`, a pod's, if its response with the head `parts` is one to compress. `version` is that
/// of the pod; the client takes gzip.
pub(super) fn pack(
    body: ResponseBody,
    worker: Rc<Worker>,
    version: Version,
    parts: &mut Parts,
) -> ResponseBody {
    let settings = &worker.settings.compression;
    if body.is_end_stream()
        || !compression::applies(parts.status, version, &parts.headers, &settings.types)
    {
        return body;
    }
    let counters = worker.stats.workers.cell(worker.index);
    if worker.compressing().get() >= settings.streams {
        counters.compression_skipped.add(1);
        return body;
    }
    counters.compressed.add(1);
    compression::announce(&mut parts.headers);
    body.packed(Box::new(Packer::new(worker)))
}

/// Compresses one body.
#[derive(Debug)]
pub(super) struct Packer {
    deflate: Compress,
    /// What has come out and has not been handed on.
    out: Vec<u8>,
    /// The compressor may hold back some of what it was given.
    holds: bool,
    /// What is to be handed on as soon as there are [`PART`] bytes, or at once.
    due: bool,
    next: Next,
    bytes: usize,
    frames: usize,
    worker: Rc<Worker>,
}

/// What follows the bytes in `out`.
#[derive(Debug)]
enum Next {
    /// More of the pod's body.
    More,
    /// The end.
    End,
    /// These, and the end.
    Trailers(HeaderMap),
    /// The body was cut.
    Cut(BodyError),
    /// Nothing: all was handed on.
    Done,
}

impl Packer {
    fn new(worker: Rc<Worker>) -> Self {
        worker.compressing().set(worker.compressing().get() + 1);
        Self {
            deflate: Compress::new_gzip(Compression::fast(), WINDOW_BITS),
            out: Vec::new(),
            holds: false,
            due: false,
            next: Next::More,
            bytes: 0,
            frames: 0,
            worker,
        }
    }

    /// True when all was handed on.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.next, Next::Done) && self.out.is_empty()
    }

    /// The body is asked for something again.
    pub(super) const fn begin_turn(&mut self) {
        (self.bytes, self.frames) = (0, 0);
    }

    /// What can be handed on; `Some(None)` at the end.
    #[expect(clippy::option_option, reason = "the inner one is that of a body")]
    pub(super) fn ready(&mut self) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
        let over = !matches!(self.next, Next::More);
        if !self.out.is_empty() && (self.due || over || self.out.len() >= PART) {
            self.due = false;
            if matches!(self.next, Next::End) {
                self.next = Next::Done;
            }
            return Some(Some(Ok(Frame::data(Bytes::from(std::mem::take(&mut self.out))))));
        }
        if !over {
            return None;
        }
        Some(match std::mem::replace(&mut self.next, Next::Done) {
            Next::Trailers(fields) => Some(Ok(Frame::trailers(fields))),
            Next::Cut(error) => Some(Err(error)),
            Next::More | Next::End | Next::Done => None,
        })
    }

    /// Takes what the pod's body said; pending when there is nothing to hand on before it says more.
    pub(super) fn take(&mut self, polled: Polled) -> Poll<()> {
        let outcome = match polled {
            Poll::Ready(Some(Ok(frame))) => self.frame(frame),
            Poll::Ready(None) => {
                self.next = Next::End;
                self.finish()
            },
            Poll::Ready(Some(Err(error))) => {
                self.next = Next::Cut(error);
                self.flush()
            },
            Poll::Pending if self.holds || !self.out.is_empty() => self.flush(),
            Poll::Pending => return Poll::Pending,
        };
        if let Err(error) = outcome {
            self.out.clear();
            self.next = Next::Cut(BodyError::Packing(error));
        }
        Poll::Ready(())
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), CompressError> {
        match frame.into_data() {
            Ok(data) => {
                self.bytes += data.len();
                self.frames += 1;
                self.write(&data)?;
                if self.bytes >= TURN_BYTES || self.frames >= TURN_FRAMES {
                    self.flush()?;
                }
                Ok(())
            },
            Err(frame) => {
                self.next = frame.into_trailers().map_or(Next::End, Next::Trailers);
                self.finish()
            },
        }
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), CompressError> {
        self.holds |= !data.is_empty();
        while !data.is_empty() {
            let before = self.deflate.total_in();
            self.step(data, FlushCompress::None)?;
            // No more than there was.
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(data.len());
            data = &data[taken.min(data.len())..];
        }
        Ok(())
    }

    /// Everything that was given comes out.
    fn flush(&mut self) -> Result<(), CompressError> {
        if std::mem::take(&mut self.holds) {
            // It has more to say for as long as it fills the room that it has.
            loop {
                self.step(&[], FlushCompress::Sync)?;
                if self.out.len() < self.out.capacity() {
                    break;
                }
            }
        }
        self.due = true;
        Ok(())
    }

    /// The stream ends.
    fn finish(&mut self) -> Result<(), CompressError> {
        self.holds = false;
        while self.step(&[], FlushCompress::Finish)? != Status::StreamEnd {}
        Ok(())
    }

    fn step(&mut self, data: &[u8], flush: FlushCompress) -> Result<Status, CompressError> {
        if self.out.capacity() - self.out.len() < ROOM {
            self.out.reserve(PART);
        }
        self.deflate.compress_vec(data, &mut self.out, flush)
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.worker.compressing().set(self.worker.compressing().get() - 1);
    }
}

#[cfg(test)]
mod tests;
