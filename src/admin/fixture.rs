//! A small snapshot for the tests of the surface.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    balance::{Algorithm, Balancer},
    model::{
        objects::{ObjectKey, Stored},
        route::{InsecurePolicy, Route, RouteTarget, RouteTls, Termination},
        status::{
            Admission, RejectReason,
            ingress::{self, Report, RouteStatus, Upgrade},
        },
    },
    routing::{
        sni::SniTable,
        table::{Entry, PlainRule, Ports, RouteTable},
    },
    snapshot::{
        Backend, CompiledRoute, ForwardedPolicy, HeaderPolicy, RoutePolicy, RouteState, Server,
        Snapshot,
    },
    stats::UpstreamStats,
    tls::store::CertStore,
    upstream::peer::{Peer, PeerKey, Protocol},
    zone::Zone,
};

/// 2026-08-04T12:30:00Z
const BUILT_AT: i64 = 1_785_846_600;

fn server(address: &str, pod: &str, weight: u16) -> Server {
    let key = PeerKey {
        address: address.parse().unwrap(),
        protocol: Protocol::Http1,
        tls: None,
        pod: pod.into(),
    };
    Server {
        peer: Arc::new(Peer::new(key)),
        weight,
        service: "web".into(),
        pod: pod.into(),
        label: address.into(),
        stats: Arc::new(UpstreamStats::new(2)),
        checked: true,
        gate: None,
        cluster_ip: false,
    }
}

fn route(name: &str, path: &str, alternate: Option<(&str, i32)>) -> Arc<Stored<Route>> {
    let mut object = Route::default();
    object.spec.host = "shop.example.com".to_owned();
    object.spec.path = path.to_owned();
    object.metadata.name = Some(name.to_owned());
    object.metadata.namespace = Some("shop".to_owned());
    let labels = [("app", "shop"), ("tier", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    object.metadata.labels = (name == "web").then(|| labels.into());
    object.spec.wildcard_policy = "None".to_owned();
    object.spec.to = RouteTarget { name: "web".to_owned(), weight: Some(90), ..Default::default() };
    object.spec.alternate_backends = alternate
        .map(|(name, weight)| RouteTarget {
            name: name.to_owned(),
            weight: Some(weight),
            ..Default::default()
        })
        .into_iter()
        .collect();
    object.spec.tls = Some(RouteTls {
        termination: "edge".to_owned(),
        insecure_edge_termination_policy: "Redirect".to_owned(),
        key: "-----BEGIN CANARY-----".to_owned(),
        ..Default::default()
    });
    Arc::new(Stored::in_memory(ObjectKey::new("shop", name), object, "routes/shop.yaml"))
}

/// Route `shop/web` is admitted and has two endpoints; `shop/web-late` lost its host.
pub(crate) fn snapshot() -> Snapshot {
    let source = route("web", "/cart", Some(("web-v3", 10)));
    let compiled = Arc::new(CompiledRoute {
        key: source.key.clone(),
        host: "shop.example.com".into(),
        wildcard: false,
        path: "/cart".into(),
        termination: Termination::Edge,
        insecure: InsecurePolicy::Redirect,
        policy: RoutePolicy {
            server_timeout: Duration::from_secs(30),
            tunnel_timeout: Duration::from_secs(3600),
            forwarded: ForwardedPolicy::Append,
            allow: None,
            headers: HeaderPolicy::default(),
            rewrite: None,
        },
        rated: None,
        backend: Arc::new(Backend {
            name: "be_edge_http:shop:web".into(),
            servers: Box::new([
                server("10.1.0.4:8080", "web-1", 256),
                server("10.1.0.5:8080", "web-2", 256),
            ]),
            balancer: Balancer::new(Algorithm::Random, &[256, 256], Arc::default()),
            sticky: None,
            stats: Arc::new(UpstreamStats::new(2)),
        }),
    });
    let entry = Entry {
        host: compiled.host.clone(),
        wildcard: false,
        path: compiled.path.clone(),
        ports: Ports { plain: PlainRule::Redirect, secure: true },
        age_rank: 0,
        value: compiled.clone(),
    };
    Snapshot {
        generation: 4,
        built_at: SystemTime::UNIX_EPOCH + Duration::from_secs(BUILT_AT.unsigned_abs()),
        table: RouteTable::build(vec![entry]),
        certs: CertStore::default(),
        passthrough: SniTable::default(),
        zone: Arc::new(Zone { domain: "cluster.local".into(), ..Zone::default() }),
        routes: vec![
            state(source, Admission::Admitted, Some(compiled)),
            state(
                route("web-late", "/cart", None),
                Admission::Rejected {
                    reason: RejectReason::HostAlreadyClaimed,
                    message: "route web already exposes shop.example.com".to_owned(),
                },
                None,
            ),
        ],
        ingresses: Vec::new(),
        rated: Vec::new(),
        checked: Vec::new(),
        pages: Arc::default(),
        findings: Vec::new(),
    }
}

/// A route of [`snapshot`] with the status that compile would give it.
pub(crate) fn state(
    source: Arc<Stored<Route>>,
    admission: Admission,
    compiled: Option<Arc<CompiledRoute>>,
) -> RouteState {
    let report = Report {
        router_name: "default",
        canonical_hostname: "",
        host: &source.object.spec.host,
        wildcard_policy: &source.object.spec.wildcard_policy,
        admission: &admission,
        upgrade: Upgrade::Clear,
        annotations: "",
    };
    let now = Timestamp::from_second(BUILT_AT).unwrap();
    let status = ingress::next(&Arc::new(RouteStatus::default()), &report, now);
    let host = source.object.spec.host.as_str().into();
    RouteState { source, host, admission, status, compiled }
}

/// A table without routes.
pub(crate) fn empty_table() -> RouteTable<Arc<CompiledRoute>> {
    RouteTable::default()
}
