//! Small writes in one piece.
//!
//! Used by both sides of a proxied connection. A head and a short body are two buffers, and hyper hands
//! even a single one on as a list; `writev` costs the kernel more than `send`, by more than copying a
//! few hundred bytes does.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Most bytes that are put together. Beyond it copying costs what it saves.
const MOST: usize = 2048;

thread_local! {
    static TOGETHER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(MOST));
}

/// Writes `bufs`, put together if they are small.
///
/// # Errors
/// What the stream says.
pub fn poll_write<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [one] = bufs {
        return stream.poll_write(cx, one);
    }
    if bufs.iter().map(|buf| buf.len()).sum::<usize>() > MOST {
        return stream.poll_write_vectored(cx, bufs);
    }
    TOGETHER.with_borrow_mut(|together| {
        together.clear();
        for buf in bufs {
            together.extend_from_slice(buf);
        }
        stream.poll_write(cx, together)
    })
}

/// A TCP stream that writes so.
#[derive(Debug)]
pub struct FlatStream(pub TcpStream);

impl AsyncRead for FlatStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for FlatStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write(Pin::new(&mut self.0), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn lists_of_every_size_arrive_in_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut near = FlatStream(near);
        for lens in [&[3][..], &[3, 0, 5], &[MOST - 1, 1], &[MOST, 1], &[1, 3 * MOST, 7]] {
            let parts: Vec<Vec<u8>> = lens.iter().zip(b'a'..).map(|(n, b)| vec![b; *n]).collect();
            let list: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let whole = parts.concat();
            let written = near.write_vectored(&list).await.unwrap();
            assert_eq!(written, whole.len(), "a fresh socket has room");
            let mut read = vec![0; written];
            far.read_exact(&mut read).await.unwrap();
            assert!(read == whole);
        }
    }
}
