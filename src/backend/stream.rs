//! The socket under a pod's connection: replays sniffed bytes, gives up on a reader that has
//! stalled, and can end with a TCP reset.
//!
//! Used by `connection`, below TLS. Always holds: a write that makes no progress fails after
//! [`WRITE_STALL`].

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use crate::net::{peek, reset};

/// How long a client may take no byte of a response.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// Switch that turns the end of a connection into a reset.
#[derive(Clone, Debug, Default)]
pub(super) struct ResetSwitch(Arc<AtomicBool>);

impl ResetSwitch {
    /// From now on nothing is written, and closing resets.
    pub(super) fn turn_on(&self) {
        self.0.store(true, Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A TCP stream with the three additions of this file.
#[derive(Debug)]
pub(super) struct PodStream {
    tcp: TcpStream,
    sniffed: Bytes,
    reset: ResetSwitch,
    stall: Option<Pin<Box<Sleep>>>,
}

impl PodStream {
    pub(super) fn new(tcp: TcpStream, reset: ResetSwitch) -> Self {
        Self { tcp, sniffed: Bytes::new(), reset, stall: None }
    }

    /// True if the client speaks HTTP/2 at once. Reads only until the bytes differ from the preface;
    /// what was read is read again later. The caller sets the deadline.
    pub(super) async fn sniff_http2(&mut self) -> io::Result<bool> {
        let sniffed = peek::sniff(&mut self.tcp).await?;
        self.sniffed = sniffed.prefix;
        Ok(sniffed.http2)
    }

    /// Turns a write that has been pending for [`WRITE_STALL`] into an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stall = None;
            return poll;
        }
        let stall = self.stall.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep_until(Instant::now() + WRITE_STALL))
        });
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn check_reset(&self) -> io::Result<()> {
        if self.reset.is_on() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Drop for PodStream {
    fn drop(&mut self) {
        if self.reset.is_on() {
            reset::on_close(&self.tcp);
        }
    }
}

impl AsyncRead for PodStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.sniffed.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let take = self.sniffed.len().min(buf.remaining());
        buf.put_slice(&self.sniffed[..take]);
        self.sniffed.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PodStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        let poll = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        let poll = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_reset()?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
