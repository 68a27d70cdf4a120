//! Which endpoint gets a request, while endpoints come, go and are checked (spec/route.md 15,
//! What counts is what the pods saw.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use wharf::settings::RouterSettings;

use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, route, service, slice},
    pod::{Act, BlackHole, Pod, Refusing},
    router::Edge,
};

const HOST: &str = "a.example.com";
const BALANCE: &str = "haproxy.router.openshift.io/balance";
const CHECK_INTERVAL: &str = "router.openshift.io/haproxy.health.check.interval";

fn by(algorithm: &str) -> Value {
    route("a", HOST).annotated(BALANCE, algorithm)
}

fn addresses(pods: &[Pod]) -> Vec<SocketAddr> {
    pods.iter().map(|pod| pod.address).collect()
}

async fn pods(count: usize) -> Vec<Pod> {
    let mut pods = Vec::new();
    for _ in 0..count {
        pods.push(Pod::saying("pod").await);
    }
    pods
}

fn attempts(pods: &[Pod]) -> Vec<usize> {
    pods.iter().map(|pod| pod.attempts()).collect()
}

/// One worker, so that turns are exact.
async fn edge(objects: &[Value], change: impl FnOnce(&mut RouterSettings)) -> Edge {
    Edge::with(objects, |settings| {
        settings.workers = 1;
        change(settings);
    })
    .await
}

/// Waits until route `a` has `count` servers.
async fn has_servers(edge: &Edge, count: usize) {
    edge.until("the servers", |snapshot| {
        let compiled = snapshot.routes.iter().find_map(|route| route.compiled.as_ref());
        compiled.is_some_and(|route| route.backend.servers.len() == count)
    })
    .await;
}

/// R-46, [LB-2]: round robin over connections and requests, each in its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_46_round_robin_takes_turns() {
    let pods = pods(4).await;
    let edge = edge(&app(by("roundrobin"), &addresses(&pods)), |_| {}).await;
    let mut client = edge.client().await;
    for _ in 0..20 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        assert_eq!(edge.get(HOST, "/").await.status(), 200);
    }
    assert_eq!(attempts(&pods), [10; 4]);
}

/// R-46, [LB-2]: a client stays with its pod, the others with theirs. `random` uses all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_46_source_keeps_and_random_spreads() {
    for (algorithm, used) in [("source", 1), ("random", 4)] {
        let pods = pods(4).await;
        let edge = edge(&app(by(algorithm), &addresses(&pods)), |_| {}).await;
        let mut client = edge.client().await;
        for _ in 0..100 {
            assert_eq!(client.get(HOST, "/").await.status(), 200);
        }
        let busy = attempts(&pods).into_iter().filter(|count| *count > 0).count();
        assert_eq!(busy, used, "{algorithm}: {:?}", attempts(&pods));
    }
}

/// R-46, [LB-2]: least connections passes a pod by while it is busy; equals take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_46_leastconn_goes_where_least_runs() {
    let script = |seen: &crate::harness::pod::Seen| match seen.target() {
        "/stay" => Act::Stall(Vec::new()),
        _ => crate::harness::pod::ok("pod"),
    };
    let mut pods = Vec::new();
    for _ in 0..3 {
        pods.push(Pod::start(script).await);
    }
    let edge = edge(&app(by("leastconn"), &addresses(&pods)), |_| {}).await;
    let mut waiting = edge.client().await;
    waiting.send(crate::harness::client::get(HOST, "/stay")).await;
    let busy = eventually("a busy pod", async || pods.iter().position(|pod| pod.attempts() == 1));
    let busy = busy.await;
    let mut client = edge.client().await;
    for _ in 0..20 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    let mut expected = vec![10; 3];
    expected[busy] = 1;
    assert_eq!(attempts(&pods), expected);
}

