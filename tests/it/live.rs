//! Edits of the manifests while traffic flows: nothing is lost, nothing is closed, and every edit is
//! seen (R-01, R-09, R-10, R-12, R-13, decisions 2 to 5).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, edge as edge_route, route, service},
    pod::{Act, Pod, ok},
    router::Edge,
    tls::{self, hello, pair},
};

const HOST: &str = "a.example.com";

/// Keep-alive clients that ask until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    async fn start(edge: &Edge, clients: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let mut client = edge.client().await;
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    // One connection for all of it: a close would show as a status of 0.
                    let response = client.get(HOST, "/").await;
                    assert_eq!((response.status(), response.cut), (200, false), "{response:?}");
                    assert_eq!(response.header("connection"), None);
                    answered.fetch_add(1, SeqCst);
                }
            });
        }
        Self { stop, answered, tasks }
    }

    /// Ends the load; a failed client fails the test here.
    async fn finish(mut self) -> u64 {
        self.stop.store(true, SeqCst);
        while let Some(outcome) = self.tasks.join_next().await {
            outcome.expect("a client saw an error");
        }
        self.answered.load(SeqCst)
    }
}

/// 100 edits of endpoints and routes under load; no error, no closed connection, each edit
/// seen by a second client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_01_a_hundred_edits_under_load() {
    let pods = [Pod::saying("0").await, Pod::saying("1").await];
    let objects = |edit: usize| -> Vec<Value> {
        // Endpoints alternate between one pod, the other, and both; a second route moves along.
        let endpoints: Vec<_> = match edit % 3 {
            2 => pods.iter().map(|pod| pod.address).collect(),
            only => vec![pods[only].address],
        };
        let mut all = app(route("a", HOST), &endpoints);
        let moving = route("moving", "moving.example.com").with("/spec/to/name", "a");
        all.push(moving.with("/spec/path", format!("/edit-{edit}")));
        all
    };
    let edge = Edge::start(&objects(0)).await;
    let load = Load::start(&edge, 4).await;
    let mut second = edge.client().await;
    for edit in 1..=100 {
        edge.write("main.yaml", &objects(edit));
        eventually("the moved route", async || {
            let moved = second.get("moving.example.com", &format!("/edit-{edit}")).await;
            if moved.status() != 200 {
                // The page ended this connection.
                second = edge.client().await;
                return None;
            }
            Some(())
        })
        .await;
        let answer = second.get(HOST, "/").await;
        assert_eq!(answer.status(), 200);
        if edit % 3 != 2 {
            assert_eq!(answer.text(), (edit % 3).to_string(), "edit {edit}");
        }
    }
    assert!(load.finish().await > 100);
    let failures: Vec<_> =
        edge.reasons().into_iter().filter(|(reason, _)| *reason != "no_path").collect();
    assert_eq!(failures, []);
}

/// an endpoint that is taken out while it works finishes what it has, and gets nothing new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_removed_endpoint_finishes_its_request() {
    let permits = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&permits);
    let old = Pod::start(move |_| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold".to_vec();
        Act::After(Arc::clone(&gate), answer)
    })
    .await;
    let new = Pod::saying("new").await;
    let edge = Edge::start(&app(route("a", HOST), &[old.address])).await;
    let mut waiting = edge.client().await;
    waiting.send(crate::harness::client::get(HOST, "/")).await;
    eventually("the request at the pod", async || (old.attempts() == 1).then_some(())).await;
    edge.write("main.yaml", &app(route("a", HOST), &[new.address]));
    edge.until("the new snapshot", |snapshot| snapshot.generation > 1).await;
    for _ in 0..10 {
        assert_eq!(edge.get(HOST, "/").await.text(), "new");
    }
    permits.add_permits(1);
    assert_eq!(waiting.response().await.text(), "old");
    assert_eq!(waiting.get(HOST, "/").await.text(), "new");
    assert_eq!(old.attempts(), 1);
}

/// A tunnel outlives the route that made it (R-03, decisions 2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_03_a_tunnel_outlives_its_route() {
    let pod = Pod::start(|_| {
        Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut tunnel = edge.client().await;
    let upgrade =
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    tunnel.send(upgrade).await;
    assert_eq!(tunnel.response().await.status(), 101);
    edge.remove("main.yaml");
    edge.until("no routes", |snapshot| snapshot.routes.is_empty()).await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503);
    tunnel.send("still").await;
    assert_eq!(tunnel.bytes(5).await, b"still");
}

