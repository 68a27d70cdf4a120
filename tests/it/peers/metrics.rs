//! Metrics read by prometheus_client, and the statistics next to HAProxy's own.

use std::{io::Write as _, os::unix::net::UnixStream, process::Stdio};

use tempfile::TempDir;
use wharf::admin::statistics::HEADER;

use super::{HOST, python, wanted};
use crate::harness::{
    eventually,
    manifest::{app, edge as edge_route, route, with_all},
    pod::Pod,
    router::Edge,
    tls,
};

/// [MET-1]: both formats are read by a strict parser, and have the same series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_prometheus_client_reads_both_formats() {
    if !wanted("peers_prometheus_client_reads_both_formats") {
        return;
    }
    let pod = Pod::saying("pod").await;
    let pair = tls::pair("b.example.com");
    let objects = with_all([
        app(route("a", HOST), &[pod.address]),
        app(edge_route("b", "b.example.com", Some(&pair)), &[pod.address]),
    ]);
    let edge = Edge::with(&objects, |settings| {
        settings.admin_port.exported = Some((0..100).collect());
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 200);
    edge.is_quiet().await;
    let told = python::says("metrics.py", &[&edge.admin.to_string()]).await;
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split('|').collect()).collect();
    let [classic, open] = &lines[..] else { panic!("{told}") };
    assert_eq!(classic[..3], ["classic", "text/plain; version=0.0.4; charset=utf-8", "True"]);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open[..3], ["open", kind, "True"]);
    // The reader gives a counter of the older format the ending that it would have in the newer.
    let read_as = |name: &str| (format!("{name}_total "), format!("{name} "));
    let (first, second) =
        (read_as("haproxy_exporter_csv_parse_failures"), read_as("haproxy_exporter_total_scrapes"));
    let names = classic[4].replace(&first.0, &first.1).replace(&second.0, &second.1);
    assert_ne!(names, classic[4], "both are counters");
    assert_eq!((classic[3], &*names), (open[3], open[4]), "as many samples, the same names");
    for name in ["haproxy_server_up", "haproxy_exporter_total_scrapes", "openshift_build_info"] {
        assert!(names.split(' ').any(|it| it == name), "{name} in {told}");
    }
}

/// [ADMIN-6]: HAProxy's own header begins with ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_has_the_columns_of_our_csv() {
    if !wanted("peers_haproxy_has_the_columns_of_our_csv") {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let (file, socket) = (folder.path().join("haproxy.cfg"), folder.path().join("stats"));
    let text = format!(
        "global\n  stats socket {}\ndefaults\n  timeout connect 5s\n  timeout client 5s\n  timeout \
         server 5s\nbackend it\n",
        socket.display()
    );
    std::fs::write(&file, text).expect("the folder is writable");
    let mut haproxy = std::process::Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .expect("haproxy is installed");
    let told = eventually("HAProxy's statistics", async || {
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream.write_all(b"show stat\n").ok()?;
        std::io::read_to_string(stream).ok()
    })
    .await;
    let _gone = haproxy.kill();
    let _gone = haproxy.wait();
    assert!(told.starts_with(HEADER), "{told}");
}
