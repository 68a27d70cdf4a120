//! Copies bytes between two connections until both directions have ended.
//!
//! Called by `nlb` for every flow and by `proxy` for passthrough and upgraded connections. Always
//! holds: an end of one side is passed on as a half-close while the other direction goes on; a relay
//! without a byte in either direction ends after `idle`; a relay that waits holds no buffer, so an
//! idle flow costs little more than its sockets. A direction between two TCP connections copies until
//! [`SPLICE_AFTER`] bytes have passed, and from then on moves them inside the kernel (decisions 15).
//!
//! The caller keeps what it passes as `&mut`, and can set socket options after the end. It drops them
//! soon: the second end of a TCP connection goes out by that, which saves a call of the kernel.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{splice::Pipe, tcp_info};

/// Buffer of one direction while it moves bytes.
const BUFFER: usize = 16 * 1024;

/// Bytes of a direction after which it is spliced; before, a pipe would cost more than it saves.
pub const SPLICE_AFTER: u64 = 64 * 1024;

/// A stream that may be a TCP connection and nothing more.
pub trait MaybeTcp {
    /// The connection, when its bytes are the stream's bytes: none is buffered, none is changed.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// The connection below, whatever becomes of its bytes.
    fn socket(&self) -> Option<&TcpStream> {
        self.tcp()
    }
}

impl MaybeTcp for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl<T: MaybeTcp> MaybeTcp for &mut T {
    fn tcp(&self) -> Option<&TcpStream> {
        (**self).tcp()
    }

    fn socket(&self) -> Option<&TcpStream> {
        (**self).socket()
    }
}

/// What a relay did.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes written to `b`.
    pub a_to_b: u64,
    /// Bytes written to `a`.
    pub b_to_a: u64,
    /// How many of both never left the kernel.
    pub spliced: u64,
    /// Why it ended.
    pub end: End,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// The caller's future finished.
    Cancelled,
    /// Both sides have sent their end and it was passed on, or one has and the other said no more.
    Closed,
    /// A side failed.
    Failed {
        /// Which one.
        side: Side,
        /// What it said.
        error: io::Error,
    },
    /// No byte moved for the whole inactivity limit.
    Idle,
}

/// One of the two connections of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first argument.
    A,
    /// The second argument.
    B,
}

/// Byte counts that many relays share and that grow while they run.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes written to `b`.
    pub a_to_b: AtomicU64,
    /// Bytes written to `a`.
    pub b_to_a: AtomicU64,
}

/// How long a relay may go on without a byte.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// While both sides may send.
    pub open: Duration,
    /// Once `a` has ended. A relay that ends by this limit, or the next, is [`End::Closed`].
    pub a_closed: Duration,
    /// Once `b` has ended.
    pub b_closed: Duration,
    /// What segments of TCP without a byte are, such as keepalives.
    pub keepalives: Keepalives,
}

/// What a relay makes of segments without a byte. They are looked for four times in a limit, so one of
/// them ends the silence up to a quarter late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalives {
    /// Nothing.
    Ignored,
    /// They count as bytes do.
    Counted,
    /// They count, and from the first one on both connections send their own, this often.
    Answered(Duration),
}

impl Idle {
    /// Until the next look.
    fn step(&self, limit: Duration) -> Duration {
        if self.keepalives == Keepalives::Ignored { limit } else { limit / 4 }
    }
}

impl From<Duration> for Idle {
    fn from(limit: Duration) -> Self {
        Self { open: limit, a_closed: limit, b_closed: limit, keepalives: Keepalives::Ignored }
    }
}

/// Relays between `a` and `b` until both directions have ended, or for `idle` nothing moved.
pub async fn relay<A, B>(a: A, b: B, idle: Duration) -> Relayed
where
    A: AsyncRead + AsyncWrite + MaybeTcp + Unpin,
    B: AsyncRead + AsyncWrite + MaybeTcp + Unpin,
{
    relay_until(a, b, idle, None, pending()).await
}

