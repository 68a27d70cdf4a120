//! The gate in the stream: a client's bytes reach hyper only as far as [`Scanner`] lets them.
//!
//! Wrapped by `http1` around the timed stream and under hyper. Whole heads go on, a partial one waits
//! here; bodies go on as they come. A head that is refused is replaced by a tiny sound one, and
//! [`GateCell`] tells `serve` that this request is not what the client sent, and why. So a refusal
//! goes the way of every request: its answer comes behind those of the requests before it, and has a
//! page, a reason and a record. Always holds: behind a refusal no byte of the client reaches hyper.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Method, Uri, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    gate::{self, Fault, Limits, Scanner},
    net::{
        readable::Readable,
        timed::{Expired, Phase, PhaseCell, TimedIo},
    },
};

/// What hyper reads in place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";

/// Most bytes that are taken behind a partial head or an upgrade in one go.
const MAX_STEP: usize = 8192;

/// How much is read, and for how long, from a client that was still sending when it got its last
/// answer: a close with bytes unread would be a reset and could destroy the answer (S-13).
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// A head that was refused, as far as it could be read.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub fault: Fault,
    /// The method; `BADREQ` if there is none.
    pub method: Method,
    /// The target, `/` if there is none.
    pub target: Uri,
    /// The host, if there is one.
    pub host: Option<HeaderValue>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
}

impl Refusal {
    fn new(fault: Fault, head: &[u8]) -> Box<Self> {
        let about = gate::about(head);
        let no_method = || Method::from_bytes(b"BADREQ").unwrap_or_default();
        Box::new(Self {
            fault,
            method: Method::from_bytes(about.method).unwrap_or_else(|_invalid| no_method()),
            target: Uri::try_from(about.target).unwrap_or_default(),
            host: about.host.and_then(|host| HeaderValue::from_bytes(host).ok()),
            version: if about.http10 { Version::HTTP_10 } else { Version::HTTP_11 },
        })
    }
}

/// What the stream and the requests of one connection tell each other.
#[derive(Debug, Default)]
pub struct GateCell {
    /// Number of the request that is a stand-in, 0 if none is.
    refused: AtomicU64,
    refusal: Mutex<Option<Box<Refusal>>>,
    /// Requests whose answer is decided and is not a tunnel.
    answered: AtomicU64,
    broken: AtomicBool,
}

impl GateCell {
    /// Why request `number`, counted from 1, was refused by the gate. Gives it once.
    #[must_use]
    pub fn refusal(&self, number: u64) -> Option<Box<Refusal>> {
        if self.refused.load(Relaxed) != number {
            return None;
        }
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// True when a head was refused.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.refused.load(Relaxed) != 0
    }

    /// True when the body of the present request broke the framing rules.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Request `number` will not become a tunnel.
    pub fn answered(&self, number: u64) {
        self.answered.store(number, Relaxed);
    }

    fn refuse(&self, number: u64, refusal: Box<Refusal>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        self.refused.store(number, Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What comes is scanned.
    Gate,
    /// A tunnel: what comes goes on.
    Open,
    /// A body broke the rules; hyper is still to be told.
    Broken,
    /// Nothing more goes on.
    Shut,
}

/// A client's stream behind the gate.
#[derive(Debug)]
pub struct GatedIo<S> {
    io: TimedIo<S>,
    gate: Arc<GateCell>,
    phase: Arc<PhaseCell>,
    scanner: Scanner,
    mode: Mode,
    /// Bytes that were read and not given to hyper, at most a head and [`MAX_STEP`], or what came
    /// with an upgrade in one read.
    held: BytesMut,
    /// So many of them may go on.
    clear: usize,
    /// Waits for the answer to an upgrade.
    waiting: Option<Waker>,
    linger: Option<Box<Linger>>,
}

#[derive(Debug)]
struct Linger {
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl<S> GatedIo<S> {
    /// Puts the gate in front of `io`. `phase` is that of `io`; heads are held to `limits`.
    #[must_use]
    pub fn new(io: TimedIo<S>, gate: Arc<GateCell>, phase: Arc<PhaseCell>, limits: Limits) -> Self {
        Self {
            io,
            gate,
            phase,
            scanner: Scanner::new(limits),
            mode: Mode::Gate,
            held: BytesMut::new(),
            clear: 0,
            waiting: None,
            linger: None,
        }
    }

    /// True between two messages with nothing read ahead: the stream could be put aside.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.mode == Mode::Gate && self.held.is_empty() && self.scanner.is_at_boundary()
    }

    /// Takes back what was given out and not used, to be given out again.
    pub fn put_back(&mut self, unused: &[u8]) {
        if !unused.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.held.extend_from_slice(unused);
            self.held.extend_from_slice(&held);
            self.clear += unused.len();
        }
    }

    /// The stream and what was read from it and not given out, in front of what follows.
    #[must_use]
    pub fn into_parts(self) -> (TimedIo<S>, Bytes) {
        (self.io, self.held.freeze())
    }

    /// Gives what is clear, as far as there is room.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.clear.min(buf.remaining());
        buf.put_slice(&self.held[..len]);
        self.held.advance(len);
        self.clear -= len;
        if self.held.is_empty() {
            // Connections are many and partial heads are rare: no buffer is kept.
            self.held = BytesMut::new();
        }
    }

