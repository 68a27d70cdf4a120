//! Where `wharf proxy` is asked how it is: `/healthz` and `/livez`, `/metrics`, and the health check
//! node ports of Services.
//!
//! Held by the parent module. Always holds: a health check port is open as long as its Service is one
//! of type LoadBalancer with policy Local; one that cannot be had is said once and tried at every
//! change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderValue, StatusCode, header::X_CONTENT_TYPE_OPTIONS};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::status::Status;
use crate::{
    app::{
        bind,
        node_health::{self, NodeHealth},
        pages::{self, Page},
    },
    model::objects::ObjectKey,
    services::{Node, Service, TrafficPolicy},
};

/// Where the servers are. A default port that is taken is said and done without; one that was asked
/// for is needed.
#[derive(Clone, Copy, Debug)]
pub struct Bind {
    /// Which.
    pub address: SocketAddr,
    /// Somebody asked for it.
    pub is_needed: bool,
}

/// Starts the server of `/healthz` and `/livez`, and that of `/metrics`; where those that run are.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    [health, metrics]: [Bind; 2],
    status: &Arc<Status>,
) -> anyhow::Result<Vec<SocketAddr>> {
    let mut running = Vec::new();
    for (bind, name, answer) in [
        (health, "health", of_health as fn(&Status, &str) -> Option<Page>),
        (metrics, "metrics", of_metrics),
    ] {
        let listener = match bind::tokio_tcp(bind.address) {
            Ok(listener) => listener,
            Err(error) if bind.is_needed => return Err(error),
            Err(error) => {
                tracing::warn!("no {name} port: {error}");
                continue;
            },
        };
        let address = listener.local_addr()?;
        tracing::info!(%address, "{name} port");
        running.push(address);
        let status = Arc::clone(status);
        tasks.spawn(pages::serve(listener, move |request| {
            let path = request.uri().path();
            std::future::ready(pages::read_only(request.method(), || answer(&status, path)))
        }));
    }
    Ok(running)
}

fn of_health(status: &Status, path: &str) -> Option<Page> {
    let live = match path {
        "/healthz" => false,
        "/livez" => true,
        _ => return None,
    };
    let (good, body) = status.health(live);
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut page = pages::page(code, "application/json", body);
    page.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(page)
}

fn of_metrics(status: &Status, path: &str) -> Option<Page> {
    (path == "/metrics").then(|| pages::metrics(status.metrics()))
}

/// The health check node ports.
pub(super) struct HealthPorts {
    addresses: Vec<IpAddr>,
    node: Node,
    status: Arc<Status>,
    open: BTreeMap<SocketAddr, (ObjectKey, CancellationToken)>,
    tasks: JoinSet<()>,
    said: BTreeSet<SocketAddr>,
}

impl HealthPorts {
    pub(super) fn new(addresses: Vec<IpAddr>, node: Node, status: &Arc<Status>) -> Self {
        let (open, tasks, said) = (BTreeMap::new(), JoinSet::new(), BTreeSet::new());
        Self { addresses, node, status: Arc::clone(status), open, tasks, said }
    }

    /// Takes over which Services have a port, and how many endpoints they have here.
    pub(super) fn update(&mut self, services: &[Arc<Service>]) {
        let (mut wanted, mut local) = (BTreeMap::new(), BTreeMap::new());
        for service in services.iter().filter(|one| one.external == TrafficPolicy::Local) {
            let Some(port) = service.health_check_node_port else { continue };
            local.insert(service.key.clone(), service.local_ready(&self.node));
            for address in &self.addresses {
                wanted.entry(SocketAddr::new(*address, port)).or_insert(&service.key);
            }
        }
        self.status.set_local(local);
        for (_, (_, stop)) in
            self.open.extract_if(.., |address, (key, _)| wanted.get(address) != Some(&&*key))
        {
            stop.cancel();
        }
        while self.tasks.try_join_next().is_some() {}
        for (address, service) in wanted {
            if !self.open.contains_key(&address) {
                self.serve(address, service);
            }
        }
    }

