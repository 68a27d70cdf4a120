//! The exposition text: names, labels, one suffix, sums over workers.

use std::collections::HashSet;

use super::*;
use crate::{admin::fixture, proxy::record::Frontend};

fn encode(snapshot: &Arc<Snapshot>, stats: &Arc<RouterStats>, extra: Extra) -> String {
    text_of(snapshot, stats, extra, &AdminSettings::default())
}

fn text_of(
    snapshot: &Arc<Snapshot>,
    stats: &Arc<RouterStats>,
    extra: Extra,
    settings: &AdminSettings,
) -> String {
    let text = Exporter::new(settings).scrape(snapshot, stats, extra, Format::OpenMetrics);
    String::from_utf8(text.to_vec()).unwrap()
}

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
        "haproxy_frontend_http_responses_total{frontend=\"public\",code=\"5xx\"} 2",
        "haproxy_backend_connections_total{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 5",
        "haproxy_backend_current_queue{backend=\"https-edge\",namespace=\"shop\",route=\"web\"} 1",
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
            let kinds = ["gauge", "counter", "histogram", "summary", "unknown"];
            assert!(kinds.contains(&kind), "{line}");
            assert!(families.insert(name.to_owned()), "family twice: {line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name.to_owned()), "series twice: {line}");
            let family = name.split('{').next().unwrap();
            let stems = ["_total", "_sum", "_count", "_bucket"].map(|end| family.strip_suffix(end));
            assert!(
                families.contains(family)
                    || stems.into_iter().flatten().any(|stem| families.contains(stem)),
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

/// [MET-1]: a list of columns takes the place of the usual ones.
#[test]
fn met_1_the_columns_choose_the_families() {
    let snapshot = Arc::new(fixture::snapshot());
    let stats = Arc::new(RouterStats::new(1));
    stats.frontend(Frontend::Public, 0).requests.add(3);
    let backend = &snapshot.routes[0].compiled.as_ref().unwrap().backend;
    backend.stats.most_queued.note(2);
    let settings = AdminSettings { exported: Some(vec![3, 41, 48]), ..AdminSettings::default() };
    let text = text_of(&snapshot, &stats, Extra::default(), &settings);
    let names: HashSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .filter(|name| ["frontend", "backend", "server"].iter().any(|it| name.contains(it)))
        .filter(|name| name.starts_with("haproxy_") && !name.starts_with("haproxy_exporter"))
        .collect();
    assert_eq!(
        names,
        HashSet::from([
            "haproxy_frontend_http_requests_total",
            "haproxy_frontend_http_responses_total",
            "haproxy_backend_max_queue",
            "haproxy_backend_http_responses_total",
            "haproxy_server_max_queue",
            "haproxy_server_http_responses_total",
        ])
    );
    assert!(text.contains("haproxy_frontend_http_requests_total{frontend=\"public\"} 3\n"));
    assert_eq!(text.matches("haproxy_backend_http_responses_total{").count(), 1, "one class");
    let labels = "{backend=\"https-edge\",namespace=\"shop\",route=\"web\"}";
    assert!(text.contains(&format!("haproxy_backend_max_queue{labels} 2\n")), "{text}");
}

/// [MET-3]: no cliff but the one that is asked for, and the backends stay whole behind it.
#[test]
fn met_3_servers_are_left_out_above_the_threshold_alone() {
    let snapshot = Arc::new(fixture::snapshot());
    let stats = Arc::new(RouterStats::new(1));
    for (threshold, shown) in [(None, true), (Some(2), true), (Some(1), false)] {
        let settings = AdminSettings { server_threshold: threshold, ..AdminSettings::default() };
        let text = text_of(&snapshot, &stats, Extra::default(), &settings);
        assert_eq!(text.contains("haproxy_server_up{"), shown, "{threshold:?}");
        assert!(text.contains("haproxy_backend_http_responses_total{"));
        let limit = threshold.map_or_else(|| "+Inf".to_owned(), |most: usize| most.to_string());
        for line in [
            "haproxy_exporter_server_threshold{type=\"current\"} 2\n".to_owned(),
            format!("haproxy_exporter_server_threshold{{type=\"limit\"}} {limit}\n"),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
