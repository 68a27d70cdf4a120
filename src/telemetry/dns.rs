//! Metrics of a DNS server under CoreDNS's names (spec/l4-dns.md C.7), and `wharf_dns_*`.
//!
//! Registered by `wharf dns`, and by the router and the load balancer where they answer DNS. Encoded at each
//! scrape out of the server's own counters. A series is there once it has counted; the labels `server` and
//! `zone` are those of one server block for everything, and `view` is empty. Nothing that clients send becomes
//! a label.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::dns::{
    log::QueryLog,
    resolver::{Resolver, stats::ForwardStats},
    stats::{
        Distribution, DnsStats, FAMILIES, MICROS, Plugin, RCODES, SIZES, TYPES, Total, Transport,
    },
};

/// Encodes the counts of one DNS server.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    stats: Arc<DnsStats>,
    server: String,
    plugins: Vec<&'static str>,
    log: Option<Arc<QueryLog>>,
    resolver: Option<Arc<Resolver>>,
}

/// What a counter of its own shows.
type Read = fn(&DnsStats) -> &Total;

/// What a counter of the resolver shows.
type ReadForward = fn(&ForwardStats) -> &Total;

/// Parts of a counter by the type of answer, which is empty where there is one part.
type ByType = &'static [(&'static str, ReadForward)];

/// Counters of the cache.
const CACHE: [(&str, &str, ByType); 6] = [
    ("coredns_cache_requests", "Questions that the cache was asked", &[("", |it| &it.requests)]),
    (
        "coredns_cache_hits",
        "Questions that the cache has answered",
        &[("success", |it| &it.hits), ("denial", |it| &it.denial_hits)],
    ),
    ("coredns_cache_misses", "Questions that it has not", &[("", |it| &it.misses)]),
    ("coredns_cache_evictions", "Answers that made room for others", &[("", |it| &it.evictions)]),
    (
        "coredns_cache_prefetch",
        "Answers asked for again before their end",
        &[("", |it| &it.prefetches)],
    ),
    ("coredns_cache_served_stale", "Answers given after their end", &[("", |it| &it.served_stale)]),
];

/// Counters of the resolver that CoreDNS does not have.
const ASKING: [(&str, &str, ReadForward); 5] = [
    ("wharf_dns_forward_shared", "Questions that waited for the answer to an equal one", |it| {
        &it.shared
    }),
    ("wharf_dns_forward_tries", "Questions sent to name servers", |it| &it.tries),
    ("wharf_dns_forward_failed_tries", "Of these, without any answer", |it| &it.failed_tries),
    ("wharf_dns_forward_tcp_retries", "Cut answers asked for again by TCP", |it| &it.tcp_retries),
    ("wharf_dns_refreshes_refused", "Refreshes of the cache left out: too many at once", |it| {
        &it.refreshes_refused
    }),
];

/// Counters that have no labels of a server.
const OWN: [(&str, &str, Read); 9] = [
    ("coredns_panics", "Queries whose handling panicked", |stats| &stats.panics),
    (
        "coredns_forward_max_concurrent_rejects",
        "Queries not forwarded because too many were in flight",
        |stats| &stats.forwards_refused,
    ),
    ("wharf_dns_forwards", "Queries handed to the resolver", |stats| &stats.forwards),
    ("wharf_dns_forward_failures", "Forwarded queries without an answer in time", |stats| {
        &stats.forward_failures
    }),
    ("wharf_dns_truncated", "Responses cut to the client's size", |stats| &stats.truncated),
    ("wharf_dns_dropped", "Packets that got no answer", |stats| &stats.dropped),
    ("wharf_dns_tcp_clients", "TCP clients accepted", |stats| &stats.tcp_clients),
    (
        "wharf_dns_tcp_clients_refused",
        "TCP clients closed because too many were connected",
        |stats| &stats.tcp_clients_refused,
    ),
    ("wharf_dns_zones", "Zones put in force", |stats| &stats.zones),
];

