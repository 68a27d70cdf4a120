//! The spelling of header names towards HTTP/1 (spec/route.md 14.10), byte for byte.

use wharf::settings::RouterSettings;

use crate::harness::{
    client::{Client, get},
    manifest::{With as _, app, edge, route, with_all},
    pod::{Pod, Seen, raw},
    router::Edge,
};

const HOST: &str = "a.example.com";
const ANNOTATION: &str = "haproxy.router.openshift.io/h1-adjust-case";

fn spelled(settings: &mut RouterSettings) {
    let names = [
        "X-PoD",
        "Set-Cookie",
        "HOST",
        "X-Forwarded-FOR",
        "Content-Length",
        "Transfer-encoding",
        // What is more than a name to whoever reads a head.
        "CONNECTION",
        "UPGRADE",
        "EXPECT",
        "LOCATION",
    ];
    settings.headers.spelling = names.map(str::to_owned).to_vec();
}

fn names(headers: &[(String, String)]) -> Vec<&str> {
    headers.iter().map(|(name, _)| &**name).collect()
}

fn last(pod: &Pod) -> Seen {
    pod.seen().last().cloned().expect("a request")
}

/// [CASE-1] Responses always, requests where the route asks; what is not listed is lower case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_1_listed_names_are_spelled_as_listed() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\nX-POD: 1\r\nx-Other: 1\r\nset-cookie: a\r\nset-cookie: b\r\n\
             content-length: 2\r\n\r\nok")
    })
    .await;
    let objects = with_all([
        app(route("a", HOST).annotated(ANNOTATION, "true"), &[pod.address]),
        app(route("b", "b.example.com").annotated(ANNOTATION, "yes"), &[pod.address]),
    ]);
    let edge = Edge::with(&objects, spelled).await;
    let mut client = edge.client().await;
    for (host, adjusted) in [(HOST, true), ("b.example.com", false)] {
        // A second request goes over a connection that is kept, and may have to be sent again.
        for _ in 0..2 {
            client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: {host}\r\nx-pod: 1\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"
                ))
                .await;
            let answer = client.response().await;
            // Two of the pod, and the one that keeps the client there.
            let cookies = ["Set-Cookie"; 3];
            let expected = [&["X-PoD", "x-other"], &cookies[..], &["Content-Length"]].concat();
            assert_eq!(names(&answer.headers), expected);
            let seen = last(&pod);
            let seen = names(&seen.headers);
            let count = |name: &str| seen.iter().filter(|other| **other == name).count();
            let wanted = [("HOST", 1), ("X-PoD", 1), ("X-Forwarded-FOR", 2)];
            for (name, times) in wanted {
                let (yes, no) = if adjusted { (times, 0) } else { (0, times) };
                assert_eq!((count(name), count(&name.to_lowercase())), (yes, no), "{host} {name}");
            }
            assert_eq!(count("x-forwarded-host"), 1);
        }
    }
}

/// [CASE-1] However often a name stands in a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_1_every_line_of_a_name_is_spelled() {
    let pod = Pod::start(|seen| {
        let times = seen.target().trim_start_matches('/').parse().unwrap_or(0);
        raw(&format!(
            "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
            "x-pod: 1\r\n".repeat(times)
        ))
    })
    .await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), spelled).await;
    for times in [1, 2, 8, 9, 99] {
        let answer = edge.get(HOST, &format!("/{times}")).await;
        let spelled = names(&answer.headers).into_iter().filter(|name| *name == "X-PoD");
        assert_eq!(spelled.count(), times);
    }
}

/// [CASE-1] The router's own answers are responses, too; what hyper writes itself is spelled; HTTP/2 knows
/// no case, and without the setting nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_1_own_answers_are_spelled_too() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    })
    .await;
    let redirecting = edge("r", "r.example.com", None)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let objects =
        with_all([app(route("a", HOST), &[pod.address]), app(redirecting, &[pod.address])]);
    let bed = Edge::with(&objects, |settings| {
        spelled(settings);
        settings.headers.spelling.push("Cache-CONTROL".to_owned());
    })
    .await;
    let page = bed.get("none.example.com", "/").await;
    assert!(names(&page.headers).contains(&"Cache-CONTROL"), "{page:?}");
    let redirect = bed.get("r.example.com", "/").await;
    for name in ["Content-Length", "LOCATION"] {
        assert!(names(&redirect.headers).contains(&name), "{redirect:?}");
    }
    let mut client = Client::connect(bed.http).await;
    client.send(get(HOST, "/")).await;
    let chunked = client.response().await;
    assert_eq!(
        (names(&chunked.headers), chunked.text().as_str()),
        (vec!["Set-Cookie", "Transfer-encoding"], "ok")
    );
    let bed = Edge::start(&objects).await;
    let page = bed.get("none.example.com", "/").await;
    assert!(names(&page.headers).iter().all(|name| *name == name.to_lowercase()));
}
