//! Waiting for a peer's bytes without a buffer to put them in.
//!
//! Used for connections that idle: what waits this way holds no memory for what may never come.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream that can say that there is something to read.
pub trait Readable {
    /// Ready when a read would not have to wait, be it for bytes, the end or an error.
    ///
    /// # Errors
    /// What the socket says.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Readable for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl<S: Readable> Readable for TlsStream<S> {
    /// Any record counts, also one without data.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}

impl<S: Readable> Readable for Box<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_readable(cx)
    }
}
