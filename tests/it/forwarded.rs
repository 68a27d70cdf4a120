//! Forwarding headers by the router's default policy (spec/route.md 12); the annotation is in `forward`.

use crate::harness::{
    manifest::{With as _, app, route, with_all},
    pod::Pod,
    router::Edge,
};

const HOST: &str = "a.example.com";

/// [FWD-1, FWD-3, FWD-6]: every column of the table for routes that choose nothing, and for one that does.
/// Under `replace` a client's X-Forwarded-Proto-Version never gets through (row 18 of the register).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fwd_1_fwd_6_the_setting_is_the_policy_of_routes_without_one() {
    const FIELDS: [&str; 6] = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-proto-version",
        "forwarded",
    ];
    let annotation = "haproxy.router.openshift.io/set-forwarded-headers";
    let claims: String = FIELDS.iter().map(|name| format!("{name}: old\r\n")).collect();
    let pod = Pod::saying("pod").await;
    let objects = with_all([
        app(route("a", HOST), &[pod.address]),
        app(route("n", "n.example.com").annotated(annotation, "never"), &[pod.address]),
    ]);
    for (policy, [old, new], version) in [
        ("append", [true, true], true),
        ("replace", [false, true], false),
        ("if-none", [true, false], true),
        ("never", [true, false], true),
        ("nonsense", [true, true], true),
    ] {
        let edge = Edge::with(&objects, |it| policy.clone_into(&mut it.headers.forwarded)).await;
        let port = edge.http.port().to_string();
        let forwarded = format!("for=127.0.0.1;host={HOST};proto=http");
        let values = ["127.0.0.1", HOST, &port, "http", "", &forwarded];
        let mut client = edge.client().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{claims}\r\n")).await;
        assert_eq!(client.response().await.status(), 200);
        let seen = pod.seen().pop().expect("a request");
        for (name, value) in FIELDS.into_iter().zip(values) {
            let (old, new) = match name {
                "x-forwarded-proto-version" => (version, false),
                _ => (old, new),
            };
            let expected = [("old", old), (value, new)];
            let expected: Vec<_> = expected.iter().filter(|(_, on)| *on).map(|it| it.0).collect();
            assert_eq!(seen.all(name), expected, "{policy} {name}");
        }
        client.send(format!("GET / HTTP/1.1\r\nHost: n.example.com\r\n{claims}\r\n")).await;
        assert_eq!(client.response().await.status(), 200);
        let seen = pod.seen().pop().expect("a request");
        assert!(FIELDS.iter().all(|name| seen.all(name) == ["old"]), "{policy}: {seen:?}");
    }
}
