//! How a connection begins, how it notices that nobody is there, and how it ends.

use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    task::LocalSet,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test());
}

/// A server that allows `streams`; polled for as long as it runs.
async fn serve(far: DuplexStream, streams: u32) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let mut server = builder.handshake::<_, Bytes>(far).await.unwrap();
    while let Some(Ok(_request)) = server.accept().await {}
}

#[test]
fn a_pod_that_says_nothing_or_something_else_is_not_spoken_to() {
    run(async || {
        let (near, _far) = duplex(4096);
        let begin = tokio::time::Instant::now();
        assert!(matches!(start(near, Scheme::HTTP, 24_576, LIMIT).await, Err(DialError::Timeout)));
        assert_eq!(begin.elapsed(), LIMIT);
        let (near, mut far) = duplex(4096);
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        let (started, _) = tokio::join!(
            start(near, Scheme::HTTP, 24_576, LIMIT),
            tokio::io::AsyncWriteExt::write_all(&mut far, answer)
        );
        assert!(matches!(started, Err(DialError::Preface(_))), "{started:?}");
        let (near, far) = duplex(4096);
        drop(far);
        assert!(start(near, Scheme::HTTP, 24_576, LIMIT).await.is_err());
    });
}

#[test]
fn as_many_streams_are_leased_as_the_pod_allows() {
    run(async || {
        let (near, far) = duplex(4096);
        tokio::task::spawn_local(serve(far, 2));
        let connection = start(near, Scheme::HTTP, 24_576, LIMIT).await.unwrap();
        let first = connection.lease().unwrap();
        let second = connection.lease().unwrap();
        assert_eq!((first.reused, second.reused), (false, true));
        assert!(connection.lease().is_none());
        assert_eq!(connection.idle_since(), None);
        drop(first);
        let third = connection.lease();
        assert!(third.is_some());
        drop((second, third));
        assert!(connection.idle_since().is_some());
    });
}

/// A pod whose host is gone says nothing at all: the PING stays without an answer. One that answers
/// is kept, however quiet it is.
#[test]
fn a_ping_without_an_answer_ends_the_connection() {
    run(async || {
        let (near, far) = duplex(4096);
        let pod = tokio::task::spawn_local(serve(far, 2));
        let connection = start(near, Scheme::HTTP, 24_576, LIMIT).await.unwrap();
        tokio::time::sleep(PING_INTERVAL * 3).await;
        assert!(connection.is_open(), "every PING was answered");
        let (near, far) = duplex(4096);
        let (gone, mut deaf) = tokio::join!(start(near, Scheme::HTTP, 24_576, LIMIT), deaf(far));
        let gone = gone.unwrap();
        tokio::time::sleep(PING_INTERVAL + PING_TIMEOUT / 2).await;
        assert!(gone.is_open());
        tokio::time::sleep(PING_TIMEOUT).await;
        assert!(!gone.is_open());
        drop(gone);
        let mut rest = Vec::new();
        deaf.read_to_end(&mut rest).await.unwrap();
        drop(connection);
        pod.await.unwrap();
    });
}

/// Sends empty SETTINGS and does nothing more.
async fn deaf(mut far: DuplexStream) -> DuplexStream {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    tokio::io::AsyncWriteExt::write_all(&mut far, &settings).await.unwrap();
    far
}
