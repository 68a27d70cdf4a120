//! The API of the NLB emulator, for all load balancers of the process: `/healthz`, `/metrics`,
//! `/api/v1/targets`, `/api/v1/explain`, which are read only, and the elbv2 API at `POST /`.

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::net::TcpListener;

use super::{
    Elbv2, Fleet, explain,
    metrics::{COUNTERS, CloudWatch, Read, hosts_of},
};
use crate::{
    app::pages::{self, Page, TEXT, page},
    nlb::{NlbHandle, stats::TargetState},
};

/// Serves the API on `listener` until it is dropped; `elbv2` as well, if it is given.
pub async fn serve_api(listener: TcpListener, fleet: impl Into<Fleet>, elbv2: Option<Elbv2>) {
    let fleet = fleet.into();
    let answer = move |request: Request<Incoming>| {
        let (fleet, elbv2) = (fleet.clone(), elbv2.clone());
        async move {
            match elbv2 {
                Some(elbv2) if request.method() == Method::POST && request.uri().path() == "/" => {
                    elbv2.answer(request).await
                },
                _ => answer(&fleet, request.method(), request.uri()),
            }
        }
    };
    pages::serve(listener, answer).await;
}

fn answer(fleet: &Fleet, method: &Method, uri: &Uri) -> Page {
    pages::read_only(method, || {
        Some(match uri.path() {
            "/healthz" => page(StatusCode::OK, TEXT, "ok\n"),
            "/metrics" => pages::metrics(metrics(fleet)),
            "/api/v1/targets" => match serde_json::to_string(&targets(fleet)) {
                Ok(text) => page(StatusCode::OK, "application/json", text),
                Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "not encoded\n"),
            },
            "/api/v1/explain" => match explain::flow(fleet, uri.query().unwrap_or_default()) {
                Some(text) => page(StatusCode::OK, "application/json", text),
                None => page(StatusCode::BAD_REQUEST, TEXT, explain::USAGE),
            },
            _ => return None,
        })
    })
}

/// The targets of all load balancers.
fn targets(fleet: &Fleet) -> Vec<TargetState> {
    fleet.handles().iter().flat_map(NlbHandle::targets).collect()
}

fn metrics(fleet: &Fleet) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(fleet.clone())));
    registry.register_collector(Box::new(CloudWatch(fleet.clone())));
    if let Some(dns) = fleet.dns() {
        registry.register_collector(Box::new(dns.clone()));
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Encodes the counts of the load balancers. The encoder adds `_total` to counters.
#[derive(Debug)]
struct Metrics(Fleet);

/// Counters that CloudWatch does not have.
const OWN_COUNTERS: [(&str, &str, Read); 7] = [
    ("source_blocked_flow_count", "Connections of clients in no source range", |totals| {
        totals.source_blocked_flow_count
    }),
    ("target_connect_failures", "Connections to targets that failed", |totals| {
        totals.target_connect_failures
    }),
    ("redispatches", "Flows that went to a second target", |totals| totals.redispatches),
    ("accept_errors", "Failed accepts", |totals| totals.accept_errors),
    ("datagram_count", "Datagrams relayed in both directions", |totals| totals.datagram_count),
    (
        "dropped_datagram_count",
        "Datagrams dropped: no target, too many flows, a full queue",
        |totals| totals.dropped_datagram_count,
    ),
    ("expired_flow_evictions", "Expired flows that were reset to make room", |totals| {
        totals.expired_flow_evictions
    }),
];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let listeners: Vec<_> = self
            .0
            .handles()
            .iter()
            .flat_map(|handle| {
                let names = handle.names();
                handle.listeners().into_iter().map(move |totals| (Arc::clone(&names), totals))
            })
            .collect();
        for (name, help, read) in COUNTERS.iter().chain(&OWN_COUNTERS) {
            let name = format!("nlb_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (names, totals) in &listeners {
                let labels = [("listener", &*totals.listener), ("load_balancer", &*names.label)];
                ConstCounter::new(read(totals)).encode(family.encode_family(&labels)?)?;
            }
        }
        let name = "nlb_active_flow_count";
        let mut family = encoder.encode_descriptor(name, "Open flows", None, MetricType::Gauge)?;
        for (names, totals) in &listeners {
            let labels = [("listener", &*totals.listener), ("load_balancer", &*names.label)];
            ConstGauge::new(totals.active_flow_count).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("nlb_expired_flow_count", "Flows that wait for their late reset");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (names, totals) in &listeners {
            let labels = [("listener", &*totals.listener), ("load_balancer", &*names.label)];
            let count = i64::try_from(totals.expired_flow_count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        self.encode_hosts(&mut encoder)
    }
}

impl Metrics {
    fn encode_hosts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut groups = BTreeMap::<(Arc<str>, String), [i64; 2]>::new();
        for handle in self.0.handles() {
            let names = handle.names();
            for target in handle.targets() {
                let group = (target.target_group, names.label.clone());
                let counts = groups.entry(group).or_default();
                let [healthy, unhealthy] = hosts_of(target.state);
                counts[0] += healthy;
                counts[1] += unhealthy;
            }
        }
        let families =
            [("nlb_healthy_host_count", "Healthy"), ("nlb_unhealthy_host_count", "Unhealthy")];
        for (index, (name, help)) in families.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for ((group, balancer), counts) in &groups {
                let labels = [("target_group", &**group), ("load_balancer", &**balancer)];
                ConstGauge::new(counts[index]).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
