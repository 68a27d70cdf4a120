//! The connection once a pod has it: ends and limits, bulk, changes of configuration, the orderly stop.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wharf::settings::Timeouts;

use super::{HOST, Wire, pass, said};
use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, service},
    router::Edge,
    within,
};

/// A connection that is passed through: the router, the client's side and the pod's.
async fn passed(
    change: impl FnOnce(&mut Timeouts),
) -> (Edge, Client<TcpStream>, Client<TcpStream>) {
    let wire = Wire::bound().await;
    let objects = app(pass("pass", HOST), &[wire.address]);
    let edge = Edge::with(&objects, |settings| change(&mut settings.timeouts)).await;
    let (client, pod) = open(&edge, &wire).await;
    (edge, client, pod)
}

async fn open(edge: &Edge, wire: &Wire) -> (Client<TcpStream>, Client<TcpStream>) {
    let hello = said(Some(HOST));
    let mut client = Client::connect(edge.https).await;
    client.send(&hello).await;
    let mut pod = wire.next().await;
    assert_eq!(pod.bytes(hello.len()).await, hello);
    (client, pod)
}

const HOUR: Duration = Duration::from_secs(3600);

/// Either side may end first; what the other still says arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_connection_goes_on_the_other_way() {
    for client_first in [true, false] {
        let (edge, client, pod) =
            passed(|timeouts| (timeouts.client_fin, timeouts.server_fin) = (HOUR, HOUR)).await;
        let (mut first, mut second) = if client_first { (client, pod) } else { (pod, client) };
        first.send("the last word").await;
        first.stream.shutdown().await.unwrap();
        assert_eq!(second.rest().await, b"the last word");
        for nth in 0_u8..20 {
            second.send([nth]).await;
            assert_eq!(first.bytes(1).await, [nth]);
        }
        second.stream.shutdown().await.unwrap();
        assert!(first.closed().await);
        edge.is_quiet().await;
    }
}

/// [spec/route.md 13]: once one side has ended, the other has its FIN limit of silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_connection_ends_at_its_fin_limit() {
    let short = Duration::from_millis(20);
    for client_first in [true, false] {
        let (edge, mut client, mut pod) = passed(|timeouts| {
            timeouts.client_fin = if client_first { short } else { HOUR };
            timeouts.server_fin = if client_first { HOUR } else { short };
        })
        .await;
        let (first, second) =
            if client_first { (&mut client, &mut pod) } else { (&mut pod, &mut client) };
        first.stream.shutdown().await.unwrap();
        assert!(first.closed().await && second.closed().await);
        edge.is_quiet().await;
    }
}

/// [ANN-TMO-1, TMO-1]: only the tunnel limit is on a connection that idles; timeout-tunnel or timeout
/// of the route wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ann_tmo_1_an_idle_connection_ends_after_the_tunnel_limit() {
    let short = Duration::from_millis(100);
    let annotation = |name| pass("pass", HOST).annotated(name, "100ms");
    for (route, tunnel) in [
        (pass("pass", HOST), short),
        (annotation("haproxy.router.openshift.io/timeout"), HOUR),
        (annotation("haproxy.router.openshift.io/timeout-tunnel"), HOUR),
    ] {
        let wire = Wire::bound().await;
        let edge = Edge::with(&app(route, &[wire.address]), |settings| {
            settings.timeouts.tunnel = tunnel;
        })
        .await;
        let (mut client, mut pod) = open(&edge, &wire).await;
        assert!(client.closed().await && pod.closed().await);
        edge.is_quiet().await;
    }
    let (edge, mut client, mut pod) = passed(|timeouts| {
        let limits = [&mut timeouts.client, &mut timeouts.server, &mut timeouts.head];
        limits.into_iter().for_each(|limit| *limit = Duration::from_millis(10));
        timeouts.keep_alive = Duration::from_millis(10);
        (timeouts.inspect, timeouts.handshake) = (short, short);
    })
    .await;
    // Connections that are closed by the limits that this one outlives.
    for address in [edge.http, edge.http, edge.http, edge.https] {
        assert!(Client::connect(address).await.closed().await);
    }
    client.send("still").await;
    assert_eq!(pod.bytes(5).await, b"still");
}

/// A side that resets takes the other along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_ends_both_sides() {
    for of_client in [true, false] {
        let (edge, client, pod) = passed(|_| {}).await;
        let (resets, mut other) = if of_client { (client, pod) } else { (pod, client) };
        resets.stream.set_zero_linger().unwrap();
        drop(resets);
        assert!(other.closed().await);
        edge.is_quiet().await;
        assert!(edge.reasons().is_empty());
    }
}

const BULK: u64 = 64 << 20;

