//! `pod-concurrent-connections`: requests at once for each endpoint, and the line of those that wait
//! ([PODC-1], R-34, R-38).

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{net::TcpStream, sync::Semaphore};
use wharf::settings::RouterSettings;

use crate::harness::{
    client::{self, Client},
    eventually,
    manifest::{With as _, app, route},
    pod::{Act, Pod},
    router::Edge,
};

const HOST: &str = "a.example.com";
const OTHER: &str = "b.example.com";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A pod that answers each request once it gets a permit.
async fn slow() -> (Pod, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    (Pod::start(move |_| Act::After(Arc::clone(&given), OK.to_vec())).await, permits)
}

fn capped(cap: &str, pods: &[&Pod]) -> Vec<Value> {
    let route =
        route("a", HOST).annotated("haproxy.router.openshift.io/pod-concurrent-connections", cap);
    app(route, &pods.iter().map(|pod| pod.address).collect::<Vec<_>>())
}

fn patient_and_aborting(settings: &mut RouterSettings) {
    settings.timeouts.connect = LONG;
    settings.limits.abort_on_close = true;
}

/// Requests of route `a` that wait.
fn queued(edge: &Edge) -> usize {
    edge.route("a", |state| {
        let backend = &state.compiled.as_ref().expect("served").backend;
        let servers: i64 = backend.servers.iter().map(|server| server.stats.queued.load()).sum();
        assert_eq!(servers, backend.stats.queued.load());
        usize::try_from(servers).expect("no fewer than none")
    })
}

async fn until_queued(edge: &Edge, count: usize) {
    eventually("the line", async || (queued(edge) == count).then_some(())).await;
}

async fn until_seen(pod: &Pod, count: usize) {
    eventually("requests at the pod", async || (pod.attempts() == count).then_some(())).await;
}

/// Sends requests `/1`, `/2` and so on to route `a`, each on a connection of its own and once the one
/// before has reached a pod or the line.
async fn send(edge: &Edge, pods: &[&Pod], count: usize) -> Vec<Client<TcpStream>> {
    let mut clients = Vec::new();
    for nth in 1..=count {
        let mut client = edge.client().await;
        client.send(client::get(HOST, &format!("/{nth}"))).await;
        eventually("the request", async || {
            let at_pods: usize = pods.iter().map(|pod| pod.attempts()).sum();
            (at_pods + queued(edge) == nth).then_some(())
        })
        .await;
        clients.push(client);
    }
    clients
}

/// 100 slow requests at a cap of 10: exactly 10 are at the pod, over both workers, until the
/// last has been served, and the others get there in the order in which they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_34_as_many_as_allowed_are_in_flight_and_the_rest_go_first_in_first_out() {
    let (pod, permits) = slow().await;
    let edge = Edge::with(&capped("10", &[&pod]), |settings| {
        settings.timeouts.connect = LONG;
        settings.timeouts.server = LONG;
    })
    .await;
    let mut clients = send(&edge, &[&pod], 100).await;
    assert_eq!((pod.attempts(), queued(&edge)), (10, 90));
    for done in 1..=90 {
        permits.add_permits(1);
        until_seen(&pod, 10 + done).await;
        assert_eq!(queued(&edge), 90 - done);
    }
    permits.add_permits(10);
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    let order: Vec<String> = pod.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(order[10..], (11..=100).map(|nth| format!("/{nth}")).collect::<Vec<_>>());
    assert!(pod.connections() <= 20, "{} for 10 at once on two workers", pod.connections());
    let most = edge.route("a", |state| {
        state.compiled.as_ref().expect("served").backend.stats.most_queued.load()
    });
    assert_eq!(most, 90);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    edge.finish().await;
}

/// R-34, [PODC-1]: who waits longer than the queue timeout gets the 503 page; the pod never hears of
/// it, and what comes after the overload is served as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_34_a_wait_ends_with_the_queue_timeout_and_the_route_recovers() {
    let (pod, permits) = slow().await;
    let edge = Edge::with(&capped("1", &[&pod]), |settings| {
        settings.timeouts.connect = Duration::from_millis(300);
        settings.timeouts.server = LONG;
    })
    .await;
    let mut held = edge.client().await;
    held.send(client::get(HOST, "/held")).await;
    until_seen(&pod, 1).await;
    let mut late = Vec::new();
    for _ in 0..20 {
        let mut client = edge.client().await;
        client.send(client::get(HOST, "/late")).await;
        late.push(client);
    }
    for client in &mut late {
        let answer = client.response().await;
        assert_eq!(answer.status(), 503);
        assert!(answer.text().contains("Application is not available"));
    }
    edge.has_reasons(&[("queue_timeout", 20)]).await;
    assert_eq!((pod.attempts(), queued(&edge)), (1, 0));
    permits.add_permits(1);
    assert_eq!(held.response().await.status(), 200);
    permits.add_permits(10);
    for _ in 0..10 {
        assert_eq!(edge.get(HOST, "/after").await.status(), 200);
    }
    assert_eq!(pod.attempts(), 11);
    edge.finish().await;
}

