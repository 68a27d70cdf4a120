//! `rewrite-target` over the wire: what the pod sees, what the log shows, and in which order
//! (spec/route.md 14.6).

use http::Request;

use crate::harness::{
    client,
    http2::{Http2, body},
    manifest::{With as _, route, service},
    pod::{Pod, ok},
    router::Edge,
};

const TARGET: &str = "haproxy.router.openshift.io/rewrite-target";

/// Routes to one pod that says which target it saw: host, path, target of the rewrite.
async fn rewriting(routes: &[(&str, &str, &str)], keep_slash: bool) -> (Edge, Pod) {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let mut objects = service("a", &[pod.address]);
    for (name, path, target) in routes {
        let route = route(name, &format!("{name}.example.com"));
        objects.push(
            route.with("/spec/to/name", "a").with("/spec/path", *path).annotated(TARGET, target),
        );
    }
    let edge = Edge::with(&objects, |settings| settings.rewrite_keeps_slash = keep_slash).await;
    (edge, pod)
}

/// [REW-1, REW-2, REW-3, REW-4]: a row of each kind, the query untouched; what is no target changes
/// nothing; absolute-form targets are rewritten in origin form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rew_4_pods_see_the_rewritten_path() {
    let routes = [
        ("root", "/foo", "/"),
        ("bar", "/foo", "/bar"),
        ("bare", "", "/x"),
        ("slash", "/", "/x"),
        ("bad", "/foo", "bar"),
        ("comment", "/foo", "/bar # x"),
    ];
    let (edge, _pod) = rewriting(&routes, false).await;
    let mut client = edge.client().await;
    for (host, asked, seen) in [
        ("root", "/foo", "/"),
        ("root", "/foo/bar/?q=/foo", "/bar/?q=/foo"),
        ("bar", "/foo", "/bar"),
        ("bar", "/foo/%2Fx?q", "/bar/%2Fx?q"),
        ("bare", "/a", "/x/a"),
        ("slash", "/a", "/xa"),
        ("bad", "/foo/a", "/foo/a"),
        ("comment", "/foo/lost?q=1", "/bar%20?q=1"),
        ("root", "http://root.example.com/foo/abs?q", "/abs?q"),
    ] {
        let reply = client.get(&format!("{host}.example.com"), asked).await;
        assert_eq!((reply.status(), reply.text().as_str()), (200, seen), "{host} {asked}");
    }
    let mut client = Http2::over(edge.client().await.stream).await;
    let reply = client.get("http://bar.example.com/foo/h2?q").await.unwrap();
    assert_eq!(&reply.body[..], b"/bar/h2?q");
}

/// Row 24 of the quirk register, switched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rew_4_the_switch_keeps_the_slash() {
    let (edge, _pod) = rewriting(&[("slash", "/", "/x"), ("bar", "/foo", "/bar")], true).await;
    assert_eq!(edge.get("slash.example.com", "/a").await.text(), "/x/a");
    assert_eq!(edge.get("bar.example.com", "/foo/a").await.text(), "/bar/a");
}

/// [REW-7]: X-Forwarded fields come first and are not touched; a request that is tried again is
/// rewritten once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rew_7_a_repeated_request_is_rewritten_once() {
    let pod = Pod::start(|seen| match seen.connection {
        1 if seen.nth == 2 => crate::harness::pod::Act::Reset,
        _ => ok(seen.target()),
    })
    .await;
    let mut objects = service("a", &[pod.address]);
    objects.push(route("a", "a.example.com").with("/spec/path", "/b").annotated(TARGET, "/b/b"));
    let edge = Edge::with(&objects, |settings| settings.workers = 1).await;
    let mut client = edge.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("a.example.com", "/b/c").await.text(), "/b/b/c");
    }
    assert_eq!(pod.attempts(), 3, "the second request was sent twice");
}

/// Reason `rewrite_overflow`: a target that no client may send is sent to no pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rew_3_what_grows_too_long_is_refused() {
    let long = format!("/{}", "t".repeat(20_000));
    let (edge, pod) = rewriting(&[("long", "", &long)], false).await;
    let mut client = edge.client().await;
    assert_eq!(client.get("long.example.com", "/short").await.status(), 200);
    let asked = format!("/{}", "a".repeat(6_000));
    client.send(client::get("long.example.com", &asked)).await;
    assert_eq!(client.response().await.status(), 500);
    edge.has_reasons(&[("rewrite_overflow", 1)]).await;
    assert_eq!(pod.attempts(), 1);
    // HTTP/2 as well, and the connection stays.
    let mut client = Http2::over(edge.client().await.stream).await;
    let url = format!("http://long.example.com{asked}");
    let reply = client.send(Request::get(url).body(body("")).unwrap()).await.unwrap();
    assert_eq!(reply.status.as_u16(), 500);
    assert_eq!(client.get("http://long.example.com/").await.unwrap().status.as_u16(), 200);
}
