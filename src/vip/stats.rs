//! Counts of what the user-space data path carries.
//!
//! Written by listeners, shown by `app::proxy`. Counters grow for ever, gauges are of now.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Counts of one protocol.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections, or UDP flows, that were taken.
    pub taken: AtomicU64,
    /// Those that have ended.
    pub ended: AtomicU64,
    /// Those that no endpoint was for.
    pub refused: AtomicU64,
    /// Those whose endpoint did not answer.
    pub failed: AtomicU64,
}

/// Counts of all.
#[derive(Debug, Default)]
pub struct Totals {
    /// TCP.
    pub tcp: Counts,
    /// UDP.
    pub udp: Counts,
}

impl Counts {
    /// One more of `count`.
    pub(super) fn add(count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }
}

/// One that is carried: counted from here to its end.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Arc<Totals>, pub(super) fn(&Totals) -> &Counts);

impl Counted {
    pub(super) fn new(totals: &Arc<Totals>, of: fn(&Totals) -> &Counts) -> Self {
        Counts::add(&of(totals).taken);
        Self(Arc::clone(totals), of)
    }

    /// The counts that it is in.
    pub(super) fn counts(&self) -> &Counts {
        self.1(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        Counts::add(&self.counts().ended);
    }
}

/// The counts as metrics.
#[derive(Debug)]
pub struct Shown(pub Arc<Totals>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let both = [("tcp", &self.0.tcp), ("udp", &self.0.udp)];
        type Read = fn(&Counts) -> &AtomicU64;
        for (name, help, read) in [
            ("connections", "Connections and UDP flows that were taken", (|c| &c.taken) as Read),
            ("refused", "Those that no endpoint was for", |c| &c.refused),
            ("connect_failures", "Those whose endpoint did not answer", |c| &c.failed),
        ] {
            let name = format!("wharf_proxy_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (protocol, counts) in both {
                let labels = [("protocol", protocol)];
                let count = read(counts).load(Relaxed);
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("wharf_proxy_open_connections", "Connections and UDP flows of now");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (protocol, counts) in both {
            // What ends in between must not make it negative.
            let ended = counts.ended.load(Relaxed);
            let open = counts.taken.load(Relaxed).saturating_sub(ended);
            let open = i64::try_from(open).unwrap_or(i64::MAX);
            ConstGauge::new(open).encode(family.encode_family(&[("protocol", protocol)])?)?;
        }
        Ok(())
    }
}
