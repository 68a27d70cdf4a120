//! Metrics as text, in OpenMetrics or the older format of Prometheus: OpenShift's names and labels
//! (spec/route.md 18.3), and `wharf_*`.
//!
//! Called by the admin port at each scrape. The counters live in the workers and behind the snapshot;
//! nothing is registered ahead, so a series vanishes with its route [MET-5]. What ends in `_total` is a
//! counter, where OpenShift calls it a gauge: names, labels and values are the same, and `rate()` works
//! on both. How many series there are: some 200 of the router, up to 23 for each backend and 26 for each
//! server in OpenShift's default selection, one for each certificate of a route. Nothing that clients
//! send becomes a label.

mod classic;
mod exporter;
mod haproxy;
mod health;
mod native;
mod process;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, text,
    },
    metrics::MetricType,
    registry::Registry,
};

use super::dns::DnsMetrics;
use crate::{
    proxy::stats::{DnsCounts, RouterStats},
    settings::admin::AdminSettings,
    snapshot::Snapshot,
    stats::histogram,
};

pub use exporter::{Exporter, Format};

#[cfg(test)]
mod tests;

/// Names of [`crate::stats::ResponseClasses`].
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// What neither the snapshot nor the counters know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// ROUTER_MAX_CONNECTIONS.
    pub max_connections: u64,
    /// Configurations applied, good or bad.
    pub applies: u64,
    /// Seconds that these took, in sum.
    pub apply_seconds: f64,
    /// Seconds that the last one took.
    pub last_apply_seconds: f64,
    /// The last one failed.
    pub apply_failed: bool,
    /// Snapshots compiled.
    pub compiles: u64,
    /// Seconds that these took, in sum.
    pub compile_seconds: f64,
    /// When a configuration was last applied well.
    pub last_success: Option<SystemTime>,
}

/// The latest [`Extra`], written by the control loop after each compile.
#[derive(Debug, Default)]
pub struct ExtraCell(Mutex<Extra>);

impl ExtraCell {
    /// A cell that holds `extra`.
    #[must_use]
    pub const fn new(extra: Extra) -> Self {
        Self(Mutex::new(extra))
    }

    /// The latest figures.
    #[must_use]
    pub fn load(&self) -> Extra {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a configuration that was applied, or with `failed` one that could not be.
    pub fn applied(&self, took: Duration, failed: bool) {
        let mut extra = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        extra.applies += 1;
        extra.apply_seconds += took.as_secs_f64();
        extra.last_apply_seconds = took.as_secs_f64();
        extra.apply_failed = failed;
        if !failed {
            extra.last_success = Some(SystemTime::now());
        }
    }

    /// Counts a snapshot that was compiled.
    pub fn compiled(&self, took: Duration) {
        let mut extra = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        extra.compiles += 1;
        extra.compile_seconds += took.as_secs_f64();
    }
}

/// The end of a certificate of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expiry {
    namespace: String,
    route: String,
    key: String,
    /// Seconds since 1970.
    not_after: i64,
}

/// One scrape: what the encoder walks over.
#[derive(Clone, Debug)]
struct Scrape {
    snapshot: Arc<Snapshot>,
    stats: Arc<RouterStats>,
    settings: Arc<AdminSettings>,
    extra: Extra,
    /// Scrapes so far, with this one.
    number: u64,
    certificates: Arc<Vec<Expiry>>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.general(&mut out)?;
        haproxy::encode(self, &mut out)?;
        native::encode(self, &mut out)?;
        health::encode(&self.snapshot, &self.stats, &mut out)?;
        process::encode(&mut out)
    }
}

impl Scrape {
    /// All metrics of this moment in OpenMetrics.
    fn text(self) -> String {
        let by_hand = self.by_hand();
        let mut registry = Registry::default();
        if let Some(DnsCounts { stats, address, resolver }) = self.stats.dns.get() {
            let forwards = resolver.iter().flat_map(|_resolver| ["cache", "forward"]);
            let plugins = ["kubernetes"].into_iter().chain(forwards).collect();
            let metrics = DnsMetrics::new(Arc::clone(stats), Some(*address), plugins);
            registry.register_collector(Box::new(metrics.with_resolver(resolver.clone())));
        }
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode_registry(&mut out, &registry);
        out.push_str(&by_hand);
        let _ = text::encode_eof(&mut out);
        out
    }

