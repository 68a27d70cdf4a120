//! ClientHellos in pieces, too long, hopeless or not at all [LSN-4] (S-68, S-69).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
};

use super::{HOST, TlsPod, Wire, pass, said};
use crate::harness::{
    client::Client,
    manifest::{app, edge as edge_route},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello},
};

/// Cuts the record of a hello into what is sent piece by piece.
type Cut = fn(&[u8]) -> Vec<Vec<u8>>;

fn three_segments(hello: &[u8]) -> Vec<Vec<u8>> {
    hello.chunks(hello.len().div_ceil(3)).map(<[u8]>::to_vec).collect()
}

fn single_bytes(hello: &[u8]) -> Vec<Vec<u8>> {
    hello.iter().map(|byte| vec![*byte]).collect()
}

fn records(hello: &[u8], size: usize) -> Vec<Vec<u8>> {
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).expect("a record").to_be_bytes();
        [&hello[..3], &length, piece].concat()
    };
    hello[5..].chunks(size).map(record).collect()
}

fn three_records(hello: &[u8]) -> Vec<Vec<u8>> {
    records(hello, (hello.len() - 5).div_ceil(3))
}

/// In one segment.
fn tiny_records(hello: &[u8]) -> Vec<Vec<u8>> {
    vec![records(hello, 1).concat()]
}

/// A stream to `address` whose first record is cut.
async fn cutting(address: SocketAddr, cut: Cut) -> DuplexStream {
    let (near, mut far) = tokio::io::duplex(65_536);
    let mut socket = TcpStream::connect(address).await.expect("connected");
    socket.set_nodelay(true).expect("a socket");
    tokio::spawn(async move {
        let mut hello = vec![0; 5];
        far.read_exact(&mut hello).await.expect("a hello");
        hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
        far.read_exact(&mut hello[5..]).await.expect("a hello");
        for piece in cut(&hello) {
            socket.write_all(&piece).await.expect("taken");
            tokio::task::yield_now().await;
        }
        let _over = tokio::io::copy_bidirectional(&mut far, &mut socket).await;
    });
    near
}

/// S-68: however a hello is cut, its name is found, and the handshake works: with the pod as well as
/// here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_68_a_hello_in_pieces_is_put_together() {
    let (tls_pod, plain_pod) = (TlsPod::saying("passed").await, Pod::saying("edge").await);
    let objects = [
        app(pass("pass", HOST), &[tls_pod.address]),
        app(edge_route("edge", "edge.example.com", None), &[plain_pod.address]),
    ];
    let edge = Edge::start(&objects.concat()).await;
    for cut in [three_segments as Cut, single_bytes, three_records, tiny_records] {
        for (name, text) in [(HOST, "passed"), ("edge.example.com", "edge")] {
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let stream = cutting(edge.https, cut).await;
                let hello = Hello { alpn: &["http/1.1"], version, ..hello(name) };
                let stream = tls::handshake(stream, hello).await.expect("a handshake");
                assert_eq!(Client::over(stream).get(name, "/").await.text(), text);
            }
        }
    }
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// S-69, S-48: what is too long, no TLS, or ends too soon ends the connection, for one reason, with
/// and without passthrough routes; the others have an alert of the TLS library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_69_hopeless_hellos_are_ended() {
    let wire = Wire::bound().await;
    let long = {
        let whole = said(Some(HOST));
        let mut message = whole[5..].to_vec();
        message[1..4].copy_from_slice(&[0, 0xea, 0x60]);
        message.resize(60_004, 0);
        records(&[&whole[..5], &message[..]].concat(), 16_384).concat()
    };
    // A message of no more than 16,000 bytes, in records of one.
    let long_in_bytes: Vec<u8> = {
        let message = [1, 0, 0x3e, 0].into_iter().chain(std::iter::repeat(0));
        message.take(16_384).flat_map(|byte| [22, 3, 1, 0, 1, byte]).take(16_384).collect()
    };
    let rows: Vec<(Vec<u8>, bool)> = vec![
        (long, false),
        (long_in_bytes, false),
        (b"GET / HTTP/1.1\r\nHost: pass.example.com\r\n\r\n".to_vec(), true),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), true),
        ([&b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10"[..], &[0; 37]].concat(), true),
        (b"\x15\x03\x01\0\x02\x02\x28".to_vec(), false),
        (vec![0; 5000], true),
    ];
    for objects in [app(pass("pass", HOST), &[wire.address]), Vec::new()] {
        let edge = Edge::start(&objects).await;
        for (nth, (bytes, alert)) in (1..).zip(&rows) {
            let mut client = Client::connect(edge.https).await;
            client.send(bytes).await;
            let start = &bytes[..bytes.len().min(16)];
            let rest = client.rest().await;
            if *alert {
                assert_eq!(rest.first_chunk(), Some(&[21, 3]), "{start:?}: {rest:?}");
            } else {
                assert!(rest.is_empty(), "{start:?}: {rest:?}");
            }
            edge.has_reasons(&[("tls_handshake", nth)]).await;
        }
        // Whoever says nothing at all has only looked whether the port is open.
        drop(Client::connect(edge.https).await);
        let mut client = Client::connect(edge.https).await;
        client.send(&said(Some(HOST))[..20]).await;
        client.stream.shutdown().await.unwrap();
        assert!(client.closed().await);
        edge.is_quiet().await;
        let refused = u64::try_from(rows.len()).unwrap() + 1;
        edge.has_reasons(&[("tls_handshake", refused)]).await;
    }
    assert!(wire.is_untouched().await);
}

/// [LSN-4]: one limit is on the hello as a whole: bytes that come slowly do not extend it, silence
/// neither. It does not hold once the connection is passed through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_4_a_hello_has_one_limit() {
    let wire = Wire::bound().await;
    let limit = Duration::from_millis(150);
    let edge = Edge::with(&app(pass("pass", HOST), &[wire.address]), |settings| {
        settings.timeouts.inspect = limit;
    })
    .await;
    let hello = said(Some(HOST));
    let mut passed = Client::connect(edge.https).await;
    passed.send(&hello).await;
    let mut pod = wire.next().await;
    assert_eq!(pod.bytes(hello.len()).await, hello);
    for first in [&hello[..0], &hello[..1], &hello[..hello.len() - 1]] {
        let mut client = Client::connect(edge.https).await;
        client.send(first).await;
        assert!(client.closed().await);
    }
    let (mut read, mut write) = TcpStream::connect(edge.https).await.unwrap().into_split();
    let dribbled = tokio::spawn(async move {
        for byte in hello.into_iter().chain(std::iter::repeat(0)) {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(limit / 20).await;
        }
    });
    assert_eq!(read.read(&mut [0; 16]).await.unwrap_or(0), 0);
    crate::harness::within("the writer to notice", dribbled).await.expect("no panic");
    edge.has_reasons(&[("tls_handshake", 4)]).await;
    passed.send("still").await;
    assert_eq!(pod.bytes(5).await, b"still");
    assert!(wire.is_untouched().await);
}