    fn serve(&mut self, address: SocketAddr, service: &ObjectKey) {
        let (status, key, stop) =
            (Arc::clone(&self.status), service.clone(), CancellationToken::new());
        let health = Arc::new(move || NodeHealth {
            endpoints: if status.is_eligible() { status.local(&key) } else { 0 },
            healthy: status.is_healthy(),
        });
        match node_health::spawn(&mut self.tasks, address, service, health, &stop) {
            Ok(_) => {
                self.said.remove(&address);
                self.open.insert(address, (service.clone(), stop));
            },
            Err(error) => {
                if self.said.insert(address) {
                    tracing::warn!("no health check port of {service}: {error}");
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::{app::proxy::path::Applied, services::ServicePort, zone::Protocol};

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// [A.14]: kube-proxy's ports.
    #[tokio::test]
    async fn health_and_metrics_are_asked_over_sockets() {
        let status = Arc::new(Status::new(Some(Arc::default())));
        let mut tasks = JoinSet::new();
        let any = Bind { address: ([127, 0, 0, 1], 0).into(), is_needed: true };
        let running = spawn(&mut tasks, [any, any], &status).unwrap();
        let [health, metrics] = running[..] else { panic!("{running:?}") };
        assert!(ask(health, "GET /healthz").await.starts_with("HTTP/1.1 503 "));
        status.applied(Instant::now(), &Applied::default());
        for (address, request, expected) in [
            (health, "GET /healthz", "200 OK"),
            (health, "GET /livez", "200 OK"),
            (health, "GET /metrics", "404 Not Found"),
            (health, "POST /healthz", "405 Method Not Allowed"),
            (metrics, "GET /metrics", "200 OK"),
            (metrics, "GET /healthz", "404 Not Found"),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{request}: {answer}");
        }
        let text = ask(metrics, "GET /metrics").await;
        assert!(text.contains("\nkubeproxy_proxy_livez_total{code=\"200\"} 1\n"), "{text}");
        status.drain();
        assert!(ask(health, "GET /healthz").await.starts_with("HTTP/1.1 503 "));
        assert!(ask(health, "GET /livez").await.starts_with("HTTP/1.1 200 "));
        // A port that somebody has: needed or not.
        let taken = |is_needed| Bind { address: health, is_needed };
        assert!(spawn(&mut tasks, [any, taken(true)], &status).is_err());
        assert_eq!(spawn(&mut tasks, [any, taken(false)], &status).unwrap().len(), 1);
    }

    /// [SVC-03] [NLB-24]: a port for each Service with policy Local, 503 without an endpoint here.
    #[tokio::test]
    async fn svc_3_a_health_check_port_counts_endpoints_here() {
        let status = Arc::new(Status::new(None));
        status.applied(Instant::now(), &Applied::default());
        let node = Node { name: "here".into(), zone: "".into() };
        let own = IpAddr::from([127, 0, 0, 1]);
        let free = std::net::TcpListener::bind((own, 0)).unwrap().local_addr().unwrap();
        let mut ports = HealthPorts::new(vec![own], node, &status);
        let service = |node: &str, external| {
            let address = SocketAddr::from(([10, 0, 0, 1], 8080));
            let endpoint = crate::services::Endpoint {
                address,
                ready: true,
                serving: true,
                terminating: false,
                node: Some(node.into()),
                node_hints: Vec::new(),
                zone_hints: Vec::new(),
            };
            let port = ServicePort {
                name: "".into(),
                protocol: Protocol::Tcp,
                port: 80,
                node_port: None,
                endpoints: vec![endpoint],
            };
            vec![Arc::new(Service {
                key: ObjectKey::new("app", "web"),
                cluster_ips: vec![IpAddr::from([172, 30, 0, 1])],
                external_ips: Vec::new(),
                load_balancer_ips: Vec::new(),
                internal: TrafficPolicy::Cluster,
                external,
                affinity: None,
                source_ranges: None,
                health_check_node_port: Some(free.port()),
                ports: vec![port],
            })]
        };
        ports.update(&service("there", TrafficPolicy::Local));
        let answer = ask(free, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        ports.update(&service("here", TrafficPolicy::Local));
        let answer = ask(free, "GET /").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\"localEndpoints\": 1"), "{answer}");
        status.drain();
        assert!(ask(free, "GET /healthz").await.starts_with("HTTP/1.1 503 "));
        ports.update(&service("here", TrafficPolicy::Cluster));
        while ports.tasks.join_next().await.is_some() {}
        assert!(TcpStream::connect(free).await.is_err(), "it has no port any more");
    }
}