/// R-11, [W-3, W-5]: 90 to 10 comes out as 256 to 28 in each cycle; weight 0 gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_11_weights_are_shares_of_requests() {
    let pods = pods(3).await;
    let mut objects = app(route("a", HOST).with("/spec/to/weight", 90), &[pods[0].address]);
    objects.extend(service("b", &[pods[1].address]));
    objects.extend(service("c", &[pods[2].address]));
    let others = json!([
        {"kind": "Service", "name": "b", "weight": 10},
        {"kind": "Service", "name": "c", "weight": 0},
    ]);
    let objects: Vec<Value> = objects
        .into_iter()
        .map(|it| match it["kind"] == "Route" {
            true => it.with("/spec/alternateBackends", others.clone()),
            false => it,
        })
        .collect();
    let edge = edge(&objects, |_| {}).await;
    let mut client = edge.client().await;
    for _ in 0..2 * (256 + 28) / 4 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    // Both weights are divided by four: a cycle is 71 long.
    assert_eq!(attempts(&pods), [128, 14, 0]);
}

/// the idle connections to an endpoint that is taken out are closed; the others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_a_removed_endpoint_loses_its_idle_connections() {
    let pods = pods(2).await;
    let edge = edge(&app(by("roundrobin"), &addresses(&pods)), |settings| {
        settings.timeouts.pool_idle = Duration::from_secs(3600);
    })
    .await;
    let mut client = edge.client().await;
    for _ in 0..4 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    assert!(pods.iter().all(|pod| pod.open() > 0), "idle connections to both");
    edge.write("main.yaml", &app(by("roundrobin"), &[pods[1].address]));
    has_servers(&edge, 1).await;
    for _ in 0..4 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    eventually("its connection to end", async || (pods[0].open() == 0).then_some(())).await;
    assert_eq!(attempts(&pods), [2, 6]);
    assert!(pods[1].open() > 0);
}

/// Every counter of OpenShift's names, by its series.
async fn counters(edge: &Edge) -> BTreeMap<String, f64> {
    let text = Client::connect(edge.admin).await.get("localhost", "/metrics").await.text();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| line.rsplit_once(' '));
    let is_counter = |name: &str| {
        name.split('{').next().is_some_and(|name| name.ends_with("_total"))
            && !name.contains("more.example")
    };
    rows.filter(|(name, _)| is_counter(name))
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

/// over a hundred changes under load no series is lost and none goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_12_no_counter_is_lost_or_goes_back() {
    let pods = pods(2).await;
    let objects = app(by("roundrobin"), &addresses(&pods));
    let edge = edge(&objects, |_| {}).await;
    let mut client = edge.client().await;
    let mut before = counters(&edge).await;
    assert!(before.keys().any(|name| name.starts_with("haproxy_server_connections_total{")));
    for edit in 0..100 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        let generation = edge.router.live.load().generation;
        // Endpoints in another order, and routes and Services that come and go.
        let mut objects = objects.clone();
        objects.rotate_left(edit % 3);
        if edit % 2 == 0 {
            objects.extend(app(route("more", "more.example.com"), &[pods[0].address]));
        }
        objects.push(route("path", "p.example.com").with("/spec/path", format!("/{edit}")));
        edge.write("main.yaml", &objects);
        edge.until("the edit", |snapshot| snapshot.generation > generation).await;
        let now = counters(&edge).await;
        let of_route = |name: &str| !name.contains("route=") || name.contains("route=\"a\"");
        for (name, count) in before.iter().filter(|(name, _)| of_route(name)) {
            let later = now.get(name).unwrap_or_else(|| panic!("{name} is lost"));
            assert!(later >= count, "{name}: {count} {later}");
        }
        before = now;
    }
    eventually("the last request to be counted", async || {
        (edge.count("a", |counters| &counters.requests) == 100).then_some(())
    })
    .await;
    assert_eq!(attempts(&pods), [50, 50], "turns go on from snapshot to snapshot");
}

fn conditions(slice: Value, ready: bool, serving: bool, terminating: bool) -> Value {
    let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
    slice.with("/endpoints/0/conditions", conditions)
}

