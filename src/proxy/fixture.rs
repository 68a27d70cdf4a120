//! A connection and a route for the tests of single steps.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tokio::sync::Semaphore;

use super::{entry::Open, record::Frontend, serve::Connection, stats::RouterStats, worker::Worker};
use crate::{
    balance::{Algorithm, Balancer},
    drain::Drain,
    headers::ForwardedPolicy,
    model::{
        objects::ObjectKey,
        route::{InsecurePolicy, Termination},
    },
    net::timed::PhaseCell,
    routing::{sni::SniTable, table::RouteTable},
    snapshot::{Backend, CompiledRoute, HeaderPolicy, Live, RoutePolicy, Server, Snapshot},
    stats::UpstreamStats,
    tls::store::CertStore,
    upstream::{
        gate::Gate,
        peer::{Peer, PeerKey, Protocol},
    },
};

/// A connection of a worker of its own.
pub(super) fn connection(http2: bool) -> Rc<Connection> {
    let live = Arc::new(Live::from_pointee(Snapshot {
        generation: 0,
        built_at: UNIX_EPOCH,
        table: RouteTable::default(),
        certs: CertStore::default(),
        passthrough: SniTable::default(),
        zone: Arc::default(),
        routes: Vec::new(),
        ingresses: Vec::new(),
        checked: Vec::new(),
        rated: Vec::new(),
        pages: Arc::default(),
        findings: Vec::new(),
    }));
    let stats = Arc::new(RouterStats::new(1));
    let worker = Worker::new(0, live, Arc::default(), stats, Drain::default(), None, 7);
    let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    Rc::new(Connection {
        client: ([127, 0, 0, 1], 1).into(),
        port: 80,
        frontend: Frontend::Public,
        health: false,
        secured: None,
        phase: PhaseCell::new(http2),
        gate: Arc::default(),
        requests: Cell::new(1),
        said: std::cell::RefCell::default(),
        alarm: std::cell::RefCell::default(),
        told: None,
        open: Open::new(&worker, Frontend::Public, slot),
        worker,
    })
}

/// A route with one server.
pub(super) fn route(gate: Option<Arc<Gate>>) -> Arc<CompiledRoute> {
    let key = PeerKey {
        address: ([10, 0, 0, 1], 80).into(),
        protocol: Protocol::Http1,
        tls: None,
        pod: "".into(),
    };
    let server = Server {
        peer: Arc::new(Peer::new(key)),
        weight: 1,
        service: "web".into(),
        pod: "".into(),
        label: "10.0.0.1:80".into(),
        stats: Arc::new(UpstreamStats::new(1)),
        checked: false,
        gate,
        cluster_ip: false,
    };
    Arc::new(CompiledRoute {
        key: ObjectKey::new("app", "web"),
        host: "a".into(),
        wildcard: false,
        path: "".into(),
        termination: Termination::None,
        insecure: InsecurePolicy::None,
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
            name: "be_http:app:web".into(),
            servers: Box::new([server]),
            balancer: Balancer::new(Algorithm::Random, &[1], Arc::default()),
            sticky: None,
            stats: Arc::new(UpstreamStats::new(1)),
        }),
    })
}
