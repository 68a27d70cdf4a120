//! A whole router in this process: manifests in a folder of its own, ports 0, two workers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use wharf::{
    app::router::{self, Router},
    model::{objects::Objects, reason::REASONS},
    settings::RouterSettings,
    snapshot::{RouteState, Snapshot},
    stats::UpstreamCounters,
};

use super::{
    LIMIT,
    client::{Client, Response},
    eventually, manifest, within,
};

/// A running router.
#[derive(Debug)]
pub struct Edge {
    /// Plain port.
    pub http: SocketAddr,
    /// TLS port.
    pub https: SocketAddr,
    /// Admin port.
    pub admin: SocketAddr,
    /// The handle.
    pub router: Router,
    folder: TempDir,
}

/// Settings for tests: loopback endpoints, no checks in the background, no drain delay.
pub fn settings() -> RouterSettings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = RouterSettings {
        http: vec![any],
        https: vec![any],
        admin: any,
        workers: 2,
        allow_loopback_endpoints: true,
        access_log: false,
        ..RouterSettings::default()
    };
    settings.timeouts.check_interval = Duration::from_secs(3600);
    settings.timeouts.drain_delay = Duration::ZERO;
    settings
}

impl Edge {
    /// A router over `objects`, ready.
    pub async fn start(objects: &[Value]) -> Self {
        Self::with(objects, |_| {}).await
    }

    /// As [`Self::start`], with changed settings.
    pub async fn with(objects: &[Value], change: impl FnOnce(&mut RouterSettings)) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("main.yaml"), manifest::text(objects))
            .expect("the folder is writable");
        let mut settings = settings();
        settings.manifests = vec![folder.path().to_owned()];
        change(&mut settings);
        let router = router::start(settings, Objects::default()).await.expect("the router starts");
        router.ready(LIMIT).await.expect("the router becomes ready");
        let (http, https, admin) = (router.http[0], router.https[0], router.admin);
        Self { http, https, admin, router, folder }
    }

    /// Path of a manifest file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file in place at once, as editors do.
    pub fn write(&self, name: &str, objects: &[Value]) {
        self.write_text(name, &manifest::text(objects));
    }

    /// As [`Self::write`], with any text.
    pub fn write_text(&self, name: &str, text: &str) {
        let draft = self.folder.path().join(format!(".{name}.draft"));
        std::fs::write(&draft, text).expect("the folder is writable");
        std::fs::rename(&draft, self.file(name)).expect("the folder is writable");
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).expect("the file is there");
    }

    /// Waits for a snapshot that `holds`.
    pub async fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        eventually(what, async || holds(&self.router.live.load()).then_some(())).await;
    }

    /// A client on the plain port.
    pub async fn client(&self) -> Client<TcpStream> {
        Client::connect(self.http).await
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, host: &str, path: &str) -> Response {
        let mut client = self.client().await;
        client.get(host, path).await
    }

    /// Every reason that was counted, with its count.
    pub fn reasons(&self) -> Vec<(&'static str, u64)> {
        let count = |index: usize| self.router.stats.workers.sum(|cell| &cell.reasons[index]);
        let all = REASONS.iter().map(|(reason, word, _)| (*word, count(*reason as usize)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until exactly `reasons` are counted; they are counted when an exchange ends, which may
    /// be after the client has its answer.
    pub async fn has_reasons(&self, reasons: &[(&str, u64)]) {
        let wanted: u64 = reasons.iter().map(|(_, count)| count).sum();
        let all = |found: &[(&str, u64)]| found.iter().map(|(_, count)| count).sum::<u64>();
        let found = eventually("reasons", async || {
            let found = self.reasons();
            (all(&found) >= wanted).then_some(found)
        });
        let found = tokio::time::timeout(LIMIT, found).await;
        assert_eq!(found.unwrap_or_else(|_| self.reasons()), reasons);
    }

    /// Waits until no request and no connection is left.
    pub async fn is_quiet(&self) {
        eventually("connections to end", async || {
            (self.router.stats.connections.load() == 0).then_some(())
        })
        .await;
    }

    /// What the route `name` became.
    pub fn route<T>(&self, name: &str, look: impl FnOnce(&RouteState) -> T) -> T {
        let snapshot = self.router.live.load();
        let mut states = snapshot.routes.iter();
        look(states.find(|state| &*state.source.key.name == name).expect("the route is known"))
    }

    /// A counter of the backend of route `name`.
    pub fn count(
        &self,
        name: &str,
        counter: impl Fn(&UpstreamCounters) -> &wharf::stats::Counter,
    ) -> u64 {
        self.route(name, |state| {
            let compiled = state.compiled.as_ref().expect("the route is served");
            compiled.backend.stats.workers.sum(counter)
        })
    }

    /// The sum of the metric `name` over all of its series.
    pub async fn series(&self, name: &str) -> u64 {
        let text = Client::connect(self.admin).await.get("localhost", "/metrics").await.text();
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then(|| value.parse().ok())?
        };
        let values: Vec<u64> = text.lines().filter_map(of).collect();
        assert!(!values.is_empty(), "{name} is not in\n{text}");
        values.iter().sum()
    }

    /// Stops the router and waits for its end.
    pub async fn finish(self) {
        within("the router to end", self.router.finish()).await;
    }
}
