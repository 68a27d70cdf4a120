//! The bytes of an HTTP/2 connection on their way to and from the library, held to their budgets.
//!
//! Put between hyper and the timed stream by `http2`. When a budget is used up, or the client may not use
//! a route [IPL-7, RATE-5], the library gets nothing more to read; a GOAWAY with ENHANCE_YOUR_CALM goes out where a frame ends, and then every
//! operation fails, which ends the connection and its streams.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    frames::{Budget, Meter, code},
    net::clock,
    settings::Http2Budgets,
};

/// What the stream of bytes lets its connection know.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Why the router ends the connection at once, if it does.
    end: Cell<Option<End>>,
    /// The error code of a GOAWAY of the library.
    pub(super) goaway: Cell<Option<u32>>,
    /// The client does not begin as HTTP/2 does.
    pub(super) preface_is_wrong: Cell<bool>,
    /// The client's TCP window is closed.
    pub(super) blocked: Cell<bool>,
    /// How often it was.
    pub(super) blocks: Cell<u32>,
}

/// Why the router ends a connection at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// A budget is used up.
    #[error("the client exceeds the HTTP/2 budget {}", .0.word())]
    Exceeded(Budget),
    /// The client may not use a route, or no more of it.
    #[error("the client may not use the route")]
    Denied,
}

impl Wire {
    /// Why the router ends the connection at once, if it does.
    pub(super) const fn end(&self) -> Option<End> {
        self.end.get()
    }

    /// The router ends the connection with what is written or read next.
    pub(super) fn end_for(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
        }
    }
}

/// A stream that counts frames.
#[derive(Debug)]
pub(super) struct MeteredIo<S> {
    stream: S,
    /// On the heap: what is in here is moved around, and counts for every connection's task.
    meter: Box<Meter>,
    wire: Rc<Wire>,
    /// The last frame, and how much of it has been written.
    goaway: Option<[u8; 17]>,
    written: usize,
}

impl<S> MeteredIo<S> {
    /// Wraps `stream`, a connection of which nothing has been read yet.
    pub(super) fn new(stream: S, budgets: Http2Budgets, wire: Rc<Wire>) -> Self {
        Self { stream, meter: Box::new(Meter::new(budgets)), wire, goaway: None, written: 0 }
    }

    /// Notes what a write has done.
    fn wrote(&mut self, bytes: &[u8]) {
        if let Err(budget) = self.meter.outbound(bytes) {
            self.wire.end_for(End::Exceeded(budget));
        } else {
            self.wire.goaway.set(self.meter.goaway());
        }
    }

    fn watch<T>(&self, outcome: &Poll<T>) {
        let blocked = outcome.is_pending();
        if blocked {
            self.wire.blocks.set(self.wire.blocks.get().wrapping_add(1));
        }
        self.wire.blocked.set(blocked);
    }
}

impl<S: AsyncWrite + Unpin> MeteredIo<S> {
    /// Writes the last frame; ready with the error that ends the connection. The present frame of the
    /// library must be complete.
    fn poll_end(&mut self, cx: &mut Context<'_>, end: End) -> Poll<io::Error> {
        let frame = || self.meter.goaway_frame(code::ENHANCE_YOUR_CALM);
        let goaway = *self.goaway.get_or_insert_with(frame);
        while self.written < goaway.len() {
            let rest = &goaway[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => break,
                Ok(written) => self.written += written,
                Err(error) => return Poll::Ready(error),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            return Poll::Ready(error);
        }
        Poll::Ready(io::Error::other(end))
    }

    /// As `poll_write` for a connection that is to end: what the library has begun goes out before the
    /// last frame.
    fn poll_last(&mut self, cx: &mut Context<'_>, end: End, buf: &[u8]) -> Poll<io::Result<usize>> {
        let rest = self.meter.until_boundary(buf);
        if rest == 0 {
            return Poll::Ready(Err(ready!(self.poll_end(cx, end))));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..rest]))?;
        // Exceeded already: what these frames count for does not matter any more.
        let _exceeded = self.meter.outbound(&buf[..written]);
        Poll::Ready(Ok(written))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MeteredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.wire.end().is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let clock = || clock::now().into_std();
            match this.meter.inbound(&buf.filled()[before..], clock) {
                Ok(()) if this.meter.preface_is_wrong() => this.wire.preface_is_wrong.set(true),
                Ok(()) => {},
                Err(budget) => {
                    buf.set_filled(before);
                    this.wire.end_for(End::Exceeded(budget));
                },
            }
        }
        match this.wire.end() {
            None => Poll::Ready(Ok(())),
            Some(end) if this.meter.is_at_boundary() => {
                Poll::Ready(Err(ready!(this.poll_end(cx, end))))
            },
            // The library has the rest of a frame to write, and that write ends the connection.
            Some(_) => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(end) = this.wire.end() {
            return this.poll_last(cx, end, buf);
        }
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(&outcome);
        if let Poll::Ready(Ok(written)) = outcome {
            this.wrote(&buf[..written]);
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(end) = this.wire.end() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            return this.poll_last(cx, end, first);
        }
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(&outcome);
        if let Poll::Ready(Ok(written)) = outcome {
            let mut left = written;
            for buf in bufs {
                let part = buf.len().min(left);
                left -= part;
                this.wrote(&buf[..part]);
            }
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.wire.end() {
            Some(end) if this.meter.is_at_boundary() => {
                Poll::Ready(Err(ready!(this.poll_end(cx, end))))
            },
            _ => {
                let outcome = Pin::new(&mut this.stream).poll_flush(cx);
                this.watch(&outcome);
                outcome
            },
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
