//! One side of a tunnel, as bare as it can be had.
//!
//! Made by `upgrade` of what hyper gives away, and by `passthrough`. A plain connection is unwrapped down to its socket, so
//! that the relay can splice; whatever else there is (TLS) stays as it is. In a tunnel the layers in
//! between have nothing to do any more: the relay has limits of its own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::stream::Stream;
use crate::{
    net::{flat::FlatStream, relay::MaybeTcp, timed::TimedIo},
    proxy::gated::GatedIo,
};

/// What hyper holds of a plain client connection.
type PlainClient = GatedIo<TcpStream>;

/// A layer over a socket that can be taken off.
trait IntoTcp {
    /// The socket, and what was read of it and not given out, first byte first.
    fn into_tcp(self) -> (TcpStream, Bytes);
}

impl IntoTcp for TcpStream {
    fn into_tcp(self) -> (TcpStream, Bytes) {
        (self, Bytes::new())
    }
}

impl IntoTcp for FlatStream {
    fn into_tcp(self) -> (TcpStream, Bytes) {
        (self.0, Bytes::new())
    }
}

impl<S: IntoTcp> IntoTcp for TimedIo<S> {
    fn into_tcp(self) -> (TcpStream, Bytes) {
        let (stream, unread) = self.into_parts();
        let (stream, deeper) = stream.into_tcp();
        (stream, joined(unread, deeper))
    }
}

impl<S: IntoTcp> IntoTcp for GatedIo<S> {
    fn into_tcp(self) -> (TcpStream, Bytes) {
        let (io, unread) = self.into_parts();
        let (stream, deeper) = io.into_tcp();
        (stream, joined(unread, deeper))
    }
}

/// One side of a tunnel.
#[derive(Debug)]
pub(in crate::proxy) enum Raw {
    /// A socket, and what was read of it before.
    Tcp { stream: TcpStream, unread: Bytes },
    /// A stream of HTTP/2.
    Stream(Stream),
    /// Anything else.
    Other(TokioIo<Upgraded>),
}

impl From<Upgraded> for Raw {
    fn from(upgraded: Upgraded) -> Self {
        unwrapped::<PlainClient>(upgraded)
            .or_else(unwrapped::<FlatStream>)
            .unwrap_or_else(|upgraded| Self::Other(TokioIo::new(upgraded)))
    }
}

/// The socket below `upgraded`, if that is a `T`.
fn unwrapped<T>(upgraded: Upgraded) -> Result<Raw, Upgraded>
where
    T: IntoTcp + AsyncRead + AsyncWrite + Unpin + 'static,
{
    let parts = upgraded.downcast::<TokioIo<T>>()?;
    let (stream, deeper) = parts.io.into_inner().into_tcp();
    Ok(Raw::Tcp { stream, unread: joined(parts.read_buf, deeper) })
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    [first, second].concat().into()
}

impl MaybeTcp for Raw {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp { stream, unread } if unread.is_empty() => Some(stream),
            Self::Tcp { .. } | Self::Stream(_) | Self::Other(_) => None,
        }
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { stream, unread } if unread.is_empty() => {
                Pin::new(stream).poll_read(cx, buf)
            },
            Self::Tcp { unread, .. } => {
                let count = unread.len().min(buf.remaining());
                buf.put_slice(&unread[..count]);
                unread.advance(count);
                if unread.is_empty() {
                    // A view of nothing would keep the whole buffer.
                    *unread = Bytes::new();
                }
                Poll::Ready(Ok(()))
            },
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(other) => Pin::new(other).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_write(cx, buf),
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(other) => Pin::new(other).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
    }
}