/// all endpoints turn unready at once and ready again: the page, with its reason, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_42_all_endpoints_unready_at_once() {
    let pods = pods(3).await;
    let objects = |ready: bool| -> Vec<Value> {
        let mut all = app(by("roundrobin"), &[]);
        all.extend(
            pods.iter()
                .enumerate()
                .map(|(nth, pod)| conditions(slice("a", nth, pod.address), ready, ready, false)),
        );
        all
    };
    let edge = edge(&objects(true), |_| {}).await;
    for round in 1..=3_usize {
        let mut client = edge.client().await;
        for _ in 0..3 {
            assert_eq!(client.get(HOST, "/").await.status(), 200);
        }
        edge.write("main.yaml", &objects(false));
        has_servers(&edge, 0).await;
        assert_eq!(client.get(HOST, "/").await.status(), 503);
        edge.has_reasons(&[("no_endpoints", round as u64)]).await;
        edge.write("main.yaml", &objects(true));
        has_servers(&edge, 3).await;
        assert_eq!(attempts(&pods).iter().sum::<usize>(), 3 * round);
    }
}

/// R-43, [EP-1] with row 32: what still serves while it terminates is used only if nothing is ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_43_terminating_endpoints_are_the_last_resort() {
    let pods = pods(2).await;
    let objects = |ready: bool, serving: bool| -> Vec<Value> {
        let mut all = app(by("roundrobin"), &[]);
        all.push(conditions(slice("a", 0, pods[0].address), ready, ready, false));
        all.push(conditions(slice("a", 1, pods[1].address), false, serving, true));
        all
    };
    let edge = edge(&objects(true, true), |_| {}).await;
    for (ready, serving, expected) in [
        (true, true, Some(0)),
        (false, true, Some(1)),
        (false, false, None),
        (true, false, Some(0)),
    ] {
        let generation = edge.router.live.load().generation;
        edge.write("main.yaml", &objects(ready, serving));
        edge.write("more.yaml", &[route("more", &format!("g{generation}.example.com"))]);
        edge.until("the change", |snapshot| {
            let compiled = snapshot.routes.iter().find(|it| &*it.source.key.name == "a");
            let servers =
                compiled.and_then(|it| it.compiled.as_ref()).map(|it| &it.backend.servers);
            let label = expected.map(|nth: usize| pods[nth].address.to_string());
            servers.is_some_and(|it| it.first().map(|it| it.label.to_string()) == label)
        })
        .await;
        let before = attempts(&pods);
        for _ in 0..4 {
            let status = edge.get(HOST, "/").await.status();
            assert_eq!(status, if expected.is_some() { 200 } else { 503 });
        }
        let got: Vec<usize> =
            attempts(&pods).iter().zip(before).map(|(now, it)| now - it).collect();
        let want: Vec<usize> =
            (0..2).map(|nth| if Some(nth) == expected { 4 } else { 0 }).collect();
        assert_eq!(got, want, "{ready} {serving}");
    }
}

/// [HC-2, HC-3]: at the interval that the route asks for; with all endpoints down the page comes at
/// once, without a try, and they come back by checks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hc_3_all_endpoints_down_give_the_page_without_a_try() {
    let refusing = [Refusing::bound(), Refusing::bound()];
    let route = by("roundrobin").annotated(CHECK_INTERVAL, "100ms");
    let objects = app(route, &refusing.iter().map(|it| it.address).collect::<Vec<_>>());
    let edge = edge(&objects, |_| {}).await;
    let up = async || edge.series("haproxy_server_up").await;
    eventually("both to be down", async || (up().await == 0).then_some(())).await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503);
    edge.has_reasons(&[("all_unhealthy", 1)]).await;
    assert_eq!(edge.count("a", |counters| &counters.connection_errors), 0);
    let repaired = refusing.map(|it| it.repaired("back"));
    eventually("both to be up", async || (up().await == 2).then_some(())).await;
    for _ in 0..4 {
        assert_eq!(edge.get(HOST, "/").await.status(), 200);
    }
    assert_eq!(attempts(&repaired), [2, 2]);
}

