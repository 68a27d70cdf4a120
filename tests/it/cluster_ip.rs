//! A router that dials cluster IPs, with the user-space proxy behind them (spec/l4-dns.md B.6).

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use wharf::{
    model::{
        objects::{ObjectKey, Objects, Stored},
        service::Service,
        slice::EndpointSlice,
    },
    services::{Node, build::build, schedulers::Kind},
    settings::upstream::UpstreamMode,
    vip::{VipOptions, Vips},
};

use crate::harness::{
    client::{Client, Response},
    manifest::{With as _, app, reencrypt, route, service},
    pod::{Act, Pod, Refusing},
    router::Edge,
    tls,
    tlspod::TlsPod,
    within,
};

const HOST: &str = "a.example.com";
const MAP: &str = "172.30.0.0/16=127.96.0.0/16";

/// A 200 whose connection ends with it, so that each request is a connection, which is what is shared
/// behind a cluster IP.
fn last(body: &str) -> Act {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    Act::Last((head + body).into_bytes())
}

/// These objects, with the address 172.30.1.`last` of the Service and a port that is free there.
fn with_vip(objects: Vec<Value>, last: u8) -> Vec<Value> {
    let any = SocketAddr::from(([127, 96, 1, last], 0));
    let place = std::net::TcpListener::bind(any).expect("all of 127/8 is here");
    let port = place.local_addr().expect("it is bound").port();
    let vip = format!("172.30.1.{last}");
    let change = |object: Value| match object["kind"] == "Service" {
        true => object.with("/spec/clusterIP", vip.clone()).with("/spec/ports/0/port", port),
        false => object,
    };
    objects.into_iter().map(change).collect()
}

fn stored<T: DeserializeOwned>(objects: &[Value], kind: &str) -> Vec<std::sync::Arc<Stored<T>>> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let stored = of_kind.map(|object| {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let typed = serde_json::from_value(object.clone()).expect("its kind");
        Stored::in_memory(ObjectKey::new("app", name), typed, "test").into()
    });
    stored.collect()
}

/// What `wharf proxy --vip-map` does with these objects.
async fn proxy(objects: &[Value]) -> Vips {
    let mut vips = Vips::new(VipOptions {
        node: Node { name: "here".into(), zone: "a".into() },
        scheduler: Kind::Rr,
        maps: vec![MAP.parse().expect("a map")],
        node_addresses: Vec::new(),
        cluster: Vec::new(),
        connections: 1000,
        totals: std::sync::Arc::default(),
    });
    let objects = Objects {
        services: stored::<Service>(objects, "Service"),
        slices: stored::<EndpointSlice>(objects, "EndpointSlice"),
        ..Objects::default()
    };
    let services: Vec<_> = build(&objects).into_iter().map(Into::into).collect();
    let applied = within("the listeners", vips.apply(&services)).await;
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    vips
}

async fn router(objects: &[Value]) -> Edge {
    Edge::with(objects, |settings| {
        settings.upstream.mode = UpstreamMode::ClusterIp;
        settings.upstream.vip_map = vec![MAP.parse().expect("a map")];
    })
    .await
}

async fn details(edge: &Edge) -> Value {
    let mut admin = Client::connect(edge.admin).await;
    let answer = admin.get("localhost", "/api/v1/details?name=a").await;
    serde_json::from_str::<Value>(&answer.text()).expect("JSON")[0]["wharf"].clone()
}

