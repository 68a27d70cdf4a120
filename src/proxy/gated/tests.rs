//! The stream by itself, on paused time.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::Instant,
};

use super::*;
use crate::net::timed::Limits;

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(300),
    head: Duration::from_secs(10),
    body: Duration::from_secs(30),
};

const HEAD: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

struct Parts {
    client: DuplexStream,
    io: GatedIo<DuplexStream>,
    gate: Arc<GateCell>,
}

fn parts() -> Parts {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (phase, gate) = (PhaseCell::new(false), Arc::<GateCell>::default());
    let io = TimedIo::new(server, Bytes::new(), Arc::clone(&phase), LIMITS);
    Parts { client, io: GatedIo::new(io, Arc::clone(&gate), phase, gate::Limits::default()), gate }
}

/// What can be read at once; `None` when nothing can.
async fn read(io: &mut GatedIo<DuplexStream>) -> Option<Vec<u8>> {
    let mut buf = vec![0; 4096];
    let read = tokio::time::timeout(Duration::ZERO, io.read(&mut buf)).await.ok()?;
    buf.truncate(read.unwrap());
    Some(buf)
}

#[tokio::test(start_paused = true)]
async fn half_a_head_waits_and_costs_a_buffer_only_then() {
    let Parts { mut client, mut io, .. } = parts();
    assert!(io.is_idle());
    client.write_all(&HEAD.as_bytes()[..10]).await.unwrap();
    assert_eq!(read(&mut io).await, None);
    assert!(!io.is_idle() && io.held.capacity() > 0);
    client.write_all(&HEAD.as_bytes()[10..]).await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), HEAD.as_bytes());
    assert!(io.is_idle());
    assert_eq!(io.held.capacity(), 0);
    client.write_all(&HEAD.as_bytes()[..10]).await.unwrap();
    drop(client);
    assert_eq!(read(&mut io).await.unwrap(), b"", "the end is the end, half a head or not");
}

/// However little room the reader has, it gets every byte once.
#[tokio::test(start_paused = true)]
async fn a_small_reader_gets_every_byte_once() {
    let Parts { mut client, mut io, .. } = parts();
    let all = HEAD.repeat(5);
    client.write_all(all.as_bytes()).await.unwrap();
    drop(client);
    let mut got = Vec::new();
    let mut buf = [0; 7];
    loop {
        let read = io.read(&mut buf).await.unwrap();
        if read == 0 {
            break;
        }
        got.extend_from_slice(&buf[..read]);
    }
    assert_eq!(got, all.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_becomes_the_stand_in_and_the_last_thing() {
    let Parts { mut client, mut io, gate } = parts();
    client
        .write_all(format!("{HEAD}PUT /a#b HTTP/1.0\r\nHost: b\r\n\r\n{HEAD}").as_bytes())
        .await
        .unwrap();
    assert_eq!(read(&mut io).await.unwrap(), HEAD.as_bytes());
    assert_eq!(read(&mut io).await.unwrap(), STAND_IN);
    assert_eq!(read(&mut io).await, None);
    drop(client);
    assert_eq!(read(&mut io).await, None, "not even the end");
    assert!(gate.refusal(1).is_none());
    let refusal = gate.refusal(2).unwrap();
    assert_eq!((refusal.fault, refusal.version), (Fault::Malformed, Version::HTTP_10));
    assert_eq!((refusal.method, refusal.target), (Method::PUT, Uri::from_static("/a")));
    assert!(gate.refusal(2).is_none(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_refused_and_silence_is_an_error() {
    let Parts { mut client, mut io, gate } = parts();
    client.write_all(b"BREW /").await.unwrap();
    let mut buf = [0; 256];
    let read = io.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..read], STAND_IN);
    assert_eq!(gate.refusal(1).unwrap().fault, Fault::Timeout);
    let Parts { client: _client, mut io, gate } = parts();
    assert!(io.read(&mut buf).await.is_err());
    assert!(!gate.has_refused());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_a_client_that_still_sends_but_not_for_long() {
    let Parts { mut client, mut io, .. } = parts();
    io.shutdown().await.unwrap();
    let start = Instant::now();
    let Parts { client: mut refused, mut io, .. } = parts();
    refused.write_all(b"\0").await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), STAND_IN);
    io.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), LINGER);
    // One that sends without an end is not waited for either.
    let Parts { client: mut flood, mut io, .. } = parts();
    flood.write_all(&[0; LINGER_BYTES + 4096]).await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), STAND_IN);
    io.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), LINGER);
    let _open = client.write_all(b"").await;
}

/// S-15: what follows an upgrade waits for its answer; in a tunnel everything goes on.
#[tokio::test(start_paused = true)]
async fn bytes_behind_an_upgrade_wait_for_its_answer() {
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\n";
    let Parts { mut client, mut io, gate } = parts();
    client.write_all(format!("{ask}{HEAD}").as_bytes()).await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), ask.as_bytes());
    assert_eq!(read(&mut io).await, None);
    gate.answered(1);
    io.flush().await.unwrap();
    assert!(io.waiting.is_none(), "a flush behind the answer wakes the reader");
    assert_eq!(read(&mut io).await.unwrap(), HEAD.as_bytes());
    let Parts { mut client, mut io, .. } = parts();
    client.write_all(format!("{ask}\0frame").as_bytes()).await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), ask.as_bytes());
    assert_eq!(read(&mut io).await, None);
    io.phase.enter(Phase::Tunnel);
    assert_eq!(read(&mut io).await.unwrap(), b"\0frame");
    client.write_all(b"\0more").await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), b"\0more");
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_an_error_behind_what_was_sound() {
    let Parts { mut client, mut io, gate } = parts();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
    client.write_all(format!("{head}zz\r\n").as_bytes()).await.unwrap();
    assert_eq!(read(&mut io).await.unwrap(), head.as_bytes());
    assert!(!gate.is_broken());
    assert_eq!(io.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(gate.is_broken() && !gate.has_refused());
    assert_eq!(read(&mut io).await, None);
}
