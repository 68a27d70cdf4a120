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

impl MaybeTcp for Awkward {}

impl MaybeTcp for DuplexStream {}

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

/// The limits of a half-closed relay are those of the side that has ended: client-fin and server-fin.
#[tokio::test(start_paused = true)]
async fn a_half_closed_relay_ends_when_the_other_side_says_no_more() {
    let second = Duration::from_secs(1);
    let idle = Idle {
        open: second * 3600,
        a_closed: second,
        b_closed: second * 2,
        keepalives: Keepalives::Ignored,
    };
    for (a_ends, seconds) in [(true, 101), (false, 102)] {
        let (client, a) = duplex(64);
        let (b, pod) = duplex(64);
        let start = Instant::now();
        let relay = relay_until(a, b, idle, None, pending());
        let (relayed, ends) = tokio::join!(relay, async {
            tokio::time::sleep(second * 100).await;
            if a_ends { (None, Some(pod)) } else { (Some(client), None) }
        });
        drop(ends);
        assert!(matches!(relayed.end, End::Closed), "{relayed:?}");
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A.4, TLS listeners: the first keepalive that comes makes both connections send their own; without
/// one they send none.
#[tokio::test]
async fn a_keepalive_is_answered_by_keepalives_to_both_sides() {
    let second = Duration::from_secs(1);
    let period = second * 20;
    let keepalives = Keepalives::Answered(period);
    let idle = Idle { keepalives, ..Idle::from(Duration::from_millis(1500)) };
    for sends in [true, false] {
        let (left, mut a) = pair().await;
        let (mut b, right) = pair().await;
        if sends {
            let often = TcpKeepalive::new().with_time(second).with_interval(second);
            SockRef::from(&left).set_tcp_keepalive(&often).unwrap();
        }
        let longer = tokio::time::sleep(second * 3);
        let relayed = relay_until(&mut a, &mut b, idle, None, longer).await;
        assert_eq!(matches!(relayed.end, End::Cancelled), sends, "{relayed:?}");
        for side in [SockRef::from(&a), SockRef::from(&b)] {
            assert_eq!(side.keepalive().unwrap(), sends);
            if sends {
                assert_eq!(side.tcp_keepalive_time().unwrap(), period);
                assert_eq!(side.tcp_keepalive_interval().unwrap(), period);
            }
        }
        drop((left, right));
    }
}

/// Decisions 15: between TCP connections all but the first bytes move inside the kernel, in both
/// directions at once, with their ends, and no pipe stays in use.
#[tokio::test]
async fn bulk_between_tcp_connections_is_spliced() {
    let (left, a) = pair().await;
    let (b, right) = pair().await;
    let traffic = Traffic::default();
    let sent: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    let exchange = async |stream: TcpStream| {
        let (mut read, mut write) = stream.into_split();
        let mut got = Vec::new();
        let (written, read) = tokio::join!(
            async {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await
            },
            read.read_to_end(&mut got)
        );
        written.unwrap();
        read.unwrap();
        got
    };
    let relay = relay_until(a, b, LONG, Some(&traffic), pending());
    let (relayed, there, back) = tokio::join!(relay, exchange(left), exchange(right));
    assert!(there == sent && back == sent);
    assert!(matches!(relayed.end, End::Closed), "{relayed:?}");
    assert_eq!((relayed.a_to_b, relayed.b_to_a), (5_000_000, 5_000_000));
    assert_eq!(traffic.a_to_b.into_inner(), 5_000_000);
    // Each direction may have overshot the mark by a buffer.
    let copied = 10_000_000 - relayed.spliced;
    assert!(copied <= 2 * (SPLICE_AFTER + BUFFER as u64), "{copied}");
    assert!(super::super::splice::counts().bytes >= relayed.spliced);
}

/// A reader that takes nothing holds its writer back: neither the pipe nor we take more than we hold.
#[tokio::test]
async fn a_stalled_reader_holds_a_spliced_writer_back() {
    let (left, mut a) = pair().await;
    let (mut b, mut right) = pair().await;
    let sent = vec![7; 100 * 1024];
    let (stop, stopped) = oneshot::channel::<()>();
    let cancel = async {
        let _stopped = stopped.await;
    };
    let talk = async {
        left.writable().await.unwrap();
        let mut all = 0;
        let mut left = left;
        // Until nothing has been taken for a while: all the buffers on the way are full.
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(300), left.write(&sent)).await
        {
            all += written.unwrap();
        }
        let mut got = 0;
        let mut chunk = vec![0; 100_000];
        while got < all {
            let count = right.read(&mut chunk).await.unwrap();
            assert!(chunk[..count].iter().all(|byte| *byte == 7));
            got += count;
        }
        stop.send(()).unwrap();
        all as u64
    };
    let relay = relay_until(&mut a, &mut b, LONG, None, cancel);
    let (relayed, all) = tokio::join!(relay, talk);
    assert_eq!(relayed.a_to_b, all);
    assert!(all > SPLICE_AFTER);
}

/// A peer that resets a spliced connection is named.
#[tokio::test]
async fn a_failed_side_is_named_while_splicing() {
    let (mut left, a) = pair().await;
    let (b, mut right) = pair().await;
    let talk = async {
        let sent = vec![7; 1_000_000];
        let mut got = vec![0; 500_000];
        let (_may_fail, ()) = tokio::join!(left.write_all(&sent), async {
            right.read_exact(&mut got).await.unwrap();
            SockRef::from(&right).set_linger(Some(Duration::ZERO)).unwrap();
            drop(right);
        });
    };
    let (relayed, ()) = tokio::join!(relay(a, b, LONG), talk);
    assert!(matches!(relayed.end, End::Failed { side: Side::B, .. }), "{relayed:?}");
}
