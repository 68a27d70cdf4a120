//! How `wharf proxy` is doing: its health and its metrics, under kube-proxy's names.
//!
//! Written by the loop that follows manifests, read by the servers of `ports`. Always holds: healthy
//! means that no change has waited for longer than [`PATIENCE`] to be applied.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::path::Applied;
use crate::{
    model::objects::ObjectKey,
    telemetry::time::millis,
    vip::stats::{Shown, Totals},
};

/// How long a change may wait: two periods of kube-proxy's full sync.
const PATIENCE: Duration = Duration::from_secs(60);

type Labels = [(&'static str, String); 1];
type Seconds = Gauge<f64, AtomicU64>;

/// The state.
pub(super) struct Status {
    state: Mutex<State>,
    draining: AtomicBool,
    registry: Registry,
    duration: Histogram,
    synced: Seconds,
    queued: Seconds,
    failures: Counter,
    no_local: Family<Labels, Gauge>,
    answers: [Family<Labels, Counter>; 2],
}

#[derive(Default)]
struct State {
    /// When the oldest change came that is not applied.
    waiting: Option<Instant>,
    synced: Option<SystemTime>,
    /// Ready endpoints here of each Service with a health check port.
    local: BTreeMap<ObjectKey, usize>,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("healthy", &self.is_healthy()).finish_non_exhaustive()
    }
}

impl Status {
    /// `totals` are those of the connections of user space, when there are any.
    pub(super) fn new(totals: Option<Arc<Totals>>) -> Self {
        let mut registry = Registry::default();
        // kube-proxy's: 1 ms, twice as much, and so on, fifteen times.
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let (synced, queued, failures) =
            (Seconds::default(), Seconds::default(), Counter::default());
        let (no_local, answers) = (Family::default(), [Family::default(), Family::default()]);
        let name = |rest: &str| format!("kubeproxy_{rest}");
        registry.register(
            name("sync_proxy_rules_duration_seconds"),
            "Time that applying a change took",
            duration.clone(),
        );
        registry.register(
            name("sync_proxy_rules_last_timestamp_seconds"),
            "When a change was applied last",
            synced.clone(),
        );
        registry.register(
            name("sync_proxy_rules_last_queued_timestamp_seconds"),
            "When a change came last",
            queued.clone(),
        );
        registry.register(
            name("sync_proxy_rules_nftables_sync_failures"),
            "Changes that could not be applied",
            failures.clone(),
        );
        registry.register(
            name("sync_proxy_rules_no_local_endpoints_total"),
            "Ports of Services whose policy leaves no endpoint on this node",
            no_local.clone(),
        );
        let [healthz, livez]: &[Family<Labels, Counter>; 2] = &answers;
        registry.register(name("proxy_healthz"), "Answers of /healthz", healthz.clone());
        registry.register(name("proxy_livez"), "Answers of /livez", livez.clone());
        if let Some(totals) = totals {
            registry.register_collector(Box::new(Shown(totals)));
        }
        let (state, draining) = (Mutex::default(), AtomicBool::new(false));
        Self { state, draining, registry, duration, synced, queued, failures, no_local, answers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change has come.
    pub(super) fn came(&self) {
        self.queued.set(unix(SystemTime::now()));
        self.state().waiting.get_or_insert_with(Instant::now);
    }

    /// What has come was applied since `begun`.
    pub(super) fn applied(&self, begun: Instant, applied: &Applied) {
        self.duration.observe(begun.elapsed().as_secs_f64());
        for (policy, count) in ["internal", "external"].into_iter().zip(applied.no_local) {
            let labels = [("traffic_policy", policy.to_owned())];
            self.no_local.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.is_right();
    }

    /// All is as it shall be.
    pub(super) fn is_right(&self) {
        let now = SystemTime::now();
        self.synced.set(unix(now));
        let mut state = self.state();
        (state.waiting, state.synced) = (None, Some(now));
    }

    /// What shall be could not be had.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    /// The process ends.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Takes over how many endpoints here each Service with a health check port has.
    pub(super) fn set_local(&self, local: BTreeMap<ObjectKey, usize>) {
        self.state().local = local;
    }

    /// Ready endpoints here of `service`.
    pub(super) fn local(&self, service: &ObjectKey) -> usize {
        self.state().local.get(service).copied().unwrap_or(0)
    }

    /// True when the rules are those of the Services, or will be soon.
    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy_at(Instant::now())
    }

    fn is_healthy_at(&self, now: Instant) -> bool {
        let state = self.state();
        let is_late = |since| now.saturating_duration_since(since) > PATIENCE;
        state.synced.is_some() && !state.waiting.is_some_and(is_late)
    }

    /// True when the node may have traffic of load balancers.
    pub(super) fn is_eligible(&self) -> bool {
        !self.draining.load(Relaxed)
    }

    /// The answer of `/healthz`, or of `/livez`, which does not look at the node's end.
    pub(super) fn health(&self, live: bool) -> (bool, String) {
        let eligible = self.is_eligible();
        let good = self.is_healthy() && (live || eligible);
        let labels = [("code", if good { "200" } else { "503" }.to_owned())];
        self.answers[usize::from(live)].get_or_create(&labels).inc();
        let now = SystemTime::now();
        let synced = self.state().synced.unwrap_or(SystemTime::UNIX_EPOCH);
        // A good answer is as good as new, in kube-proxy too.
        let synced = millis(if good { now } else { synced });
        let node = if live { String::new() } else { format!(", \"nodeEligible\": {eligible}") };
        let now = millis(now);
        (good, format!("{{\"lastUpdated\": \"{synced}\",\"currentTime\": \"{now}\"{node}}}"))
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [A.14]: kube-proxy's health.
    #[test]
    fn a_change_that_waits_too_long_is_ill() {
        let status = Status::new(None);
        assert!(!status.health(false).0, "nothing was applied yet");
        status.came();
        status.applied(Instant::now(), &Applied { no_local: [1, 2], ..Applied::default() });
        assert!(status.health(false).0 && status.health(true).0);
        status.came();
        let soon = Instant::now() + PATIENCE - Duration::from_secs(1);
        assert!(status.is_healthy_at(soon));
        // A later one does not start the time anew.
        status.came();
        assert!(!status.is_healthy_at(soon + Duration::from_secs(2)));
        status.is_right();
        assert!(status.is_healthy_at(soon + Duration::from_secs(2)));
        status.drain();
        let (good, body) = status.health(false);
        assert!(!good && body.ends_with("\"nodeEligible\": false}"), "{body}");
        let (good, body) = status.health(true);
        assert!(good && !body.contains("nodeEligible"), "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }

    #[test]
    fn the_metrics_have_the_names_of_kube_proxy() {
        let status = Status::new(Some(Arc::default()));
        status.came();
        status.failed();
        status.applied(Instant::now(), &Applied { no_local: [1, 2], ..Applied::default() });
        status.health(false);
        let text = status.metrics().unwrap();
        for line in [
            "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
            "kubeproxy_sync_proxy_rules_duration_seconds_count 1",
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"internal\"} 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"external\"} 2",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "wharf_proxy_connections_total{protocol=\"tcp\"} 0",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is missing in\n{text}");
        }
        for name in ["last", "last_queued"] {
            let name = format!("kubeproxy_sync_proxy_rules_{name}_timestamp_seconds ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
            assert!(value.parse::<f64>().unwrap() > 1e9, "{value}");
        }
    }
}