    /// Servers of all routes.
    fn servers(&self) -> usize {
        let routes = self.snapshot.routes.iter().filter_map(|route| route.compiled.as_ref());
        routes.map(|route| route.backend.servers.len()).sum()
    }

    /// Servers, backends and frontends.
    fn rows(&self) -> usize {
        let routes = self.snapshot.routes.iter().filter(|route| route.compiled.is_some());
        self.servers() + routes.count() + self.stats.frontends.len()
    }

    fn general(&self, out: &mut Out<'_>) -> fmt::Result {
        out.level("haproxy_up", "The router serves.", 1_u64)?;
        // Names that OpenMetrics does not have for a counter; `classic` calls them one.
        let scrapes =
            ("haproxy_exporter_total_scrapes", "Scrapes that made a new text.", self.number);
        let failures = ("haproxy_exporter_csv_parse_failures", "There is no CSV to parse.", 0);
        for (name, help, count) in [scrapes, failures] {
            out.0.encode_descriptor(name, help, None, MetricType::Unknown)?.encode_gauge(&count)?;
        }
        let interval = self.settings.keep(self.rows()).as_secs_f64();
        out.level("haproxy_exporter_scrape_interval", "Seconds that a text is kept.", interval)?;
        let limit = self.extra.max_connections;
        out.level("haproxy_max_connections", "Limit of connections at once.", limit)?;
        let failed = u64::from(self.extra.apply_failed);
        out.level("template_router_reload_failure", "The last configuration failed.", failed)?;
        let version = env!("CARGO_PKG_VERSION");
        let labels = [
            ("major", env!("CARGO_PKG_VERSION_MAJOR")),
            ("minor", env!("CARGO_PKG_VERSION_MINOR")),
            ("gitCommit", ""),
            ("gitVersion", version),
        ];
        out.gauges("openshift_build_info", "This build.", [(labels, 1_u64)].into_iter())
    }

    /// What the library cannot write: summaries, and infinity as OpenMetrics wants it.
    fn by_hand(&self) -> String {
        let (servers, most) = (self.servers(), self.settings.server_threshold);
        let limit = most.map_or_else(|| "+Inf".to_owned(), |most| most.to_string());
        let name = "haproxy_exporter_server_threshold";
        let threshold = format!(
            "# HELP {name} Servers, and how many of them at most have series.\n# TYPE {name} gauge\n\
             {name}{{type=\"current\"}} {servers}\n{name}{{type=\"limit\"}} {limit}\n"
        );
        threshold + &self.summaries()
    }

    fn summaries(&self) -> String {
        let extra = &self.extra;
        let rows = [
            (
                "template_router_reload_seconds",
                "Time from a change to its service.",
                extra.apply_seconds,
                extra.applies,
            ),
            (
                "template_router_write_config_seconds",
                "The part of it for making the new configuration.",
                extra.compile_seconds,
                extra.compiles,
            ),
        ];
        let write = |(name, help, sum, count)| {
            format!(
                "# HELP {name} {help}\n# TYPE {name} summary\n{name}_sum {sum}\n{name}_count \
                 {count}\n"
            )
        };
        rows.into_iter().map(write).collect()
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

/// Writes families.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    /// A gauge without labels.
    fn level(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A counter without labels. The encoder adds `_total` to `name`.
    fn total(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A histogram for each row, in seconds.
    fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, histogram::Times)>,
    ) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "times")]
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = || histogram::BOUNDS.into_iter().map(seconds).chain([f64::INFINITY]);
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, times) in rows {
            let buckets: Vec<_> = bounds().zip(times.buckets).collect();
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                seconds(times.micros),
                times.buckets.iter().sum(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    /// A gauge for each row.
    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A counter for each row. The encoder adds `_total` to `name`.
    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&value, None)?;
        }
        Ok(())
    }
}
