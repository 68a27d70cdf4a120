//! `wharf dns` as a process: what it shows of itself, its query log, and its end.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use serde_json::Value;
use tokio::net::UdpSocket;

use super::{TempDir, wharf};
use crate::harness::{client::Client, eventually, within};

/// A question for the address of `web.app.svc.cluster.local`.
fn question() -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["web", "app", "svc", "cluster", "local", ""] {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend(label.bytes());
    }
    packet.extend([0, 1, 0, 1]);
    packet
}

/// A process, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts the server; the process, and the addresses that it says it listens on.
async fn start(folder: &TempDir, lameduck: &str) -> (Running, [SocketAddr; 4]) {
    let any = "127.0.0.1:0";
    let mut command = wharf(&["dns", "--log-json", "--workers", "2", "--log-queries", "success"]);
    command.args(["--listen", any, "--health", any, "--ready", any, "--metrics", any]);
    command.args(["--lameduck", lameduck, "--manifests"]).arg(folder.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let running = Running(child);
    let reads = tokio::task::spawn_blocking(move || {
        let mut address = || loop {
            let line = lines.next().expect("it goes on").expect("text");
            let event: Value = serde_json::from_str(&line).expect("a JSON line");
            if event["fields"]["message"] == "listening" {
                let text = event["fields"]["address"].as_str().expect("an address");
                return text.parse().expect("an address");
            }
        };
        let addresses = [(); 4].map(|()| address());
        // Read on, so that the process can go on to write.
        std::thread::spawn(move || lines.for_each(drop));
        addresses
    });
    let addresses = within("four addresses", reads).await.expect("no panic");
    (running, addresses)
}

/// C.7, C.9: ready once there is a zone; counted; logged; and after the signal served on, no longer ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_server_shows_how_it_is_until_its_end() {
    let folder = TempDir::new().expect("a temporary folder");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: app}\n\
                   spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n";
    std::fs::write(folder.path().join("web.yaml"), service).expect("writable");
    // As long as it takes: the process is killed at the end.
    let (mut running, [server, health, ready, metrics]) = start(&folder, "3600").await;
    let status = async |address| {
        let path = if address == ready { "/ready" } else { "/health" };
        Client::connect(address).await.get("a", path).await.status()
    };
    eventually("a zone", async || (status(ready).await == 200).then_some(())).await;
    assert_eq!(status(health).await, 200);

    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let ask = async || {
        client.send_to(&question(), server).await.expect("sent");
        let mut answer = [0; 512];
        let length = within("an answer", client.recv(&mut answer)).await.expect("received");
        assert_eq!(answer[length - 4..length], [10, 0, 0, 1]);
    };
    ask().await;
    let text = Client::connect(metrics).await.get("a", "/metrics").await.text();
    let counted = format!(
        "coredns_dns_requests_total{{server=\"dns://{server}\",zone=\".\",view=\"\",proto=\"udp\",\
         family=\"1\",type=\"A\"}} 1"
    );
    assert!(text.lines().any(|line| line == counted), "{text}");

    let id = running.0.id().to_string();
    let mut signal = std::process::Command::new("/bin/sh");
    signal.args(["-c", "kill -TERM $0", &id]).status().expect("a shell");
    eventually("the goodbye", async || (status(ready).await == 503).then_some(())).await;
    assert_eq!(status(health).await, 200);
    ask().await;

    let mut lines = BufReader::new(running.0.stdout.take().expect("a pipe")).lines();
    let reads = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]);
    let port = client.local_addr().expect("bound").port();
    let line = format!(
        "[INFO] 127.0.0.1:{port} - 7 \"A IN web.app.svc.cluster.local. udp 43 false 512\" NOERROR \
         qr,aa,rd 59 "
    );
    for one in within("two lines", reads).await.expect("no panic") {
        let one = one.expect("it goes on").expect("text");
        assert!(one.starts_with(&line), "{one}");
    }
}

/// without a wait, a signal ends it at once with code 0, and the log is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_server_ends_with_code_0() {
    let folder = TempDir::new().expect("a temporary folder");
    let (mut running, _) = start(&folder, "0").await;
    let id = running.0.id().to_string();
    let mut signal = std::process::Command::new("/bin/sh");
    signal.args(["-c", "kill -TERM $0", &id]).status().expect("a shell");
    let code = eventually("the end", async || running.0.try_wait().expect("our child")).await;
    assert_eq!(code.code(), Some(0));
}

/// It has started once more to be small, as what it was: the name, the arguments and one variable more. What
/// the user set is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_server_is_small_and_still_what_was_started() {
    let folder = TempDir::new().expect("a temporary folder");
    let (running, _) = start(&folder, "0").await;
    let of = |id: u32, name: &str| {
        std::fs::read_to_string(format!("/proc/{id}/{name}")).expect("it runs")
    };
    let id = running.0.id();
    assert!(of(id, "status").contains("THP_enabled:\t0"), "{}", of(id, "status"));
    assert_eq!(of(id, "environ"), "MIMALLOC_PURGE_DELAY=0\0");
    assert_eq!(of(id, "comm"), "wharf\n");
    let expected = format!("{}\0dns\0--log-json\0", env!("CARGO_BIN_EXE_wharf"));
    assert!(of(id, "cmdline").starts_with(&expected), "{}", of(id, "cmdline"));

    let mut command = wharf(&["dns", "--listen", "127.0.0.1:0", "--manifests"]);
    command.arg(folder.path()).env("MIMALLOC_PURGE_DELAY", "50").stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("it runs"));
    let mut lines = BufReader::new(running.0.stderr.take().expect("a pipe")).lines();
    let reads = tokio::task::spawn_blocking(move || lines.next());
    within("the first line", reads).await.expect("no panic").expect("it goes on").expect("text");
    assert_eq!(of(running.0.id(), "environ"), "MIMALLOC_PURGE_DELAY=50\0");
}