/// Decisions 15: 64 MiB both ways at once arrive whole, moved inside the kernel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_passes_whole_and_is_spliced() {
    let before = wharf::net::splice::counts().bytes;
    let (edge, client, pod) = passed(|_| {}).await;
    let (mut from_client, mut to_client) = client.stream.into_split();
    let (mut from_pod, mut to_pod) = pod.stream.into_split();
    let up = tokio::spawn(async move { (pour(&mut to_client, 1).await, to_client) });
    let down = tokio::spawn(async move { (pour(&mut to_pod, 2).await, to_pod) });
    let got_down = tokio::spawn(async move { drain(&mut from_client).await });
    let got_up = drain(&mut from_pod).await;
    let (sent_up, _up) = up.await.unwrap();
    let (sent_down, _down) = down.await.unwrap();
    assert!(got_up == sent_up && got_down.await.unwrap() == sent_down);
    assert_ne!(sent_up, sent_down);
    let spliced = wharf::net::splice::counts().bytes - before;
    assert!(spliced > 2 * BULK - (2 << 20), "{spliced}");
    edge.is_quiet().await;
}

/// Sends [`BULK`] bytes and the end of the stream; their digest.
async fn pour(writer: &mut tokio::net::tcp::OwnedWriteHalf, seed: u64) -> Vec<u8> {
    let (mut digest, mut state, mut sent) = (Context::new(&SHA256), seed, 0);
    let mut chunk = vec![0; 60_000];
    while sent < BULK {
        for eight in chunk.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
            eight.copy_from_slice(&state.to_le_bytes());
        }
        let count = chunk.len().min(usize::try_from(BULK - sent).expect("64 bits"));
        within("writing", writer.write_all(&chunk[..count])).await.expect("it is taken");
        digest.update(&chunk[..count]);
        sent += count as u64;
    }
    writer.shutdown().await.expect("it is open");
    digest.finish().as_ref().to_vec()
}

/// Reads [`BULK`] bytes up to the end of the stream; their digest.
async fn drain(reader: &mut tokio::net::tcp::OwnedReadHalf) -> Vec<u8> {
    let (mut digest, mut got) = (Context::new(&SHA256), 0);
    let mut chunk = vec![0; 65_536];
    loop {
        let count = within("reading", reader.read(&mut chunk)).await.expect("no failure");
        if count == 0 {
            assert_eq!(got, BULK);
            return digest.finish().as_ref().to_vec();
        }
        digest.update(&chunk[..count]);
        got += count as u64;
    }
}

/// edits, another pod, the end of the route: what is passed through goes on, and only new
/// connections follow the edit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_03_no_edit_touches_a_connection_that_is_passed_through() {
    let (wire, other) = (Wire::bound().await, Wire::bound().await);
    let edge = Edge::start(&app(pass("pass", HOST), &[wire.address])).await;
    let (mut client, mut pod) = open(&edge, &wire).await;
    for (edit, objects) in [
        ("another pod", app(pass("pass", HOST), &[other.address])),
        ("another host", app(pass("pass", "moved.example.com"), &[other.address])),
        ("no route", service("pass", &[other.address])),
    ] {
        let generation = edge.router.live.load().generation;
        edge.write("main.yaml", &objects);
        edge.until(edit, |snapshot| snapshot.generation > generation).await;
        client.send(edit).await;
        assert_eq!(pod.bytes(edit.len()).await, edit.as_bytes());
        pod.send(edit).await;
        assert_eq!(client.bytes(edit.len()).await, edit.as_bytes());
        if edit == "another pod" {
            open(&edge, &other).await;
        }
    }
    client.stream.shutdown().await.unwrap();
    assert!(pod.closed().await);
}

/// a stopping router accepts no more, lets go on what is passed through, and closes it when the
/// grace is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_17_the_grace_is_for_connections_that_are_passed_through_too() {
    for ends_by_itself in [true, false] {
        let (edge, mut client, mut pod) = passed(|timeouts| {
            let seconds = if ends_by_itself { 60 } else { 1 };
            timeouts.drain_grace = Duration::from_secs(seconds);
        })
        .await;
        let https = edge.https;
        let stop = tokio::spawn(edge.finish());
        eventually("the end of accepting", async || {
            TcpStream::connect(https).await.is_err().then_some(())
        })
        .await;
        client.send("goes on").await;
        assert_eq!(pod.bytes(7).await, b"goes on");
        if ends_by_itself {
            client.stream.shutdown().await.unwrap();
            pod.stream.shutdown().await.unwrap();
        }
        assert!(client.closed().await && pod.closed().await);
        within("the router to end", stop).await.unwrap();
    }
}