impl DnsMetrics {
    /// Of the server at `address`, such as `0.0.0.0:53`, with CoreDNS's names of what it does.
    #[must_use]
    pub fn new(
        stats: Arc<DnsStats>,
        address: Option<std::net::SocketAddr>,
        plugins: Vec<&'static str>,
    ) -> Self {
        let server = match address {
            Some(address) if address.ip().is_unspecified() => format!("dns://:{}", address.port()),
            Some(address) => format!("dns://{address}"),
            None => String::new(),
        };
        Self { stats, server, plugins, log: None, resolver: None }
    }

    /// With the lines that the query log lost.
    #[must_use]
    pub fn with_log(mut self, log: Option<Arc<QueryLog>>) -> Self {
        self.log = log;
        self
    }

    /// With the cache and the questions of the resolver for names outside.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Option<Arc<Resolver>>) -> Self {
        self.resolver = resolver;
        self
    }

    fn forwarding(&self, encoder: &mut DescriptorEncoder<'_>, resolver: &Resolver) -> fmt::Result {
        let block = [("server", &*self.server), ("zones", "."), ("view", "")];
        for (name, help, parts) in CACHE {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (kind, read) in parts {
                let count = ConstCounter::new(read(resolver.stats()).load());
                let labels = [block[0], ("type", kind), block[1], block[2]];
                match kind.is_empty() {
                    true => count.encode(family.encode_family(&block)?)?,
                    false => count.encode(family.encode_family(&labels)?)?,
                }
            }
        }
        let (name, help) = ("coredns_cache_entries", "Answers in the cache");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (kind, count) in ["success", "denial"].into_iter().zip(resolver.cached()) {
            let labels = [block[0], ("type", kind), block[1], block[2]];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, read) in ASKING {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(read(resolver.stats()).load()).encode(metric)?;
        }
        Ok(())
    }

    /// The labels of every series of a server block.
    fn block(&self) -> [(&'static str, &str); 3] {
        [("server", &self.server), ("zone", "."), ("view", "")]
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = ("coredns_dns_requests", "Queries by zone, protocol, family and type");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for transport in Transport::ALL {
            for (number, by_family) in FAMILIES.into_iter().enumerate() {
                for (index, record_type) in TYPES.into_iter().enumerate() {
                    let count = self.stats.queries(transport, number, index);
                    let [server, zone, view] = self.block();
                    let own =
                        [("proto", transport.name()), ("family", by_family), ("type", record_type)];
                    let labels = [server, zone, view, own[0], own[1], own[2]];
                    if count > 0 {
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn responses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = ("coredns_dns_responses", "Responses by code and who answered");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for plugin in Plugin::ALL {
            for (index, rcode) in RCODES.into_iter().enumerate() {
                let count = self.stats.responses(plugin, index);
                let [server, zone, view] = self.block();
                let labels = [server, zone, view, ("rcode", rcode), ("plugin", plugin.name())];
                if count > 0 {
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn sizes(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        of: impl Fn(Transport) -> Distribution,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for transport in Transport::ALL {
            let [server, zone, view] = self.block();
            let labels = [server, zone, view, ("proto", transport.name())];
            let row = of(transport);
            let buckets = buckets(&row, &SIZES, 1.0);
            let count = row.counts.iter().sum();
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(float(row.sum), count, &buckets, None)?;
        }
        Ok(())
    }

    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "coredns_dns_request_duration_seconds";
        let help = "Time from a query to its answer";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let row = self.stats.times();
        let buckets = buckets(&row, &MICROS, 1e6);
        let (labels, sum) = (self.block(), float(row.sum) / 1e6);
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(sum, row.counts.iter().sum(), &buckets, None)
    }

    fn about(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = ("coredns_build_info", "The version that runs, which is wharf's");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", ""), ("goversion", "")];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        let (name, help) = ("coredns_plugin_enabled", "What the server does, in CoreDNS's words");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for plugin in &self.plugins {
            let [server, zone, view] = self.block();
            let labels = [server, zone, view, ("name", plugin)];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for DnsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.responses(&mut encoder)?;
        self.times(&mut encoder)?;
        let help = ("coredns_dns_request_size_bytes", "Size of queries");
        self.sizes(&mut encoder, help, |transport| self.stats.query_sizes(transport))?;
        let help = ("coredns_dns_response_size_bytes", "Size of responses");
        self.sizes(&mut encoder, help, |transport| self.stats.response_sizes(transport))?;
        for (name, help, read) in OWN {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(read(&self.stats).load()).encode(metric)?;
        }
        if let Some(log) = &self.log {
            let (name, help) =
                ("wharf_dns_log_lost_lines", "Lines of the query log that were lost");
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(log.lost.load()).encode(metric)?;
        }
        if let Some(resolver) = &self.resolver {
            self.forwarding(&mut encoder, resolver)?;
        }
        self.about(&mut encoder)
    }
}

/// Counts by upper bound, in units of `unit` to one.
fn buckets(row: &Distribution, bounds: &[u32], unit: f64) -> Vec<(f64, u64)> {
    let bounds = bounds.iter().map(|bound| f64::from(*bound) / unit).chain([f64::INFINITY]);
    bounds.zip(row.counts.iter().copied()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "sums of bytes and microseconds")]
const fn float(sum: u64) -> f64 {
    sum as f64
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use hickory_proto::{op::ResponseCode, rr::RecordType};
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn series_have_the_names_and_labels_of_coredns() {
        let stats = Arc::new(DnsStats::new(1));
        let cell = stats.of_loop(0);
        cell.query(Transport::Udp, Ipv4Addr::LOCALHOST.into(), RecordType::AAAA, 60);
        cell.response(Transport::Udp, Plugin::Kubernetes, ResponseCode::NXDomain, 150);
        cell.took(Duration::from_micros(300), 1);
        let address = "0.0.0.0:5353".parse().ok();
        let mut registry = Registry::default();
        let metrics = DnsMetrics::new(stats, address, vec!["kubernetes", "ready"]);
        registry.register_collector(Box::new(metrics));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let block = r#"server="dns://:5353",zone=".",view="""#;
        for line in [
            format!(
                "coredns_dns_requests_total{{{block},proto=\"udp\",family=\"1\",type=\"AAAA\"}} 1"
            ),
            format!(
                "coredns_dns_responses_total{{{block},rcode=\"NXDOMAIN\",plugin=\"kubernetes\"}} 1"
            ),
            format!("coredns_dns_request_duration_seconds_bucket{{le=\"0.0005\",{block}}} 1"),
            format!("coredns_dns_request_duration_seconds_bucket{{le=\"0.00025\",{block}}} 0"),
            format!("coredns_dns_request_size_bytes_sum{{{block},proto=\"udp\"}} 60.0"),
            format!(
                "coredns_dns_response_size_bytes_bucket{{le=\"200.0\",{block},proto=\"udp\"}} 1"
            ),
            "coredns_panics_total 0".to_owned(),
            format!("coredns_plugin_enabled{{{block},name=\"ready\"}} 1"),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("type=\"A\""), "what never counted has no series");
    }

    #[test]
    fn the_cache_has_the_names_of_coredns() {
        let resolver = Arc::new(Resolver::to(&[([127, 0, 0, 1], 1).into()]).unwrap());
        resolver.stats().requests.add_one();
        resolver.stats().denial_hits.add_one();
        resolver.stats().shared.add_one();
        let mut registry = Registry::default();
        let metrics = DnsMetrics::new(Arc::new(DnsStats::new(1)), None, Vec::new());
        registry.register_collector(Box::new(metrics.with_resolver(Some(resolver))));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let typed = |kind| format!("server=\"\",type=\"{kind}\",zones=\".\",view=\"\"");
        for line in [
            "coredns_cache_requests_total{server=\"\",zones=\".\",view=\"\"} 1".to_owned(),
            format!("coredns_cache_hits_total{{{}}} 1", typed("denial")),
            format!("coredns_cache_hits_total{{{}}} 0", typed("success")),
            format!("coredns_cache_entries{{{}}} 0", typed("success")),
            "wharf_dns_forward_tries_total 0".to_owned(),
            "wharf_dns_forward_shared_total 1".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
