//! What `wharf dns` shows of itself: CoreDNS's `health`, `ready` and `prometheus` ports (spec/l4-dns.md C.7).
//!
//! Started by `command`, each only where its flag says so. Always holds: `/ready` is 503 with the names of what
//! is waited for until the zone is there, and again once the server is about to end; `/health` is 200 as long as
//! the process answers at all.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        bind,
        pages::{self, Page, TEXT, page},
    },
    dns::stats::DnsStats,
    telemetry::dns::DnsMetrics,
};

/// Where the pages are; a port that is not named is not opened. Two of them may be the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// `/health`.
    pub health: Option<SocketAddr>,
    /// `/ready`.
    pub ready: Option<SocketAddr>,
    /// `/metrics`.
    pub metrics: Option<SocketAddr>,
}

impl Ports {
    /// What is enabled, in CoreDNS's words.
    pub(super) fn plugins(self) -> impl Iterator<Item = &'static str> {
        let ports = [("health", self.health), ("prometheus", self.metrics), ("ready", self.ready)];
        ports.into_iter().filter_map(|(name, port)| port.map(|_| name))
    }
}

/// What the pages tell of.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) stats: Arc<DnsStats>,
    pub(super) metrics: DnsMetrics,
    /// The server is about to end.
    pub(super) ending: AtomicBool,
}

impl Shown {
    /// What is waited for.
    fn waiting(&self) -> &'static str {
        if self.ending.load(Relaxed) {
            "lameduck"
        } else if self.stats.zones.load() == 0 {
            "kubernetes"
        } else {
            ""
        }
    }

    fn page(&self, path: &str) -> Option<Page> {
        Some(match path {
            "/health" => page(StatusCode::OK, TEXT, "OK"),
            "/ready" => match self.waiting() {
                "" => page(StatusCode::OK, TEXT, "OK"),
                waiting => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, waiting),
            },
            "/metrics" => pages::metrics(self.encoded()),
            _ => return None,
        })
    }

    fn encoded(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.metrics.clone()));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Opens the ports and answers there until `cancel`. The addresses, each with its paths.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    ports: Ports,
    shown: &Arc<Shown>,
    cancel: &CancellationToken,
) -> anyhow::Result<Vec<(SocketAddr, Vec<&'static str>)>> {
    let wanted = [("/health", ports.health), ("/ready", ports.ready), ("/metrics", ports.metrics)];
    let mut open: Vec<(SocketAddr, Vec<&'static str>)> = Vec::new();
    for (path, address) in wanted {
        let Some(address) = address else { continue };
        match open.iter_mut().find(|(other, _)| *other == address && address.port() != 0) {
            Some((_, paths)) => paths.push(path),
            None => open.push((address, vec![path])),
        }
    }
    for (address, paths) in &mut open {
        let listener = bind::tokio_tcp(*address)?;
        *address = listener.local_addr()?;
        let (shown, paths, cancel) = (Arc::clone(shown), paths.clone(), cancel.clone());
        tasks.spawn(async move {
            let answer = move |request: Request<Incoming>| {
                let found = paths.iter().find(|path| **path == request.uri().path());
                let page = pages::read_only(request.method(), || shown.page(found?));
                std::future::ready(page)
            };
            cancel.run_until_cancelled(pages::serve(listener, answer)).await;
        });
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        (head[9..12].to_owned(), body.to_owned())
    }

    /// [DNS-E]: not ready before the zone is there, nor while the server waits for its end.
    #[tokio::test]
    async fn pages_tell_what_the_server_waits_for() {
        let stats = Arc::new(DnsStats::default());
        let metrics = DnsMetrics::new(Arc::clone(&stats), None, vec!["kubernetes"]);
        let shown = Arc::new(Shown { stats, metrics, ending: AtomicBool::new(false) });
        let any = Some("127.0.0.1:0".parse().unwrap());
        let ports = Ports { health: any, ready: any, metrics: any };
        let mut tasks = JoinSet::new();
        let cancel = CancellationToken::new();
        let open = spawn(&mut tasks, ports, &shown, &cancel).unwrap();
        let [health, ready, metrics] = [open[0].0, open[1].0, open[2].0];

        assert_eq!(get(health, "/health").await, ("200".into(), "OK".into()));
        assert_eq!(get(ready, "/ready").await, ("503".into(), "kubernetes".into()));
        shown.stats.zones.add_one();
        assert_eq!(get(ready, "/ready").await, ("200".into(), "OK".into()));
        shown.ending.store(true, Relaxed);
        assert_eq!(get(ready, "/ready").await, ("503".into(), "lameduck".into()));
        assert_eq!(get(health, "/health").await.0, "200");
        assert!(get(metrics, "/metrics").await.1.contains("coredns_build_info"));
        assert_eq!(get(health, "/metrics").await.0, "404", "each port has its own page");
        cancel.cancel();
        while tasks.join_next().await.is_some() {}
    }

    #[tokio::test]
    async fn ports_may_be_one_and_none_need_be_open() {
        let stats = Arc::new(DnsStats::default());
        let metrics = DnsMetrics::new(Arc::clone(&stats), None, Vec::new());
        let shown = Arc::new(Shown { stats, metrics, ending: AtomicBool::new(false) });
        let (mut tasks, cancel) = (JoinSet::new(), CancellationToken::new());
        assert!(spawn(&mut tasks, Ports::default(), &shown, &cancel).unwrap().is_empty());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ports = Ports { health: Some(free), ready: Some(free), metrics: None };
        let open = spawn(&mut tasks, ports, &shown, &cancel).unwrap();
        assert_eq!(open, [(free, vec!["/health", "/ready"])]);
        assert_eq!(ports.plugins().collect::<Vec<_>>(), ["health", "ready"]);
        assert_eq!(get(free, "/ready").await.0, "503");
    }
}