/// [`relay`] that also ends when `cancel` does, and adds every byte to `traffic` as it moves.
pub async fn relay_until<A, B, C>(
    mut a: A,
    mut b: B,
    idle: impl Into<Idle>,
    traffic: Option<&Traffic>,
    cancel: C,
) -> Relayed
where
    A: AsyncRead + AsyncWrite + MaybeTcp + Unpin,
    B: AsyncRead + AsyncWrite + MaybeTcp + Unpin,
    C: Future<Output = ()>,
{
    let mut to_b = Direction::new(Side::A, Side::B, traffic.map(|traffic| &traffic.a_to_b));
    let mut to_a = Direction::new(Side::B, Side::A, traffic.map(|traffic| &traffic.b_to_a));
    let idle = idle.into();
    let mut clock = pin!(tokio::time::sleep(idle.step(idle.open)));
    let mut cancel = pin!(cancel);
    let mut silence = Silence { last: Instant::now(), segments: None };
    let end = poll_fn(|cx| {
        let before = to_b.steps + to_a.steps;
        let first = to_b.poll(cx, &mut a, &mut b, to_a.has_ended());
        let second = to_a.poll(cx, &mut b, &mut a, to_b.has_ended());
        match (first, second) {
            (Poll::Ready(Err(end)), _) | (_, Poll::Ready(Err(end))) => return Poll::Ready(end),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Closed),
            _ => {},
        }
        if to_b.steps + to_a.steps != before {
            silence.last = Instant::now();
        }
        if cancel.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Cancelled);
        }
        let limit = match (to_b.phase, to_a.phase) {
            (Phase::Ended, _) => idle.a_closed.min(idle.open),
            (_, Phase::Ended) => idle.b_closed.min(idle.open),
            _ => idle.open,
        };
        let end = if limit < idle.open { End::Closed } else { End::Idle };
        let look = |silence: &mut Silence| silence.look(idle.keepalives, &a, &b);
        silence.poll(cx, clock.as_mut(), limit, idle.step(limit), look).map(|()| end)
    })
    .await;
    let spliced = to_b.spliced + to_a.spliced;
    Relayed { a_to_b: to_b.bytes, b_to_a: to_a.bytes, spliced, end }
}

/// How long nothing has come.
struct Silence {
    /// When a byte moved last, or a segment without one was noticed.
    last: Instant,
    /// Segments that had come by the last look, and `last` as it was then.
    segments: Option<(u64, Instant)>,
}

impl Silence {
    /// Ready once it has lasted for `limit`. The timer is moved only when it fires, or when the limit
    /// has become shorter: a busy relay does not touch it for every chunk.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut clock: Pin<&mut Sleep>,
        limit: Duration,
        step: Duration,
        look: impl Fn(&mut Self),
    ) -> Poll<()> {
        if clock.deadline() > self.last + limit {
            clock.as_mut().reset(self.last + limit);
        }
        loop {
            ready!(clock.as_mut().poll(cx));
            look(self);
            if self.last.elapsed() >= limit {
                return Poll::Ready(());
            }
            clock.as_mut().reset((self.last + limit).min(Instant::now() + step));
        }
    }

    /// Ends the silence if segments have come since the last look, and no bytes, which have ended it
    /// already.
    fn look<A: MaybeTcp, B: MaybeTcp>(&mut self, keepalives: Keepalives, a: &A, b: &B) {
        if keepalives == Keepalives::Ignored {
            return;
        }
        let Some(now) = segments_of(a, b) else { return };
        if self.segments.is_some_and(|(before, last)| last == self.last && before != now) {
            self.last = Instant::now();
            if let Keepalives::Answered(period) = keepalives {
                keep_alive(a.socket(), period);
                keep_alive(b.socket(), period);
            }
        }
        self.segments = Some((now, self.last));
    }
}

/// From now on the kernel sends keepalives while the connection is silent. It is for the sake of
/// others: a connection that cannot have them goes on without.
fn keep_alive(stream: Option<&TcpStream>, period: Duration) {
    let often = TcpKeepalive::new().with_time(period).with_interval(period);
    let _without = stream.map(|stream| SockRef::from(stream).set_tcp_keepalive(&often));
}

/// Segments that have come on both connections.
fn segments_of<A: MaybeTcp, B: MaybeTcp>(a: &A, b: &B) -> Option<u64> {
    let segments =
        |stream: Option<&TcpStream>| stream.and_then(tcp_info::segments_in).map(u64::from);
    Some(segments(a.socket())? + segments(b.socket())?)
}

/// One direction of a relay.
struct Direction<'a> {
    from: Side,
    to: Side,
    shared: Option<&'a AtomicU64>,
    buffer: BytesMut,
    /// How much of `buffer` has been written.
    written: usize,
    bytes: u64,
    /// Reads and writes that moved something; a change is activity.
    steps: u64,
    phase: Phase,
    /// What is on its way inside the kernel.
    pipe: Option<Pipe>,
    spliced: u64,
    /// Bytes from which on it is spliced.
    splice_from: u64,
}