/// R-09, decisions 4: what no longer parses or validates keeps serving its last good version, with a
/// finding; other objects of the same edit take effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_09_the_last_good_version_of_each_object_serves() {
    let pod = Pod::saying("pod").await;
    let (good, other) = (pair("good"), pair("other"));
    let secure = edge_route("secure", "secure.example.com", Some(&good)).with("/spec/to/name", "a");
    let edge = Edge::start(&service("a", &[pod.address])).await;
    let plain = route("plain", "plain.example.com").with("/spec/to/name", "a");
    edge.write("secure.yaml", std::slice::from_ref(&secure));
    edge.write("plain.yaml", std::slice::from_ref(&plain));
    edge.until("both routes", |snapshot| snapshot.routes.len() == 2).await;
    let secure_answer = async || {
        let stream = tls::connect(edge.https, hello("secure.example.com")).await.unwrap();
        (tls::chain(&stream), tls::protocol(&stream))
    };
    let expected = (tls::certificates(&good.cert_pem), Some("h2".to_owned()));
    assert_eq!(secure_answer().await, expected);

    // A key that does not belong to the certificate; text that is not PEM; text that is not YAML.
    let mismatch = secure.clone().with("/spec/tls/key", other.key_pem.as_str());
    let not_pem = secure.clone().with("/spec/tls/certificate", "nonsense");
    let third = route("third", "third.example.com").with("/spec/to/name", "a");
    let edits = [
        crate::harness::manifest::text(&[mismatch, third.clone().with("/spec/path", "/1")]),
        crate::harness::manifest::text(&[not_pem, third.with("/spec/path", "/2")]),
        "kind: Route\napiVersion: route.openshift.io/v1\nmetadata: {name: secure, namespace: app\n"
            .to_owned(),
    ];
    for (edit, path) in edits.iter().zip(["/1", "/2", "/2"]) {
        let before = edge.router.live.load().generation;
        edge.write_text("secure.yaml", edit);
        edge.until("the edit and its finding", |snapshot| {
            snapshot.generation > before && !snapshot.findings.is_empty()
        })
        .await;
        assert_eq!(secure_answer().await, expected);
        assert_eq!(edge.get("plain.example.com", "/").await.text(), "pod");
        assert_eq!(edge.get("third.example.com", path).await.status(), 200, "{path}");
    }
    // Repaired: the new certificate serves.
    let repaired = edge_route("secure", "secure.example.com", Some(&other));
    edge.write("secure.yaml", &[repaired.with("/spec/to/name", "a")]);
    eventually("the repaired certificate", async || {
        (secure_answer().await.0 == tls::certificates(&other.cert_pem)).then_some(())
    })
    .await;
    edge.until("no findings", |snapshot| snapshot.findings.is_empty()).await;
}

/// counters and health state belong to identities and outlive snapshots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_12_counters_and_health_outlive_snapshots() {
    let (one, two) = (Pod::saying("one").await, Pod::saying("two").await);
    let edge = Edge::start(&app(route("a", HOST), &[one.address, two.address])).await;
    for _ in 0..10 {
        assert_eq!(edge.get(HOST, "/").await.status(), 200);
    }
    let requests = async |at_least: u64| {
        eventually("the counters", async || {
            Some(edge.count("a", |counters| &counters.requests)).filter(|count| *count >= at_least)
        })
        .await
    };
    assert_eq!(requests(10).await, 10);
    let mark = |up: bool| {
        edge.route("a", |state| {
            let backend = &state.compiled.as_ref().expect("served").backend;
            let label = one.address.to_string();
            let server = backend.servers.iter().find(|server| *server.label == *label);
            server.expect("both pods are there").peer.set_up(up);
        });
    };
    mark(false);
    let mut objects = app(route("a", HOST), &[one.address, two.address]);
    for edit in 0..5 {
        let generation = edge.router.live.load().generation;
        objects.push(route(&format!("more-{edit}"), &format!("more-{edit}.example.com")));
        edge.write("main.yaml", &objects);
        edge.until("the edit", |snapshot| snapshot.generation > generation).await;
        assert_eq!(edge.get(HOST, "/").await.text(), "two", "the other pod is still down");
    }
    assert_eq!(requests(15).await, 15);
    mark(true);
    eventually("the pod that is up again", async || {
        (edge.get(HOST, "/").await.text() == "one").then_some(())
    })
    .await;
}

