//! A TLS connection as the relay sees it.
//!
//! Always holds: a peer that closes without `close_notify`, as many do, has ended and not failed, so
//! its end is passed on as an end and not as a reset.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use crate::net::relay::MaybeTcp;

/// A TLS stream.
pub(super) struct Tls<S>(pub(super) S);

impl MaybeTcp for Tls<client::TlsStream<TcpStream>> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.0.get_ref().0)
    }
}

impl MaybeTcp for Tls<server::TlsStream<TcpStream>> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.0.get_ref().0)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