/// How splicing ended.
enum Spliced {
    /// The reader has ended, and all its bytes were passed on.
    Ended,
    /// It is not possible now.
    Unable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Copying,
    /// Bytes were written and not flushed.
    Unflushed,
    /// The reader has ended.
    Ending,
    Ended,
}

impl<'a> Direction<'a> {
    fn new(from: Side, to: Side, shared: Option<&'a AtomicU64>) -> Self {
        Self {
            from,
            to,
            shared,
            buffer: BytesMut::new(),
            written: 0,
            bytes: 0,
            steps: 0,
            phase: Phase::Copying,
            pipe: None,
            spliced: 0,
            splice_from: SPLICE_AFTER,
        }
    }

    /// True once the reader's end has been passed on.
    fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Moves what can be moved. Ready when the end has been passed on, or on failure. When the other
    /// direction has ended, nothing of `writer` is left to be read, so that dropping it ends it in
    /// good order.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        is_last: bool,
    ) -> Step
    where
        R: AsyncRead + MaybeTcp + Unpin,
        W: AsyncWrite + MaybeTcp + Unpin,
    {
        loop {
            ready!(self.poll_drain(cx, writer))?;
            match self.phase {
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Ending => {
                    if !(is_last && writer.tcp().is_some()) {
                        let ended = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                        ended.map_err(self.to.failed())?;
                    }
                    self.phase = Phase::Ended;
                    self.steps += 1;
                },
                Phase::Copying | Phase::Unflushed => {
                    if self.bytes >= self.splice_from
                        && let (Some(from), Some(to)) = (reader.tcp(), writer.tcp())
                    {
                        match ready!(self.poll_splice(cx, from, to))? {
                            Spliced::Ended => self.phase = Phase::Ending,
                            Spliced::Unable => self.splice_from = self.bytes + SPLICE_AFTER,
                        }
                        continue;
                    }
                    let Poll::Ready(filled) = self.poll_fill(cx, reader) else {
                        return self.poll_flush(cx, writer);
                    };
                    filled?;
                },
            }
        }
    }

    /// Moves bytes through a pipe. While it waits for the reader it has no pipe.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<Spliced, End>> {
        loop {
            if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
                let count = ready!(pipe.poll_drain(cx, to)).map_err(self.to.failed())?;
                self.spliced += count as u64;
                self.moved(count);
                continue;
            }
            if from.poll_read_ready(cx).map_err(self.from.failed())?.is_pending() {
                if let Some(pipe) = self.pipe.take() {
                    pipe.give_back();
                }
                return Poll::Pending;
            }
            let Some(mut pipe) = self.pipe.take().or_else(Pipe::take) else {
                return Poll::Ready(Ok(Spliced::Unable));
            };
            match pipe.fill(from) {
                Ok(0) => {
                    pipe.give_back();
                    return Poll::Ready(Ok(Spliced::Ended));
                },
                Ok(_) => self.steps += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {},
                Err(error) => return Poll::Ready(Err(self.from.failed()(error))),
            }
            self.pipe = Some(pipe);
        }
    }

    /// Counts bytes that were written.
    fn moved(&mut self, count: usize) {
        let count = count as u64;
        self.steps += 1;
        self.bytes += count;
        if let Some(shared) = self.shared {
            shared.fetch_add(count, Relaxed);
        }
    }

    /// Writes the buffer out.
    fn poll_drain<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Step {
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, rest))
                .and_then(|count| match count {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    _ => Ok(count),
                })
                .map_err(self.to.failed())?;
            self.written += count;
            self.phase = Phase::Unflushed;
            self.moved(count);
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Fills the empty buffer, or notes the end. While it waits there is no buffer.
    fn poll_fill<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Step {
        self.buffer.reserve(BUFFER);
        let Poll::Ready(read) = pin!(reader.read_buf(&mut self.buffer)).poll(cx) else {
            self.buffer = BytesMut::new();
            return Poll::Pending;
        };
        match read.map_err(self.from.failed())? {
            0 => self.phase = Phase::Ending,
            _ => self.steps += 1,
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes what was written; then the direction waits for its reader.
    fn poll_flush<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Step {
        if self.phase == Phase::Unflushed {
            ready!(Pin::new(writer).poll_flush(cx)).map_err(self.to.failed())?;
            self.phase = Phase::Copying;
        }
        Poll::Pending
    }
}

type Step = Poll<Result<(), End>>;

impl Side {
    fn failed(self) -> impl FnOnce(io::Error) -> End {
        move |error| End::Failed { side: self, error }
    }
}

#[cfg(test)]
mod tests;