    /// Judges what is held; nothing of it is clear yet.
    fn judge(&mut self) {
        let verdict = self.scanner.scan(&self.held);
        self.clear = verdict.passed;
        if let Some(fault) = verdict.fault {
            self.refuse(fault);
        }
    }

    /// Puts the stand-in behind what is clear. What follows it is never given out.
    fn refuse(&mut self, fault: Fault) {
        if self.scanner.is_broken() {
            self.held.truncate(self.clear);
            self.mode = Mode::Broken;
            return;
        }
        let refusal = Refusal::new(fault, &self.held[self.clear..]);
        self.gate.refuse(self.scanner.heads() + 1, refusal);
        self.held.truncate(self.clear);
        self.held.extend_from_slice(STAND_IN);
        self.clear = self.held.len();
        self.mode = Mode::Shut;
    }

    /// True when the request that asked for an upgrade was answered otherwise.
    fn is_answered(&self) -> bool {
        self.gate.answered.load(Relaxed) >= self.scanner.heads()
    }

    /// Nothing can be read now: true when it waits for an answer.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        if !self.scanner.is_held() {
            return false;
        }
        if self.is_answered() {
            self.scanner.proceed();
            self.judge();
            return false;
        }
        if self.held.is_empty() {
            // Reads on, to see the client go.
            return false;
        }
        self.waiting = Some(cx.waker().clone());
        true
    }
}

impl<S: Readable> GatedIo<S> {
    /// Ready when there is something to read, or when the limit of the phase is reached.
    ///
    /// # Errors
    /// `TimedOut` at the limit; what the stream says.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() { self.io.poll_readable(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> GatedIo<S> {
    /// Reads once and judges what came. Ready with the number of bytes read, 0 at the end.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.held.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let new = &buf.filled()[before..];
            let len = new.len();
            let verdict = self.scanner.scan(new);
            if verdict.passed < len {
                self.held.extend_from_slice(&new[verdict.passed..]);
                buf.set_filled(before + verdict.passed);
            }
            if let Some(fault) = verdict.fault {
                self.refuse(fault);
            }
            return Poll::Ready(Ok(len));
        }
        if self.phase.phase() == Phase::Idle {
            // Its first bytes came before the last answer was out; its time begins now.
            self.phase.head();
        }
        // hyper's buffer is only borrowed: nothing in it counts as read.
        let mut step = buf.take(MAX_STEP);
        match Pin::new(&mut self.io).poll_read(cx, &mut step) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {},
            Poll::Ready(Err(error)) => {
                if self.phase.expired() != Some(Expired::Read(Phase::Head)) {
                    return Poll::Ready(Err(error));
                }
                self.refuse(Fault::Timeout);
                return Poll::Ready(Ok(STAND_IN.len()));
            },
        }
        let len = step.filled().len();
        self.held.extend_from_slice(step.filled());
        self.judge();
        Poll::Ready(Ok(len))
    }

    /// Reads and drops until the client has closed, or was given enough time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| {
            let timer = Box::pin(tokio::time::sleep(LINGER));
            Box::new(Linger { left: LINGER_BYTES, timer })
        });
        let mut space = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return linger.timer.as_mut().poll(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let len = buf.filled().len();
                    linger.left = linger.left.saturating_sub(len);
                    if len == 0 || linger.left == 0 {
                        return Poll::Ready(());
                    }
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GatedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if this.clear > 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Open if this.held.is_empty() => {
                    return Pin::new(&mut this.io).poll_read(cx, buf);
                },
                Mode::Gate if this.phase.phase() != Phase::Tunnel => {},
                Mode::Gate | Mode::Open => {
                    this.mode = Mode::Open;
                    this.clear = this.held.len();
                    continue;
                },
                Mode::Broken => {
                    this.mode = Mode::Shut;
                    this.gate.broken.store(true, Relaxed);
                    let error = "the body breaks the framing rules";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                },
                // Never an end: hyper would take it for the client's and drop the answer.
                Mode::Shut => return Poll::Pending,
            }
            if this.waits(cx) {
                return Poll::Pending;
            }
            if this.clear > 0 || this.mode != Mode::Gate {
                continue;
            }
            let len = ready!(this.poll_step(cx, buf))?;
            if len == 0 || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GatedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes after every answer, which is when what waits for one may go on.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_some() && self.is_answered() {
            self.waiting.take().iter().for_each(Waker::wake_by_ref);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.mode == Mode::Open || this.is_idle() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
