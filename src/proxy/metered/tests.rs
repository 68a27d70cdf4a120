//! Where the last frame goes, over streams that take a few bytes at a time.

use std::collections::VecDeque;

use super::*;

/// A peer: what it sends, and how many bytes it takes of each write; 0 blocks once.
#[derive(Default)]
struct Peer {
    sends: VecDeque<Vec<u8>>,
    takes: VecDeque<usize>,
    got: Vec<u8>,
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.sends.pop_front() {
            Some(bytes) => {
                buf.put_slice(&bytes);
                Poll::Ready(Ok(()))
            },
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let len = self.takes.pop_front().unwrap_or(usize::MAX).min(buf.len());
        if len == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        self.got.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.poll_write(cx, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

fn metered(peer: Peer) -> MeteredIo<Peer> {
    let budgets = Http2Budgets { settings: 1, ..Http2Budgets::default() };
    MeteredIo::new(peer, budgets, Rc::default())
}

fn begins() -> Vec<u8> {
    [&crate::frames::PREFACE[..], SETTINGS, HEADERS].concat()
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: &[u8] = &[0, 0, 1, 1, 4, 0, 0, 0, 5, 0x88];
const DATA: &[u8] = &[0, 0, 4, 0, 0, 0, 0, 0, 5, b'd', b'a', b't', b'a'];
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 11];

fn read(io: &mut MeteredIo<Peer>) -> (Poll<io::Result<()>>, Vec<u8>) {
    let mut room = [0; 256];
    let mut buf = ReadBuf::new(&mut room);
    let outcome = Pin::new(io).poll_read(&mut cx(), &mut buf);
    (outcome, buf.filled().to_vec())
}

fn is_end<T>(outcome: &Poll<io::Result<T>>) -> bool {
    matches!(outcome, Poll::Ready(Err(error)) if error.to_string().contains("settings"))
}

/// The frame after the last allowed one is not passed on; the client hears why.
#[tokio::test]
async fn the_last_frame_follows_at_once_between_frames() {
    let peer = Peer { sends: [begins(), SETTINGS.to_vec()].into(), ..Peer::default() };
    let mut io = metered(peer);
    assert_eq!(read(&mut io).1, begins());
    let (outcome, bytes) = read(&mut io);
    assert!(is_end(&outcome), "{outcome:?}");
    assert_eq!(bytes, b"");
    assert_eq!(io.stream.got, GOAWAY);
    assert_eq!(io.wire.end(), Some(End::Exceeded(Budget::Settings)));
    // Whatever is tried afterwards fails, and nothing more goes out.
    assert!(is_end(&Pin::new(&mut io).poll_write(&mut cx(), DATA)));
    assert!(is_end(&Pin::new(&mut io).poll_flush(&mut cx())));
    assert!(is_end(&read(&mut io).0));
    assert_eq!(io.stream.got, GOAWAY);
}

/// A frame that has begun is completed first, however few bytes the client takes at a time, and even
/// when the library has more frames in the same buffer.
#[tokio::test]
async fn a_frame_that_has_begun_is_completed_first() {
    let both = [DATA, DATA].concat();
    for vectored in [false, true] {
        for begun in 1..DATA.len() {
            let peer = Peer {
                sends: [begins(), SETTINGS.to_vec()].into(),
                takes: [begun, 0, 2, 0, 1, usize::MAX, 3, 0].into(),
                got: Vec::new(),
            };
            let mut io = metered(peer);
            assert_eq!(read(&mut io).1, begins());
            let mut sent = 0;
            let mut write = |io: &mut MeteredIo<Peer>| {
                let (rest, mut cx) = (&both[sent..], cx());
                let outcome = if vectored {
                    let (a, b) = rest.split_at(1);
                    let bufs = [io::IoSlice::new(&[]), io::IoSlice::new(a), io::IoSlice::new(b)];
                    Pin::new(io).poll_write_vectored(&mut cx, &bufs)
                } else {
                    Pin::new(io).poll_write(&mut cx, rest)
                };
                if let Poll::Ready(Ok(written)) = outcome {
                    sent += written;
                }
                outcome
            };
            assert!(matches!(write(&mut io), Poll::Ready(Ok(len)) if len == begun));
            assert!(read(&mut io).0.is_pending(), "the rest of the frame comes first");
            let mut tries = 0;
            while !is_end(&write(&mut io)) {
                tries += 1;
                assert!(tries < 20);
            }
            assert_eq!(io.stream.got, [DATA, GOAWAY].concat(), "{begun}");
        }
    }
}

/// Resets that go out count when they have been written; the connection ends with the next operation.
#[tokio::test]
async fn what_goes_out_can_exceed_as_well() {
    let budgets = Http2Budgets { resets_emitted: 0, ..Http2Budgets::default() };
    let mut io = MeteredIo::new(Peer::default(), budgets, Rc::default());
    let reset = [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 1];
    assert!(matches!(Pin::new(&mut io).poll_write(&mut cx(), &reset), Poll::Ready(Ok(13))));
    assert_eq!(io.wire.end(), Some(End::Exceeded(Budget::ResetsEmitted)));
    assert!(Pin::new(&mut io).poll_flush(&mut cx()).is_ready());
    assert_eq!(io.stream.got.len(), 13 + GOAWAY.len());
}

/// A blocked write is what tells a full link from a closed window.
#[tokio::test]
async fn a_full_link_shows() {
    let mut io = metered(Peer { takes: [0].into(), ..Peer::default() });
    assert!(Pin::new(&mut io).poll_write(&mut cx(), DATA).is_pending());
    assert_eq!((io.wire.blocked.get(), io.wire.blocks.get()), (true, 1));
    assert!(Pin::new(&mut io).poll_write(&mut cx(), DATA).is_ready());
    assert_eq!((io.wire.blocked.get(), io.wire.blocks.get()), (false, 1));
}
