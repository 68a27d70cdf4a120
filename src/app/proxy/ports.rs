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

use http::{HeaderValue, Method, StatusCode, header::X_CONTENT_TYPE_OPTIONS};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::status::Status;
use crate::{
    app::{
        bind,
        node_health::{self, NodeHealth},
        pages::{self, Page, TEXT},
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

/// Starts the server of `/healthz` and `/livez`, and that of `/metrics`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    [health, metrics]: [Bind; 2],
    status: &Arc<Status>,
) -> anyhow::Result<()> {
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
        tracing::info!(address = %listener.local_addr()?, "{name} port");
        let status = Arc::clone(status);
        tasks.spawn(pages::serve(listener, move |request| {
            let page = if matches!(*request.method(), Method::GET | Method::HEAD) {
                answer(&status, request.uri().path())
                    .unwrap_or_else(|| pages::page(StatusCode::NOT_FOUND, TEXT, "not found\n"))
            } else {
                pages::page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n")
            };
            std::future::ready(page)
        }));
    }
    Ok(())
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
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (path == "/metrics").then(|| match status.metrics() {
        Ok(text) => pages::page(StatusCode::OK, OPENMETRICS, text),
        Err(_) => pages::page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "not encoded\n"),
    })
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
