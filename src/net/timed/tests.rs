//! Limits on paused time: what ends, and what the client gets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(300),
    head: Duration::from_secs(10),
    body: Duration::from_secs(30),
};

fn pair(
    multiplexed: bool,
) -> (tokio::io::DuplexStream, TimedIo<tokio::io::DuplexStream>, Arc<PhaseCell>) {
    let (client, server) = tokio::io::duplex(64);
    let cell = PhaseCell::new(multiplexed);
    let io = TimedIo::new(server, Bytes::new(), Arc::clone(&cell), LIMITS);
    (client, io, cell)
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_ends_at_its_limit() {
    let (mut client, mut io, cell) = pair(false);
    client.write_all(b"GET / HT").await.unwrap();
    let mut buf = [0; 16];
    assert_eq!(io.read(&mut buf).await.unwrap(), 8);
    let start = Instant::now();
    let ended = io.read(&mut buf).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Head)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_without_an_answer() {
    let (mut client, mut io, cell) = pair(false);
    assert!(io.read(&mut [0; 16]).await.is_err());
    drop(io);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Head)));
}

#[tokio::test(start_paused = true)]
async fn idle_lasts_longer_than_head_and_a_byte_starts_the_head() {
    let (mut client, mut io, cell) = pair(false);
    cell.begin(false);
    cell.end();
    assert_eq!(cell.phase(), Phase::Idle);
    let start = Instant::now();
    let (read, ()) = tokio::join!(async { io.read_u8().await }, async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        client.write_all(b"G").await.unwrap();
    });
    assert_eq!(read.unwrap(), b'G');
    assert_eq!(cell.phase(), Phase::Head);
    assert!(io.read_u8().await.is_err());
    assert_eq!(start.elapsed().as_secs(), 110);
}

/// hyper blocks in a read while the response goes out and polls it again only when it is woken.
#[tokio::test(start_paused = true)]
async fn the_idle_limit_wakes_a_read_that_was_blocked_before_it_began() {
    let (_client, mut io, cell) = pair(false);
    cell.begin(false);
    let start = Instant::now();
    let (read, ()) = tokio::join!(async { io.read_u8().await }, async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        cell.end();
    });
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 400);
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Idle)));
}

#[tokio::test(start_paused = true)]
async fn an_idle_limit_below_the_head_limit_holds_as_well() {
    let (_client, server) = tokio::io::duplex(64);
    let cell = PhaseCell::new(false);
    let limits = Limits { idle: Duration::from_secs(1), ..LIMITS };
    let mut io = TimedIo::new(server, Bytes::new(), Arc::clone(&cell), limits);
    let start = Instant::now();
    let (read, ()) = tokio::join!(async { io.read_u8().await }, async {
        cell.begin(false);
        tokio::time::sleep(Duration::from_secs(5)).await;
        cell.end();
    });
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_body_restarts_its_limit_with_every_byte() {
    let (mut client, mut io, cell) = pair(false);
    cell.begin(true);
    let (_, end) = tokio::join!(
        async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                client.write_all(b"x").await.unwrap();
            }
        },
        async {
            let mut count = 0;
            while io.read_u8().await.is_ok() {
                count += 1;
            }
            count
        }
    );
    assert_eq!(end, 3);
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Body)));
}

#[tokio::test(start_paused = true)]
async fn a_response_waits_for_ever_but_a_stalled_write_ends() {
    let (_client, mut io, cell) = pair(false);
    cell.begin(false);
    let quiet = tokio::time::timeout(Duration::from_secs(3000), io.read_u8()).await;
    assert!(quiet.is_err());
    let error = io.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(cell.expired(), Some(Expired::Write));
}

#[tokio::test(start_paused = true)]
async fn multiplexed_connections_idle_only_without_streams() {
    let (_client, mut io, cell) = pair(true);
    cell.begin(true);
    cell.begin(false);
    cell.end();
    assert_eq!(cell.phase(), Phase::Response);
    cell.end();
    assert_eq!(cell.phase(), Phase::Idle);
    assert!(io.read_u8().await.is_err());
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Idle)));
}

/// A pod that answers before it has read the body: the upload goes on under the body's limit, and
/// is not taken for the head of another request.
#[tokio::test(start_paused = true)]
async fn a_body_that_outlives_its_request_keeps_its_own_limit() {
    let (mut client, mut io, cell) = pair(false);
    cell.begin(true);
    cell.uploading();
    cell.end();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(io.read_u8().await.unwrap(), b'x');
        assert_eq!(cell.phase(), Phase::Body);
    }
    cell.uploaded();
    assert_eq!(cell.phase(), Phase::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_from_the_moment_it_is_asked_for() {
    let (mut client, mut io, cell) = pair(false);
    cell.begin(true);
    let mut early = try_read(&mut io);
    assert!(early.is_none(), "nothing has come");
    // The pod takes nothing for a minute, so nobody reads.
    tokio::time::sleep(Duration::from_secs(60)).await;
    cell.asked();
    early = try_read(&mut io);
    assert!(early.is_none(), "the client has its whole limit");
    client.write_all(b"x").await.unwrap();
    assert_eq!(io.read_u8().await.unwrap(), b'x');
}

/// One read attempt: `None` while it would block.
fn try_read(io: &mut TimedIo<tokio::io::DuplexStream>) -> Option<io::Result<()>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut byte = [0; 1];
    match Pin::new(io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_the_response_is_not_silent() {
    let (mut client, mut io, cell) = pair(false);
    cell.begin(true);
    let mut byte = [0; 1];
    for _ in 0..3 {
        assert!(try_read(&mut io).is_none());
        tokio::time::sleep(Duration::from_secs(20)).await;
        io.write_all(b"y").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
    }
    assert!(io.read_u8().await.is_err());
    assert_eq!(cell.expired(), Some(Expired::Read(Phase::Body)));
}
