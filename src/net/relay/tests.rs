//! Half-close, inactivity and byte counts over short reads and writes.

use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::oneshot,
};

use super::*;

/// Reads at most three bytes and writes at most two, and is pending every other time.
struct Awkward {
    inner: DuplexStream,
    calls: u32,
}

impl Awkward {
    fn new(inner: DuplexStream) -> Self {
        Self { inner, calls: 0 }
    }

    fn not_now(&mut self, cx: &Context<'_>) -> bool {
        self.calls += 1;
        let pending = self.calls % 2 == 1;
        if pending {
            cx.waker().wake_by_ref();
        }
        pending
    }
}

impl AsyncRead for Awkward {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.not_now(cx) {
            return Poll::Pending;
        }
        let mut few = [0; 3];
        let mut few = ReadBuf::new(&mut few);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut few))?;
        buf.put_slice(few.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Awkward {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.not_now(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, &buf[..buf.len().min(2)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.not_now(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const LONG: Duration = Duration::from_secs(300);

async fn read_all(stream: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test(start_paused = true)]
async fn every_byte_arrives_over_short_reads_and_writes() {
    let (mut left, a) = duplex(7);
    let (b, mut right) = duplex(5);
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(40_000).collect();
    let traffic = Traffic::default();
    let run = relay_until(Awkward::new(a), Awkward::new(b), LONG, Some(&traffic), pending());
    let talk = async {
        let (mut left_read, mut left_write) = tokio::io::split(&mut left);
        let (mut right_read, mut right_write) = tokio::io::split(&mut right);
        let mut there = Vec::new();
        let mut back = Vec::new();
        tokio::join!(
            async {
                left_write.write_all(&sent).await.unwrap();
                left_write.shutdown().await.unwrap();
            },
            async {
                right_write.write_all(&sent[..1000]).await.unwrap();
                right_write.shutdown().await.unwrap();
            },
            async { left_read.read_to_end(&mut back).await.unwrap() },
            async { right_read.read_to_end(&mut there).await.unwrap() },
        );
        assert!(there == sent, "a to b differs");
        assert!(back == sent[..1000], "b to a differs");
    };
    let (relayed, ()) = tokio::join!(run, talk);
    assert!(matches!(relayed.end, End::Closed), "{relayed:?}");
    assert_eq!((relayed.a_to_b, relayed.b_to_a), (40_000, 1000));
    assert_eq!((traffic.a_to_b.into_inner(), traffic.b_to_a.into_inner()), (40_000, 1000));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_passed_on_while_the_other_direction_goes_on() {
    let (mut left, a) = duplex(64);
    let (b, mut right) = duplex(64);
    let run = tokio::spawn(relay(a, b, LONG));
    left.write_all(b"question").await.unwrap();
    left.shutdown().await.unwrap();
    assert_eq!(read_all(&mut right).await, b"question");
    right.write_all(b"answer").await.unwrap();
    drop(right);
    assert_eq!(read_all(&mut left).await, b"answer");
    let relayed = run.await.unwrap();
    assert!(matches!(relayed.end, End::Closed), "{relayed:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_in_both_directions_ends_it_and_a_byte_in_either_keeps_it() {
    let (mut left, a) = duplex(64);
    let (b, mut right) = duplex(64);
    let started = Instant::now();
    let run = tokio::spawn(relay(a, b, LONG));
    for _ in 0..4 {
        tokio::time::advance(LONG * 2 / 3).await;
        left.write_all(b"x").await.unwrap();
        assert_eq!(right.read_u8().await.unwrap(), b'x');
        tokio::time::advance(LONG * 2 / 3).await;
        right.write_all(b"y").await.unwrap();
        assert_eq!(left.read_u8().await.unwrap(), b'y');
    }
    assert!(!run.is_finished());
    let relayed = run.await.unwrap();
    assert!(matches!(relayed.end, End::Idle), "{relayed:?}");
    assert!(started.elapsed() >= LONG * 16 / 3 + LONG, "on the paused clock");
    assert_eq!((relayed.a_to_b, relayed.b_to_a), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_counts_as_silence() {
    let (mut left, a) = duplex(64);
    let (b, _right) = duplex(1);
    let (relayed, written) = tokio::join!(relay(a, b, LONG), left.write(&[0; 64]));
    assert_eq!(written.unwrap(), 64);
    assert!(matches!(relayed.end, End::Idle), "{relayed:?}");
    assert_eq!(relayed.a_to_b, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_side_is_named() {
    let (mut left, a) = duplex(64);
    let (b, right) = duplex(64);
    drop(right);
    left.write_all(b"x").await.unwrap();
    let relayed = relay(a, b, LONG).await;
    assert!(matches!(relayed.end, End::Failed { side: Side::B, .. }), "{relayed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_caller_can_end_it_and_keeps_the_connections() {
    let (mut left, mut a) = duplex(64);
    let (mut b, mut right) = duplex(64);
    let (cancel, cancelled) = oneshot::channel::<()>();
    let stop = async {
        left.write_all(b"x").await.unwrap();
        assert_eq!(right.read_u8().await.unwrap(), b'x');
        cancel.send(()).unwrap();
    };
    let until = async {
        let _ = cancelled.await;
    };
    let (relayed, ()) = tokio::join!(relay_until(&mut a, &mut b, LONG, None, until), stop);
    assert!(matches!(relayed.end, End::Cancelled), "{relayed:?}");
    a.write_all(b"z").await.unwrap();
    assert_eq!(left.read_u8().await.unwrap(), b'z');
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_relay_ends_when_the_other_side_says_no_more() {
    let (_client, a) = duplex(64);
    let (b, pod) = duplex(64);
    let idle = Idle { open: Duration::from_secs(3600), half_closed: Duration::from_secs(1) };
    let start = Instant::now();
    let relay = relay_until(a, b, idle, None, pending());
    let (relayed, ()) = tokio::join!(relay, async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        drop(pod);
    });
    assert!(matches!(relayed.end, End::Closed), "{relayed:?}");
    assert_eq!(start.elapsed().as_secs(), 101);
}
