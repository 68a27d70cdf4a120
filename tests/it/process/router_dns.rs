//! `wharf router --dns` as a process: the flags of its DNS server, seen from a client.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use serde_json::Value;

use super::{TempDir, run, text, wharf};
use crate::{
    dns::{Said, outside, tcp, udp},
    harness::{client::Client, eventually, within},
};

const MANIFESTS: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: hidden}
spec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}
";

/// A router, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts a router with these flags of its DNS server: where that is, and its admin port.
async fn start(folder: &TempDir, flags: &[&str]) -> (Running, SocketAddr, SocketAddr) {
    std::fs::write(folder.path().join("web.yaml"), MANIFESTS).expect("writable");
    let any = "127.0.0.1:0";
    let mut command = wharf(&["router", "--log-json", "--workers", "1", "--dns", any]);
    command.args(["--http", any, "--https", any, "--admin", any, "--manifests"]);
    command.arg(folder.path()).args(flags).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let running = Running(child);
    let reads = tokio::task::spawn_blocking(move || {
        loop {
            let line = lines.next().expect("it goes on").expect("text");
            let event: Value = serde_json::from_str(&line).expect("a JSON line");
            if event["fields"]["message"] == "listening" {
                let [dns, admin] = ["dns", "admin"].map(|name| {
                    let address = event["fields"][name].as_str().expect("an address");
                    address.parse::<SocketAddr>().expect("an address")
                });
                // Read on, so that the process can go on to write.
                std::thread::spawn(move || lines.for_each(drop));
                return (dns, admin);
            }
        }
    });
    let (dns, admin) = within("two addresses", reads).await.expect("no panic");
    eventually("a zone", async || {
        let mut client = Client::connect(admin).await;
        (client.get("a", "/healthz/ready").await.status() == 200).then_some(())
    })
    .await;
    (running, dns, admin)
}

fn said(code: &str, answers: &[&str]) -> Said {
    let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
    Said { code: code.to_owned(), answers, ..Said::default() }
}

/// Without the owners of SOA records, which other tests look at.
fn plain(said: Said) -> Said {
    Said { soas: Vec::new(), cut: false, ..said }
}

/// C.9: the options of the zone, and names outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flags_of_a_routers_dns_server_count() {
    let folder = TempDir::new().expect("a temporary folder");
    let forward = outside().await.to_string();
    let flags = ["--dns-pods", "disabled", "--dns-namespace", "app", "--dns-forward", &forward];
    let (_running, dns, admin) = start(&folder, &flags).await;
    for (name, wanted) in [
        ("web.app.svc.cluster.local.", said("NOERROR", &["10.0.0.1"])),
        ("web.hidden.svc.cluster.local.", said("NXDOMAIN", &[])),
        ("10-0-0-1.app.pod.cluster.local.", said("NXDOMAIN", &[])),
        ("ext.interwebs.test.", said("NOERROR", &["1.2.3.4"])),
        ("nobody.interwebs.test.", said("NXDOMAIN", &[])),
    ] {
        assert_eq!(plain(udp(dns, name, "A").await), wanted, "{name} by UDP");
        assert_eq!(plain(tcp(dns, name, "A").await), wanted, "{name} by TCP");
    }
    let metrics = Client::connect(admin).await.get("a", "/metrics").await.text();
    let server = format!("server=\"dns://{dns}\"");
    let counted = metrics
        .lines()
        .any(|line| line.starts_with("coredns_cache_misses_total{") && line.contains(&server));
    assert!(counted, "{metrics}");
}

/// Without flags it is as it was: pods by their addresses, and nothing outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routers_dns_server_has_openshifts_defaults() {
    let folder = TempDir::new().expect("a temporary folder");
    let (_running, dns, _) = start(&folder, &[]).await;
    for (name, wanted) in [
        ("web.hidden.svc.cluster.local.", said("NOERROR", &["10.0.0.2"])),
        ("10-0-0-1.app.pod.cluster.local.", said("NOERROR", &["10.0.0.1"])),
        ("ext.interwebs.test.", said("REFUSED", &[])),
    ] {
        assert_eq!(plain(udp(dns, name, "A").await), wanted, "{name}");
    }
}

/// A flag that does nothing stops the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_without_a_dns_server_stop_the_start() {
    let folder = TempDir::new().expect("a temporary folder");
    for last in [&[][..], &["--print-config"]] {
        let arguments = [&["router", "--dns-pods", "disabled"], last].concat();
        let output = run(&arguments, folder.path()).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("--dns-pods") && error.contains("add --dns ADDR"), "{error}");
    }
}
