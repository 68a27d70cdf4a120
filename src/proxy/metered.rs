//! The bytes of an HTTP/2 connection on their way to and from the library, held to their budgets.
//!
//! Put between hyper and the timed stream by `http2`. When a budget is used up, the library gets
//! nothing more to read; a GOAWAY with ENHANCE_YOUR_CALM goes out where a frame ends, and then every
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
    /// The budget that ended the connection.
    pub(super) exceeded: Cell<Option<Budget>>,
    /// The error code of a GOAWAY of the library.
    pub(super) goaway: Cell<Option<u32>>,
    /// The client does not begin as HTTP/2 does.
    pub(super) preface_is_wrong: Cell<bool>,
    /// The client's TCP window is closed.
    pub(super) blocked: Cell<bool>,
    /// How often it was.
    pub(super) blocks: Cell<u32>,
}

/// A budget is used up.
#[derive(Debug, thiserror::Error)]
#[error("the client exceeds the HTTP/2 budget {}", .0.word())]
struct Exceeded(Budget);

/// A stream that counts frames.
#[derive(Debug)]
pub(super) struct MeteredIo<S> {
    stream: S,
    /// On the heap: what is in here is moved around, and counts for every connection's task.
    meter: Box<Meter>,
    wire: Rc<Wire>,
    /// The last frame, and how much of it has been written.
    goaway: [u8; 17],
    written: usize,
}

impl<S> MeteredIo<S> {
    /// Wraps `stream`, a connection of which nothing has been read yet.
    pub(super) fn new(stream: S, budgets: Http2Budgets, wire: Rc<Wire>) -> Self {
        Self { stream, meter: Box::new(Meter::new(budgets)), wire, goaway: [0; 17], written: 0 }
    }

    fn exceed(&mut self, budget: Budget) {
        if self.wire.exceeded.get().is_none() {
            self.wire.exceeded.set(Some(budget));
            self.goaway = self.meter.goaway_frame(code::ENHANCE_YOUR_CALM);
        }
    }

    /// Notes what a write has done.
    fn wrote(&mut self, bytes: &[u8]) {
        if let Err(budget) = self.meter.outbound(bytes) {
            self.exceed(budget);
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
    fn poll_end(&mut self, cx: &mut Context<'_>, budget: Budget) -> Poll<io::Error> {
        while self.written < self.goaway.len() {
            let rest = &self.goaway[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => break,
                Ok(written) => self.written += written,
                Err(error) => return Poll::Ready(error),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            return Poll::Ready(error);
        }
        Poll::Ready(io::Error::other(Exceeded(budget)))
    }

    /// As `poll_write` for a connection that is to end: what the library has begun goes out before the
    /// last frame.
    fn poll_last(
        &mut self,
        cx: &mut Context<'_>,
        budget: Budget,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let rest = self.meter.until_boundary(buf);
        if rest == 0 {
            return Poll::Ready(Err(ready!(self.poll_end(cx, budget))));
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
        if this.wire.exceeded.get().is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let clock = || clock::now().into_std();
            match this.meter.inbound(&buf.filled()[before..], clock) {
                Ok(()) if this.meter.preface_is_wrong() => this.wire.preface_is_wrong.set(true),
                Ok(()) => {},
                Err(budget) => {
                    buf.set_filled(before);
                    this.exceed(budget);
                },
            }
        }
        match this.wire.exceeded.get() {
            None => Poll::Ready(Ok(())),
            Some(budget) if this.meter.is_at_boundary() => {
                Poll::Ready(Err(ready!(this.poll_end(cx, budget))))
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
        if let Some(budget) = this.wire.exceeded.get() {
            return this.poll_last(cx, budget, buf);
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
        if let Some(budget) = this.wire.exceeded.get() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            return this.poll_last(cx, budget, first);
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
        match this.wire.exceeded.get() {
            Some(budget) if this.meter.is_at_boundary() => {
                Poll::Ready(Err(ready!(this.poll_end(cx, budget))))
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
