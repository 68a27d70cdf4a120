//! Response bodies: given bytes, and bytes made on demand, paced or cut short.
//!
//! Used by `answer`. Always holds: a made body keeps one piece in memory, however long it is.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

/// Bytes of a full piece: a multiple of the alphabet's length, so that byte `i` of a made body is
/// letter `i % 26`.
const PIECE: usize = 26 * 640;

static LETTERS: [u8; PIECE] = {
    let mut letters = [0; PIECE];
    let mut index = 0;
    while index < PIECE {
        letters[index] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index % 26];
        index += 1;
    }
    letters
};

/// How long a cut body waits before it fails, so that what was sent has left.
const CUT_PAUSE: Duration = Duration::from_millis(50);

/// A response body.
#[derive(Debug)]
pub(super) enum PodBody {
    /// Given bytes; taken once.
    Given(Option<Bytes>),
    /// Letters.
    Letters(Letters),
    /// Server-sent events.
    Events(Events),
}

impl PodBody {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Given(Some(text.into()))
    }
}

/// What a body of letters does.
#[derive(Debug)]
pub(super) struct Letters {
    sent: u64,
    /// Bytes to send.
    size: u64,
    /// Bytes promised; more than `size` means the body breaks off. `None` promises nothing.
    promised: Option<u64>,
    piece: usize,
    pause: Pause,
}

impl Letters {
    /// `size` letters with a Content-Length.
    pub(super) fn new(size: u64) -> Self {
        Self { sent: 0, size, promised: Some(size), piece: PIECE, pause: Pause::none() }
    }

    /// Without a Content-Length: chunked, or HTTP/2 data frames.
    pub(super) fn unpromised(mut self) -> Self {
        self.promised = None;
        self
    }

    /// At about `rate` bytes a second.
    pub(super) fn paced(mut self, rate: u64) -> Self {
        let per_second = (rate / PIECE as u64).max(10);
        self.piece = usize::try_from(rate / per_second).unwrap_or(PIECE).clamp(1, PIECE);
        self.pause = Pause::of(Duration::from_secs_f64(self.piece as f64 / rate.max(1) as f64));
        self
    }

    /// Promises `promised` bytes and breaks off after the ones it has.
    pub(super) fn cut(mut self, promised: u64) -> Self {
        self.promised = Some(promised);
        self
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let left = self.size - self.sent;
        if left == 0 {
            if self.promised.is_none_or(|promised| promised == self.size) {
                return Poll::Ready(None);
            }
            self.pause.length = CUT_PAUSE;
            ready!(self.pause.poll(cx));
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if self.sent > 0 {
            ready!(self.pause.poll(cx));
        }
        let start = (self.sent % 26) as usize;
        let left = usize::try_from(left).unwrap_or(PIECE);
        let length = left.min(self.piece).min(PIECE - start);
        self.sent += length as u64;
        Poll::Ready(Some(Ok(Bytes::from_static(&LETTERS[start..start + length]))))
    }
}

/// Numbered events with a pause between two.
#[derive(Debug)]
pub(super) struct Events {
    sent: u64,
    count: u64,
    pause: Pause,
}

impl Events {
    pub(super) fn new(count: u64, every: Duration) -> Self {
        Self { sent: 0, count, pause: Pause::of(every) }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.sent == self.count {
            return Poll::Ready(None);
        }
        if self.sent > 0 {
            ready!(self.pause.poll(cx));
        }
        self.sent += 1;
        let event = format!("id: {0}\ndata: event {0} of {1}\n\n", self.sent, self.count);
        Poll::Ready(Some(Ok(event.into())))
    }
}

/// A wait that can be had again and again.
#[derive(Debug)]
struct Pause {
    length: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    const fn none() -> Self {
        Self::of(Duration::ZERO)
    }

    const fn of(length: Duration) -> Self {
        Self { length, running: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.length.is_zero() {
            return Poll::Ready(());
        }
        let length = self.length;
        let running = self.running.get_or_insert_with(|| Box::pin(tokio::time::sleep(length)));
        ready!(running.as_mut().poll(cx));
        self.running = None;
        Poll::Ready(())
    }
}

impl http_body::Body for PodBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = match &mut *self {
            Self::Given(bytes) => bytes.take().map(Ok),
            Self::Letters(letters) => ready!(letters.poll_piece(cx)),
            Self::Events(events) => ready!(events.poll_event(cx)),
        };
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Given(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Given(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Letters(Letters { promised: Some(promised), sent, .. }) => {
                SizeHint::with_exact(promised - sent)
            },
            Self::Letters(_) | Self::Events(_) => SizeHint::default(),
        }
    }
}