/// [HC-1]: an idled Service beside another one is not checked, and the other one's endpoints are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hc_1_only_the_idled_service_goes_unchecked() {
    let (refusing, asleep) = (Refusing::bound(), Refusing::bound());
    let route = by("roundrobin")
        .annotated(CHECK_INTERVAL, "100ms")
        .with("/spec/alternateBackends", json!([{"kind": "Service", "name": "idle", "weight": 1}]))
        .with("/spec/to/weight", 1);
    let mut objects = app(route, &[refusing.address]);
    objects.push(idled("idle", asleep.address));
    let edge = edge(&objects, |_| {}).await;
    let up = |label: SocketAddr| {
        edge.route("a", |state| {
            let backend = &state.compiled.as_ref().expect("served").backend;
            let server = backend.servers.iter().position(|it| *it.label == *label.to_string());
            let server = server.expect("it is there");
            (backend.is_up(server), backend.servers[server].checked)
        })
    };
    eventually("the endpoint to be down", async || {
        (up(refusing.address) == (false, true)).then_some(())
    })
    .await;
    assert_eq!(up(asleep.address), (true, false));
    let woken = asleep.repaired("awake");
    assert_eq!(edge.get(HOST, "/").await.text(), "awake");
    assert_eq!(woken.connections(), 1, "no check has come there");
}

/// An idled Service with this virtual address and port.
fn idled(name: &str, address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "app",
            "annotations": {"idling.alpha.openshift.io/idled-at": "2026-01-01T00:00:00Z"},
        },
        "spec": {
            "clusterIP": address.ip().to_string(),
            "ports": [{"name": "http", "port": address.port()}],
        },
    })
}

/// [IDLE-1]: the request waits for the Service to wake: four times the connect timeout, and then the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_1_a_request_waits_for_four_connect_timeouts() {
    let hole = BlackHole::start();
    let objects = [idled("a", hole.address), route("a", HOST)];
    let asleep = edge(&objects, |settings| {
        settings.timeouts.connect = Duration::from_millis(20);
    })
    .await;
    assert_eq!(asleep.get(HOST, "/").await.status(), 503);
    asleep.has_reasons(&[("connect_timeout", 1)]).await;
    assert_eq!(asleep.count("a", |counters| &counters.connection_errors), 4);

    // It wakes between two tries.
    let sleeping = Refusing::bound();
    let objects = [idled("a", sleeping.address), route("a", HOST)];
    let edge = edge(&objects, |settings| {
        settings.timeouts.connect = Duration::from_millis(500);
    })
    .await;
    let mut client = edge.client().await;
    client.send(crate::harness::client::get(HOST, "/")).await;
    let failed = || edge.count("a", |counters| &counters.connection_errors);
    eventually("a try in vain", async || (failed() > 0).then_some(())).await;
    let awake = sleeping.repaired("awake");
    assert_eq!(client.response().await.text(), "awake");
    assert_eq!(awake.attempts(), 1);
}

/// with slow start on, an endpoint that appears under load begins with nothing; without, it has
/// its turn at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_67_a_newcomer_begins_with_nothing() {
    for slow in [true, false] {
        let pods = pods(3).await;
        let objects = |count: usize| app(by("roundrobin"), &addresses(&pods)[..count]);
        let edge = edge(&objects(2), |settings| {
            let length = if slow { Duration::from_secs(1 << 22) } else { Duration::ZERO };
            settings.health.slow_start = length;
        })
        .await;
        let mut client = edge.client().await;
        for _ in 0..10 {
            assert_eq!(client.get(HOST, "/").await.status(), 200);
        }
        assert_eq!(attempts(&pods), [5, 5, 0], "no slow start when the router starts");
        edge.write("main.yaml", &objects(3));
        has_servers(&edge, 3).await;
        for _ in 0..30 {
            assert_eq!(client.get(HOST, "/").await.status(), 200);
        }
        assert_eq!(attempts(&pods), if slow { [20, 20, 0] } else { [15, 15, 10] });
    }
}
