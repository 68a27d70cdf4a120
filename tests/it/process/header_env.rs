//! Header actions out of the environment, and what the access log says of a request that they change.

use std::process::Stdio;

use tempfile::TempDir;

use super::{HOST, listening, text, wharf};
use crate::harness::{
    client::Client,
    eventually,
    manifest::{self, app, route},
    pod::Pod,
    within,
};

/// [ENV-HDR, HDR-8] A list of the environment is in force, and the log has the request as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_8_the_access_log_has_the_request_as_it_came() {
    let folder = TempDir::new().unwrap();
    let pod = Pod::saying("pod").await;
    let objects = manifest::text(&app(route("a", HOST), &[pod.address]));
    std::fs::write(folder.path().join("main.yaml"), objects).unwrap();
    let log = folder.path().join("access.log");
    let any = "127.0.0.1:0";
    let mut child = wharf(&["router", "--log-json", "--workers", "1"])
        .args(["--http", any, "--https", any, "--admin", any])
        .args(["--allow-loopback-endpoints", "--manifests", "main.yaml"])
        .current_dir(folder.path())
        .env(
            "ROUTER_HTTP_REQUEST_HEADERS",
            "Host:a.example.com:Set,User-Agent:became+%25%5Breq.hdr%28User-Agent%29%5D:Set",
        )
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let reads = tokio::task::spawn_blocking(move || listening(stderr));
    // Held on to: a process whose log nobody takes ends.
    let listening = within("the router to listen", reads).await.unwrap();
    let answer = eventually("the route", async || {
        let mut client = Client::connect(listening.http).await;
        client.send("GET /x HTTP/1.1\r\nHost: other.test\r\nUser-Agent: agent-1\r\n\r\n").await;
        Some(client.response().await).filter(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(answer.text(), "pod");
    assert_eq!(pod.seen().pop().unwrap().all("user-agent"), ["became agent-1"]);
    let logged = eventually("the log", async || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().find(|line| line.contains("200") && line.contains("/x")).map(str::to_owned)
    })
    .await;
    let ended = child.kill().and_then(|()| child.wait());
    assert!(logged.contains("agent-1") && logged.contains("other.test"), "{logged}");
    assert!(!logged.contains("became"), "{logged}");
    ended.unwrap();
}

/// [ENV-HDR, CASE-1] What is not understood is said in a sentence, and nothing starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn env_hdr_a_list_that_is_not_understood_stops_the_start() {
    let folder = TempDir::new().unwrap();
    for (name, value, said) in [
        ("ROUTER_HTTP_REQUEST_HEADERS", "X-A:1:set", "does not end with Set or Delete"),
        ("ROUTER_HTTP_RESPONSE_HEADERS", "X A:Delete", "does not begin with a header name"),
        ("ROUTER_H1_CASE_ADJUST", "a b", "is not a header name"),
    ] {
        let mut command = wharf(&["router"]);
        command.current_dir(folder.path()).env(name, value);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = within("the command", output).await.unwrap().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(name) && error.contains(said), "{error}");
    }
}
