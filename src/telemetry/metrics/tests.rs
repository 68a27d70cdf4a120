//! The exposition text: names, labels, one suffix, sums over workers.

use std::collections::HashSet;

use super::*;
use crate::admin::fixture;

fn scrape() -> String {
    let stats = Arc::new(RouterStats::new(2));
    stats.frontend(Frontend::Public, 1).requests.add(3);
    stats.frontend(Frontend::Public, 0).responses[4].add(2);
    stats.count_reason(0, crate::model::reason::Reason::NoRoute);
    let snapshot = Arc::new(fixture::snapshot());
    let backend = &snapshot.routes[0].compiled.as_ref().unwrap().backend;
    backend.stats.workers.cell(0).requests.add(5);
    backend.servers[1].peer.set_up(false);
    backend.stats.most_queued.note(backend.stats.queued.rise());
    backend.servers[0].stats.queued.rise();
    let extra =
        Extra { max_connections: 50_000, applies: 2, apply_seconds: 0.5, ..Extra::default() };
    encode(&snapshot, &stats, extra)
}

/// [LSN-1]
#[test]
fn values_have_openshift_names_and_labels() {
    let text = scrape();
    for line in [
        "haproxy_up 1",
        "haproxy_max_connections 50000",
        "haproxy_frontend_http_requests_total{frontend=\"public\"} 3",
        "haproxy_frontend_http_responses_total{frontend=\"public\",code=\"5xx\"} 2",
        "haproxy_backend_connections_total{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 5",
        "haproxy_backend_current_queue{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 1",
        "haproxy_backend_max_queue{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 1",
        "haproxy_server_current_queue{server=\"10.1.0.4:8080\",namespace=\"shop\",route=\"web\",pod=\"web-1\",service=\"web\"} 1",
        "haproxy_backend_up{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 1",
        "haproxy_server_up{server=\"10.1.0.5:8080\",namespace=\"shop\",route=\"web\",pod=\"web-2\",service=\"web\"} 0",
        "template_router_reload_seconds_sum 0.5",
        "template_router_reload_failure 0",
        "wharf_responses_by_router_total{reason=\"no_route\"} 1",
        "wharf_config_generation 4",
        "wharf_routes{state=\"admitted\"} 1",
        "wharf_routes{state=\"rejected\"} 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_text_parses_and_names_are_suffixed_once() {
    let text = scrape();
    assert!(!text.contains("_total_total"));
    assert!(text.ends_with("# EOF\n"));
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert!(families.insert(name.to_owned()), "family twice: {line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name.to_owned()), "series twice: {line}");
            let family = name.split('{').next().unwrap();
            assert!(
                families.contains(family)
                    || families.contains(family.strip_suffix("_total").unwrap_or_default()),
                "no family: {line}"
            );
        }
    }
}

/// [MET-5]
#[test]
fn the_series_of_a_route_go_with_it() {
    let stats = Arc::new(RouterStats::new(1));
    let series = |snapshot| {
        let text = encode(&Arc::new(snapshot), &stats, Extra::default());
        text.lines().filter(|line| line.contains("route=\"web\"")).count()
    };
    assert!(series(fixture::snapshot()) > 0);
    let mut without = fixture::snapshot();
    without.routes.clear();
    assert_eq!(series(without), 0);
}
