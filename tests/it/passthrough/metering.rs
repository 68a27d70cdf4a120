//! What a connection that is passed through leaves behind: counters by server and backend, metrics.

use super::{HOST, Wire, pass, said};
use crate::harness::{client::Client, eventually, manifest::app, router::Edge};

/// [LSN-1, MET-1]: in flight while it lasts, bytes and one connection afterwards, and no request, no
/// response, of any class; `tcp` is the backend's label.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_counted_as_one_of_its_backend() {
    let wire = Wire::bound().await;
    let edge = Edge::start(&app(pass("pass", HOST), &[wire.address])).await;
    let metric = async |name: &str, labels: &str| {
        let all = Client::connect(edge.admin).await.get("localhost", "/metrics").await.text();
        let start = format!("{name}{{{labels}");
        let line = all.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no {start} in {all}"));
        line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")
    };
    let labels = "backend=\"tcp\",namespace=\"app\",route=\"pass\"";
    let server = format!("server=\"{}\",namespace=\"app\",route=\"pass\"", wire.address);
    let hello = said(Some(HOST));
    let mut client = Client::connect(edge.https).await;
    client.send(&hello).await;
    let mut pod = wire.next().await;
    assert_eq!(pod.bytes(hello.len()).await, hello);
    pod.send("twelve bytes").await;
    assert_eq!(client.bytes(12).await, b"twelve bytes");
    for (family, labels) in [("backend", labels), ("server", &server)] {
        let name = format!("haproxy_{family}_current_sessions");
        assert_eq!(metric(&name, labels).await, 1.0);
    }
    drop((client, pod));
    edge.is_quiet().await;
    eventually("the count", async || {
        (metric("haproxy_backend_connections_total", labels).await == 1.0).then_some(())
    })
    .await;
    let sent = f64::from(u32::try_from(hello.len()).unwrap());
    for (family, labels) in [("backend", labels), ("server", &server)] {
        for (name, value) in
            [("current_sessions", 0.0), ("bytes_in_total", sent), ("bytes_out_total", 12.0)]
        {
            let name = format!("haproxy_{family}_{name}");
            assert_eq!(metric(&name, labels).await, value, "{name}");
        }
    }
    for (name, value) in
        [("connections_total", 1.0), ("bytes_in_total", sent), ("bytes_out_total", 12.0)]
    {
        let name = format!("haproxy_frontend_{name}");
        assert_eq!(metric(&name, "frontend=\"public_ssl\"").await, value, "{name}");
    }
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx", "other"] {
        let labels = format!("{labels},code=\"{class}\"");
        assert_eq!(metric("haproxy_backend_http_responses_total", &labels).await, 0.0, "{class}");
    }
}