/// The line has an end; whoever comes to a full one is told so at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_line_is_answered_with_503_queue_full() {
    let (pod, permits) = slow().await;
    let edge = Edge::with(&capped("1", &[&pod]), |settings| {
        settings.timeouts.connect = LONG;
        settings.max_queue = 2;
    })
    .await;
    let mut clients = send(&edge, &[&pod], 3).await;
    assert_eq!(edge.get(HOST, "/4").await.status(), 503);
    edge.has_reasons(&[("queue_full", 1)]).await;
    permits.add_permits(3);
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(pod.attempts(), 3);
    edge.finish().await;
}

/// A client that leaves gives its place up, in the line as at the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_frees_its_place() {
    let (pod, permits) = slow().await;
    let edge = Edge::with(&capped("1", &[&pod]), patient_and_aborting).await;
    let mut clients = send(&edge, &[&pod], 4).await;
    drop(clients.remove(1));
    until_queued(&edge, 2).await;
    // The one at the pod: its place goes to the next that still waits.
    drop(clients.remove(0));
    until_seen(&pod, 2).await;
    assert_eq!(queued(&edge), 1);
    permits.add_permits(3);
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    let order: Vec<String> = pod.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(order, ["/1", "/3", "/4"]);
    edge.has_reasons(&[("client_closed", 2)]).await;
    edge.finish().await;
}

/// Nobody waits while an endpoint has room, whatever the balancer would have chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_where_there_is_room() {
    for balance in ["roundrobin", "leastconn", "random"] {
        let (first, second) = (slow().await, slow().await);
        let pods = [&first.0, &second.0];
        let mut objects = capped("3", &pods);
        let route = objects.pop().expect("the route comes last");
        objects.push(route.annotated("haproxy.router.openshift.io/balance", balance));
        let edge = Edge::with(&objects, |settings| settings.timeouts.connect = LONG).await;
        let mut clients = send(&edge, &pods, 6).await;
        assert_eq!(pods.map(|pod| pod.attempts()), [3, 3], "{balance}");
        first.1.add_permits(6);
        second.1.add_permits(6);
        for client in &mut clients {
            assert_eq!(client.response().await.status(), 200, "{balance}");
        }
        edge.finish().await;
    }
}

/// With `source` a client stays with its endpoint, and waits there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balance_source_waits_for_its_own_endpoint() {
    let (first, second) = (slow().await, slow().await);
    let pods = [&first.0, &second.0];
    let mut objects = capped("1", &pods);
    let route = objects.pop().expect("the route comes last");
    objects.push(route.annotated("haproxy.router.openshift.io/balance", "source"));
    let edge = Edge::with(&objects, patient_and_aborting).await;
    let clients = send(&edge, &pods, 3).await;
    let mut attempts = pods.map(|pod| pod.attempts());
    attempts.sort_unstable();
    assert_eq!((attempts, queued(&edge)), ([0, 1], 2));
    drop(clients);
    edge.finish().await;
}

/// A new value of the annotation counts at once: for those who wait, and for those who come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cap_counts_what_runs_and_lets_the_line_in() {
    let (pod, permits) = slow().await;
    let edge = Edge::with(&capped("1", &[&pod]), |settings| settings.timeouts.connect = LONG).await;
    let mut clients = send(&edge, &[&pod], 5).await;
    assert_eq!((pod.attempts(), queued(&edge)), (1, 4));
    edge.write("main.yaml", &capped("3", &[&pod]));
    until_seen(&pod, 3).await;
    assert_eq!(queued(&edge), 2);
    // Without the annotation nothing waits; those in the line go on as those before them end.
    edge.write("main.yaml", &capped("0", &[&pod]));
    edge.until("no cap", |snapshot| {
        let compiled = snapshot.routes[0].compiled.as_ref();
        compiled.is_some_and(|route| route.backend.servers[0].gate.is_none())
    })
    .await;
    let mut free = edge.client().await;
    free.send(client::get(HOST, "/free")).await;
    until_seen(&pod, 4).await;
    permits.add_permits(6);
    assert_eq!(free.response().await.status(), 200);
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(queued(&edge), 0);
    edge.finish().await;
}

/// a saturated route takes nothing from another one on the same connections, workers and pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_38_a_saturated_route_leaves_the_others_alone() {
    let (pod, permits) = slow().await;
    let quick = Pod::saying("quick").await;
    let mut objects = capped("2", &[&pod]);
    objects.extend(app(route("b", OTHER), &[quick.address]));
    let edge = Edge::with(&objects, |settings| settings.timeouts.connect = LONG).await;
    let mut saturating = send(&edge, &[&pod], 60).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(edge.client().await);
    }
    for _ in 0..25 {
        for client in &mut others {
            assert_eq!(client.get(OTHER, "/").await.status(), 200);
        }
    }
    assert_eq!((quick.attempts(), pod.attempts(), queued(&edge)), (200, 2, 58));
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    permits.add_permits(60);
    for client in &mut saturating {
        assert_eq!(client.response().await.status(), 200);
    }
    edge.finish().await;
}