/// [SVC-01]: the router dials the address of the Service, and the proxy there gives each pod its
/// turn; the cookie, which stands for the Service, keeps nobody with a pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn svc_1_four_hundred_requests_reach_all_pods_through_the_cluster_ip() {
    let mut pods = Vec::new();
    for letter in ["a", "b", "c", "d"] {
        pods.push(Pod::start(move |_| last(letter)).await);
    }
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    let objects = with_vip(app(route("a", HOST), &addresses), 1);
    let _proxy = proxy(&objects).await;
    let edge = router(&objects).await;
    let mut client = edge.client().await;
    let mut cookie = String::new();
    for _ in 0..400 {
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n")).await;
        let answer: Response = client.response().await;
        assert_eq!(answer.status(), 200);
        if let Some((_, set)) = answer.headers.iter().find(|(name, _)| name == "set-cookie") {
            let (pair, _) = set.split_once(';').expect("attributes");
            cookie = format!("Cookie: {pair}\r\n");
        }
    }
    assert!(!cookie.is_empty());
    let counts: Vec<usize> = pods.iter().map(|pod| pod.attempts()).collect();
    assert_eq!(counts, [100, 100, 100, 100]);
    let known = details(&edge).await;
    assert_eq!(known["served"]["upstream"], "cluster-ip");
    let [server] = &known["served"]["endpoints"].as_array().expect("a list")[..] else {
        panic!("{known}")
    };
    assert!(server["address"].as_str().is_some_and(|address| address.starts_with("127.96.1.1:")));
    assert_eq!(server["cluster_ip"], true);
    edge.finish().await;
}

/// A Service without an address is served as ever, and the Route says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_headless_service_is_dialled_at_its_endpoints() {
    let pod = Pod::start(|_| last("a")).await;
    let edge = router(&app(route("a", HOST), &[pod.address])).await;
    assert_eq!(edge.get(HOST, "/").await.text(), "a");
    let known = details(&edge).await;
    assert_eq!(known["served"]["upstream"], "endpoints");
    assert!(known["findings"].to_string().contains("WH2160"), "{known}");
    edge.finish().await;
}

/// Whoever answers at a cluster IP, its failures are held against no one: of two Services that nobody
/// serves neither is ejected, though one could be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_ip_is_never_ejected() {
    let pod = Refusing::bound();
    let both = route("a", HOST)
        .with("/spec/alternateBackends", serde_json::json!([{"kind": "Service", "name": "b"}]));
    let mut objects = with_vip(app(both, &[pod.address]), 2);
    objects.extend(with_vip(service("b", &[pod.address]), 5));
    let edge = Edge::with(&objects, |settings| {
        settings.upstream.mode = UpstreamMode::ClusterIp;
        settings.upstream.vip_map = vec![MAP.parse().expect("a map")];
        settings.health.ejection.failures = 1;
    })
    .await;
    for _ in 0..4 {
        assert_eq!(edge.get(HOST, "/").await.status(), 503);
    }
    edge.route("a", |state| {
        let servers = &state.compiled.as_ref().expect("it is served").backend.servers;
        assert_eq!(servers.len(), 2);
        assert!(servers.iter().all(|server| server.cluster_ip && !server.peer.is_ejected()));
    });
    assert_eq!(edge.router.stats.workers.sum(|cell| &cell.ejections), 0);
    edge.finish().await;
}

/// [REENC-2]: pods behind a cluster IP must show the name of the Service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_2_the_certificate_names_the_service_and_not_the_address() {
    let authority = tls::authority("pods");
    for (number, name, expected) in [(3, "a.app.svc", 200), (4, "b.app.svc", 503)] {
        let config = tls::server(&tls::leaf(&authority, name), &["http/1.1"]);
        let pod = TlsPod::telling(config).await;
        let route =
            reencrypt("a", HOST, None).with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
        let objects = with_vip(app(route, &[pod.address]), number);
        let _proxy = proxy(&objects).await;
        let ca = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(ca.path(), &authority.pair().cert_pem).expect("it is writable");
        let edge = Edge::with(&objects, |settings| {
            settings.upstream.mode = UpstreamMode::ClusterIp;
            settings.upstream.vip_map = vec![MAP.parse().expect("a map")];
            settings.destination_ca = Some(ca.path().to_owned());
        })
        .await;
        assert_eq!(edge.get(HOST, "/").await.status(), expected, "{name}");
        edge.finish().await;
    }
}