/// R-13, [CLAIM-12], [CLAIM-15], [CLAIM-17]: the oldest claim wins, the second is rejected by name,
/// and takes over when the owner goes, without a gap.
/// [CLAIM-16]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_13_a_waiting_claim_takes_over_without_a_gap() {
    let (one, two) = (Pod::saying("one").await, Pod::saying("two").await);
    let namespace = |objects: Vec<Value>, namespace: &str, created: &str| -> Vec<Value> {
        let set = |object: Value| {
            let object = object.with("/metadata/namespace", namespace);
            let is_route = object["kind"] == "Route";
            if is_route { object.with("/metadata/creationTimestamp", created) } else { object }
        };
        objects.into_iter().map(set).collect()
    };
    let first = namespace(app(route("first", HOST), &[one.address]), "one", "2026-01-01T00:00:00Z");
    let later = namespace(app(route("later", HOST), &[two.address]), "two", "2026-01-02T00:00:00Z");
    let edge = Edge::start(&later).await;
    assert_eq!(edge.get(HOST, "/").await.text(), "two");
    edge.write("first.yaml", &first);
    eventually("the older claim", async || {
        (edge.get(HOST, "/").await.text() == "one").then_some(())
    })
    .await;
    let rejected = edge.route("later", |state| format!("{:?}", state.admission));
    assert!(rejected.contains("HostAlreadyClaimed"), "{rejected}");
    assert!(rejected.contains("another namespace holds a.example.com"), "{rejected}");

    let mut client: Client<_> = edge.client().await;
    edge.remove("first.yaml");
    eventually("the waiting claim", async || match client.get(HOST, "/").await.text().as_str() {
        "one" => None,
        "two" => Some(()),
        other => panic!("a gap: {other:?}"),
    })
    .await;
    assert!(edge.route("later", |state| state.compiled.is_some()));
}

/// One bad document takes nothing else down, and a folder that is taken away and put back
/// changes nothing (F-19).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_08_one_bad_document_loses_only_itself() {
    let pod = Pod::start(|seen| ok(seen.all("host")[0])).await;
    let edge = Edge::start(&service("a", &[pod.address])).await;
    let routes: Vec<Value> = (0..50)
        .map(|nth| {
            route(&format!("r{nth}"), &format!("r{nth}.example.com")).with("/spec/to/name", "a")
        })
        .collect();
    let mut text = crate::harness::manifest::text(&routes);
    text.push_str("---\nkind: Route\napiVersion: route.openshift.io/v1\nspec: [\n---\nspec: {\n");
    edge.write_text("many.yaml", &text);
    edge.until("fifty routes", |snapshot| snapshot.routes.len() == 50).await;
    for nth in 0..50 {
        let host = format!("r{nth}.example.com");
        assert_eq!(edge.get(&host, "/").await.text(), host);
    }
    edge.until("the finding", |snapshot| !snapshot.findings.is_empty()).await;
}

/// [PIPE-2, START-1]: ports that open with the first objects serve as others do, and refuse again once the
/// process has stopped accepting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipe_2_ports_that_open_late_serve_and_close() {
    let pod = Pod::start(|_| ok("here")).await;
    let objects = app(route("a", HOST), &[pod.address]);
    let edge = Edge::with(&objects, |settings| settings.bind_after_sync = true).await;
    assert_eq!(edge.get(HOST, "/").await.text(), "here");
    let (http, router) = (edge.http, edge.router);
    router.finish().await;
    let refused = TcpStream::connect(http).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// [RELOAD-1]: RELOAD_INTERVAL holds changes back; without it each is applied as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_1_the_interval_holds_changes_back() {
    let pod = Pod::saying("pod").await;
    let objects = |host: &str| app(route("a", host), &[pod.address]);
    let free = Edge::start(&objects("0.example.com")).await;
    let slowed = |interval| {
        let folder = free.file("");
        Edge::with(&[], move |settings| {
            settings.manifests = vec![folder];
            settings.reload_interval = std::time::Duration::from_secs(interval);
        })
    };
    let (held, paced) = (slowed(3600).await, slowed(1).await);
    let before = held.router.live.load().generation;
    for edit in ["1.example.com", "2.example.com", "3.example.com"] {
        free.write("main.yaml", &objects(edit));
        let served = |snapshot: &wharf::snapshot::Snapshot| {
            snapshot.routes.iter().any(|route| &*route.host == edit)
        };
        free.until("the change", served).await;
    }
    paced
        .until("the last change", |snapshot| {
            snapshot.routes.iter().any(|route| &*route.host == "3.example.com")
        })
        .await;
    assert_eq!(held.router.live.load().generation, before, "the interval is an hour");
}
