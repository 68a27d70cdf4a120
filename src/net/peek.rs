//! The bounded first read of a plain connection: HTTP/1 or HTTP/2 with prior knowledge [LSN-6].
//!
//! Called by `proxy::entry` and `backend`. What was read is handed on as the prefix of
//! [`super::timed::TimedIo`], so nothing is read twice.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The client connection preface of RFC 9113 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most bytes read before the protocol is known. Larger than the preface, so that a whole small
/// request comes with one system call.
const FIRST_READ: usize = 2048;

/// The outcome of [`sniff`].
#[derive(Debug)]
pub struct Sniffed {
    /// The client speaks HTTP/2.
    pub http2: bool,
    /// All bytes read so far; empty when the client closed without a byte.
    pub prefix: Bytes,
}

/// Reads until the first bytes are, or cannot become, the HTTP/2 preface. The caller sets the
/// deadline.
///
/// # Errors
/// What the stream says.
pub async fn sniff<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Sniffed> {
    let mut prefix = BytesMut::with_capacity(FIRST_READ);
    loop {
        let count = stream.read_buf(&mut prefix).await?;
        let compared = prefix.len().min(PREFACE.len());
        let matches = prefix[..compared] == PREFACE[..compared];
        if count == 0 || !matches || compared == PREFACE.len() {
            let http2 = matches && compared == PREFACE.len();
            return Ok(Sniffed { http2, prefix: prefix.freeze() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_preface_is_told_from_requests_at_every_split() {
        for split in 0..PREFACE.len() {
            let mut io = tokio_chain(&PREFACE[..split], &PREFACE[split..]);
            assert!(sniff(&mut io).await.unwrap().http2, "{split}");
            let mut io = tokio_chain(&PREFACE[..split], b"GET / HTTP/1.1\r\n\r\n");
            assert!(!sniff(&mut io).await.unwrap().http2, "{split}");
        }
        let empty = sniff(&mut &b""[..]).await.unwrap();
        assert!(empty.prefix.is_empty() && !empty.http2);
    }

    fn tokio_chain<'a>(a: &'a [u8], b: &'a [u8]) -> impl AsyncRead + Unpin + 'a {
        a.chain(b)
    }
}
