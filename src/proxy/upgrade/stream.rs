//! The client's side of a tunnel that is a stream of HTTP/2 (RFC 8441).
//!
//! Made by `upgrade` of what hyper gives away. hyper shows a reset by the client as an end in good order,
//! and ends in good order a stream that is dropped; its task that writes into the stream knows better
//! and can do better. [`Writer`] is that task, started by `streams`.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinHandle,
};

/// The task that writes into a stream: it lives as long as the stream takes something.
#[derive(Debug)]
pub(super) struct Writer {
    task: JoinHandle<()>,
    over: bool,
    /// The end was passed to the stream, after which the task ends as well.
    ended: Rc<Cell<bool>>,
}

impl Writer {
    pub(super) fn new(task: JoinHandle<()>) -> Self {
        Self { task, over: false, ended: Rc::default() }
    }

    /// Ready when the client has reset the stream or its connection is gone.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over {
            return Poll::Pending;
        }
        let _ended = ready!(Pin::new(&mut self.task).poll(cx));
        self.over = true;
        if self.ended.get() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Resets the stream once its other half is dropped.
    pub(super) fn reset(&self) {
        self.task.abort();
    }
}

/// A stream as a connection.
#[derive(Debug)]
pub(in crate::proxy) struct Stream {
    io: TokioIo<Upgraded>,
    ended: Rc<Cell<bool>>,
    /// The task had a turn since the client's end was seen: [`Writer::poll_lost`] knows of a reset now.
    waited: bool,
}

impl Stream {
    pub(super) fn new(upgraded: Upgraded, writer: &Writer) -> Self {
        Self { io: TokioIo::new(upgraded), ended: Rc::clone(&writer.ended), waited: false }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(&mut this.waited, true) {
            // A reset looks like an end here. It has woken the task as well, which is next to run.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended.set(true);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
