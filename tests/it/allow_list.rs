//! Allow lists: who gets an answer, request by request, over every protocol (spec/route.md 14.8,
//! decisions 6).

use http::Request;
use serde_json::Value;

use crate::harness::{
    client,
    http2::{Http2, body},
    manifest::{With as _, route, service},
    pod::Pod,
    router::Edge,
};

const LIST: &str = "haproxy.router.openshift.io/ip_allowlist";

/// Routes with these lists to the Service `a`, each for `NAME.example.com`.
fn listed(lists: &[(&str, &str)]) -> impl Iterator<Item = Value> {
    lists.iter().map(|(name, list)| {
        let route = route(name, &format!("{name}.example.com")).with("/spec/to/name", "a");
        route.annotated(LIST, list)
    })
}

async fn edge(lists: &[(&str, &str)], fails_open: bool) -> (Edge, Pod) {
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    objects.extend(listed(lists));
    let edge = Edge::with(&objects, |settings| settings.allow_list_fails_open = fails_open).await;
    (edge, pod)
}

/// True when the router closes without an answer.
async fn denies(edge: &Edge, host: &str) -> bool {
    let reply = edge.get(host, "/").await;
    assert!(reply.cut || reply.status() == 200, "{reply:?}");
    reply.cut
}

/// [IPL-2, IPL-3]: the same lists, both ways of reading them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_2_ipl_3_the_switch_is_for_lists_that_are_not_understood() {
    let lists = [
        ("good", "10.0.0.0/8 127.0.0.1"),
        ("other", "10.0.0.0/8"),
        ("blank", " 10.0.0.0/8"),
        ("commas", "10.0.0.0/8,192.0.2.1"),
        ("nonsense", "everybody"),
        ("some", "nonsense 10.0.0.0/8"),
    ];
    // Whether each is denied.
    for (fails_open, wanted) in [
        (false, [false, true, true, true, true, true]),
        (true, [false, true, false, false, false, true]),
    ] {
        let (edge, pod) = edge(&lists, fails_open).await;
        for ((name, _), denied) in lists.iter().zip(wanted) {
            let host = format!("{name}.example.com");
            assert_eq!(denies(&edge, &host).await, denied, "{name}, fails open: {fails_open}");
        }
        let denied = wanted.iter().filter(|denied| **denied).count();
        edge.has_reasons(&[("denied_allowlist", denied as u64)]).await;
        assert_eq!(pod.attempts(), wanted.len() - denied);
        // The one that lets everybody in is an error in the findings.
        let ignored =
            edge.router.live.load().findings.iter().filter(|it| it.code.number == 1110).count();
        assert_eq!(ignored, if fails_open { 3 } else { 0 });
    }
}

/// [IPL-7]: each request of a connection is judged, by the list of its route as it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_7_each_request_of_a_connection_is_judged() {
    let (edge, pod) = edge(&[("in", "127.0.0.0/8"), ("changes", "127.0.0.0/8")], false).await;
    let mut client = edge.client().await;
    for host in ["in.example.com", "changes.example.com", "in.example.com"] {
        assert_eq!(client.get(host, "/").await.status(), 200, "{host}");
    }
    let mut objects = service("a", &[pod.address]);
    objects.extend(listed(&[("in", "127.0.0.0/8"), ("changes", "10.0.0.0/8")]));
    let before = edge.router.live.load().generation;
    edge.write("main.yaml", &objects);
    edge.until("the change", |snapshot| snapshot.generation > before).await;
    assert_eq!(client.get("in.example.com", "/").await.status(), 200);
    client.send(client::get("changes.example.com", "/")).await;
    assert!(client.closed().await, "the same connection");
    assert_eq!(pod.attempts(), 4);
}

/// [IPL-7] on HTTP/2 (spec/route.md 26.2): the connection ends, with whatever runs on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_7_on_http2_the_request_gets_no_answer() {
    let (edge, pod) = edge(&[("in", "127.0.0.0/8"), ("out", "10.0.0.0/8")], false).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    assert_eq!(client.get("http://in.example.com/").await.unwrap().status.as_u16(), 200);
    let request = Request::get("http://out.example.com/").body(body("")).unwrap();
    client.send(request).await.unwrap_err();
    let error = client.ended().await.unwrap_err();
    assert_eq!(reason(&error), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error:?}");
    edge.has_reasons(&[("denied_allowlist", 1)]).await;
    assert_eq!(pod.attempts(), 1);
}

/// The HTTP/2 code behind an error, if a GOAWAY brought it.
fn reason(error: &hyper::Error) -> Option<h2::Reason> {
    let h2 = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    h2.reason().filter(|_| h2.is_go_away())
}

/// [IPL-5]: thousands of networks, the last of which counts; `::/0` is everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_5_long_lists_and_the_widest_one() {
    let mut long: Vec<String> =
        (0..5000_u32).map(|n| format!("10.{}.{}.0/30", n >> 8, n & 255)).collect();
    let without = long.join(" ");
    long.push("127.0.0.1".to_owned());
    let with = long.join(" ");
    let lists = [("with", with.as_str()), ("without", &without), ("all", "::/0")];
    let (edge, _pod) = edge(&lists, false).await;
    assert!(!denies(&edge, "with.example.com").await);
    assert!(denies(&edge, "without.example.com").await);
    assert!(!denies(&edge, "all.example.com").await);
}
