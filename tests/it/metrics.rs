//! The metrics of a whole router: every family of spec/route.md 18.3 with its labels and type, exact
//! counts after a known series of requests, and what becomes of the series of a route.

#![expect(clippy::panic, reason = "a line that is not as it should be fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use wharf::settings::RouterSettings;

use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, edge as edge_route, route, service, with_all},
    pod::{Act, Pod, Seen, ok, raw},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// Families by the columns of the spec's table: end of the name, type; those that are shown by default.
const SHARED: [(&str, &str); 16] = [
    ("current_queue", "gauge"),
    ("current_sessions", "gauge"),
    ("max_sessions", "gauge"),
    ("connections_total", "counter"),
    ("bytes_in_total", "counter"),
    ("bytes_out_total", "counter"),
    ("connection_errors_total", "counter"),
    ("response_errors_total", "counter"),
    ("up", "gauge"),
    ("current_session_rate", "gauge"),
    ("max_session_rate", "gauge"),
    ("http_average_queue_latency_milliseconds", "gauge"),
    ("http_average_connect_latency_milliseconds", "gauge"),
    ("http_average_response_latency_milliseconds", "gauge"),
    ("connections_reused_total", "counter"),
    ("http_responses_total", "counter"),
];
/// The same, for those that have to be chosen.
const SHARED_CHOSEN: [(&str, &str); 5] = [
    ("max_queue", "gauge"),
    ("limit_sessions", "gauge"),
    ("retry_warnings_total", "counter"),
    ("redispatch_warnings_total", "counter"),
    ("weight", "gauge"),
];
const FRONTEND: [(&str, &str); 8] = [
    ("current_sessions", "gauge"),
    ("max_sessions", "gauge"),
    ("bytes_in_total", "counter"),
    ("bytes_out_total", "counter"),
    ("current_session_rate", "gauge"),
    ("max_session_rate", "gauge"),
    ("connections_total", "counter"),
    ("http_responses_total", "counter"),
];
const FRONTEND_CHOSEN: [(&str, &str); 5] = [
    ("limit_sessions", "gauge"),
    ("requests_denied_total", "counter"),
    ("request_errors_total", "counter"),
    ("limit_session_rate", "gauge"),
    ("http_requests_total", "counter"),
];
const SERVER: [(&str, &str); 2] =
    [("check_failures_total", "counter"), ("downtime_seconds_total", "counter")];
const SERVER_CHOSEN: [(&str, &str); 1] = [("check_duration_milliseconds", "gauge")];

/// A text of metrics, parsed strictly.
#[derive(Debug, Default)]
struct Text {
    /// Family to type.
    families: BTreeMap<String, String>,
    /// Name to labels to value; a family's series follow its lines.
    series: BTreeMap<String, BTreeMap<Vec<(String, String)>, f64>>,
}

impl Text {
    /// # Panics
    /// When a line is not what the older format of Prometheus allows.
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let (mut helped, mut typed) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.is_empty(), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, helped, "{line}");
                assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", is_counter(name), "{line}");
                let before = parsed.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "a family twice: {line}");
                name.clone_into(&mut typed);
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (name, labels, value) = series(line);
                let stem = name.strip_prefix(&typed).unwrap_or_else(|| panic!("astray: {line}"));
                let stems: &[&str] = match &*parsed.families[&typed] {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    _ => &[""],
                };
                assert!(stems.contains(&stem), "astray: {line}");
                let before = parsed.series.entry(name).or_default().insert(labels, value);
                assert_eq!(before, None, "a series twice: {line}");
            }
        }
        parsed
    }

    /// The value of a series.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let series = self.series.get(name).unwrap_or_else(|| panic!("no {name}"));
        *series.get(&labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {series:#?}"))
    }

    /// The families with this start, without it, and their types.
    fn with_start(&self, start: &str) -> BTreeSet<(&str, &str)> {
        let named = self.families.iter();
        named.filter_map(|(name, kind)| Some((name.strip_prefix(start)?, &**kind))).collect()
    }

    /// The names of the labels of a family, in every series the same.
    fn labels(&self, name: &str) -> Vec<&str> {
        let mut rows = self.series[name].keys();
        let names = |row: &'_ [(String, String)]| {
            row.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let first = rows.next().expect("a series");
        assert!(rows.all(|row| names(row) == names(first)), "{name}");
        first.iter().map(|(name, _)| &**name).collect()
    }
}

/// These two have their names from before.
fn is_counter(name: &str) -> bool {
    name.ends_with("_total")
        || ["haproxy_exporter_total_scrapes", "haproxy_exporter_csv_parse_failures"].contains(&name)
}

/// `name{label="value",...} number`; values here need no escapes.
fn series(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (name, value) = line.rsplit_once(' ').expect("a name and a value");
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let Some((name, labels)) = name.split_once('{') else {
        return (name.to_owned(), Vec::new(), value);
    };
    let labels = labels.strip_suffix("\"}").unwrap_or_else(|| panic!("no end: {line}"));
    let label = |label: &str| {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        (name.to_owned(), value.to_owned())
    };
    (name.to_owned(), labels.split("\",").map(label).collect(), value)
}

async fn scrape(edge: &Edge) -> Text {
    let answer = Client::connect(edge.admin).await.get("localhost", "/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Text::parse(&answer.text())
}

fn pairs(lists: &[&[(&'static str, &'static str)]]) -> BTreeSet<(&'static str, &'static str)> {
    lists.iter().copied().flatten().copied().collect()
}

/// [MET-1]: the families of the spec, by default and with everything chosen, with their labels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_1_every_family_has_its_name_its_labels_and_its_type() {
    let pods = [Pod::saying("a").await, Pod::saying("b").await];
    let objects = app(
        route("a", HOST).annotated("haproxy.router.openshift.io/pod-concurrent-connections", "9"),
        &pods.each_ref().map(|pod| pod.address),
    );
    for all in [false, true] {
        let choose = |settings: &mut RouterSettings| {
            settings.admin_port.exported = all.then(|| (0..100).collect());
        };
        let edge = Edge::with(&objects, choose).await;
        let text = scrape(&edge).await;
        let expected = |usual: &[&[_]], chosen: &[&[_]]| {
            let chosen = if all { pairs(chosen) } else { BTreeSet::new() };
            &pairs(usual) | &chosen
        };
        let groups: [(&str, BTreeSet<_>, &[&str]); 3] = [
            ("frontend", expected(&[&FRONTEND], &[&FRONTEND_CHOSEN]), &["frontend"]),
            (
                "backend",
                expected(&[&SHARED], &[&SHARED_CHOSEN]),
                &["backend", "namespace", "route"],
            ),
            (
                "server",
                expected(&[&SHARED, &SERVER], &[&SHARED_CHOSEN, &SERVER_CHOSEN]),
                &["server", "namespace", "route", "pod", "service"],
            ),
        ];
        for (group, families, labels) in groups {
            let start = format!("haproxy_{group}_");
            assert_eq!(text.with_start(&start), families, "{group} {all}");
            for (name, _) in families {
                let found = text.labels(&format!("{start}{name}"));
                let code = if name == "http_responses_total" { &["code"][..] } else { &[] };
                assert_eq!(found, [labels, code].concat(), "{group} {name}");
            }
        }
        edge.finish().await;
    }
}

/// Section 18.3: the families of the router itself, and those of OpenShift that it has by other means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_1_the_routers_own_families_are_there() {
    let pod = Pod::saying("a").await;
    let pair = crate::harness::tls::pair(HOST);
    let objects = app(edge_route("a", HOST, Some(&pair)), &[pod.address]);
    let edge = Edge::with(&objects, |settings| settings.max_connections = 100).await;
    // A change is noted as applied once it serves, which may be a moment later.
    let text = eventually("a change that was applied", async || {
        let text = scrape(&edge).await;
        text.families.contains_key("wharf_config_last_success_timestamp_seconds").then_some(text)
    })
    .await;
    for (name, kind) in [
        ("haproxy_up", "gauge"),
        ("haproxy_exporter_total_scrapes", "counter"),
        ("haproxy_exporter_csv_parse_failures", "counter"),
        ("haproxy_exporter_scrape_interval", "gauge"),
        ("haproxy_exporter_server_threshold", "gauge"),
        ("haproxy_max_connections", "gauge"),
        ("haproxy_process_cpu_seconds_total", "counter"),
        ("haproxy_process_open_fds", "gauge"),
        ("haproxy_process_max_fds", "gauge"),
        ("haproxy_process_resident_memory_bytes", "gauge"),
        ("haproxy_process_virtual_memory_bytes", "gauge"),
        ("haproxy_process_virtual_memory_max_bytes", "gauge"),
        ("haproxy_process_start_time_seconds", "gauge"),
        ("template_router_reload_seconds", "summary"),
        ("template_router_write_config_seconds", "summary"),
        ("template_router_reload_failure", "gauge"),
        ("openshift_build_info", "gauge"),
        ("process_cpu_seconds_total", "counter"),
        ("wharf_http_request_duration_seconds", "histogram"),
        ("wharf_upstream_connect_seconds", "histogram"),
        ("wharf_upstream_first_byte_seconds", "histogram"),
        ("wharf_config_last_success_timestamp_seconds", "gauge"),
        ("wharf_certificate_not_after_timestamp_seconds", "gauge"),
    ] {
        assert_eq!(text.families.get(name).map(String::as_str), Some(kind), "{name}");
    }
    assert_eq!(text.value("haproxy_up", &[]), 1.0);
    assert_eq!(text.value("haproxy_max_connections", &[]), 100.0);
    assert_eq!(text.value("haproxy_exporter_server_threshold", &[("type", "current")]), 1.0);
    let labels = [("namespace", "app"), ("route", "a"), ("key", "ECDSA")];
    let ends = text.value("wharf_certificate_not_after_timestamp_seconds", &labels);
    let served = edge.router.live.load().certs.describe();
    let served = served.iter().find(|it| it.host == HOST).expect("it is served").not_after;
    assert_eq!(ends, f64::from(i32::try_from(served).expect("before 2038")));
    assert!(text.value("template_router_reload_seconds_count", &[]) >= 1.0);
    assert!(text.value("template_router_write_config_seconds_count", &[]) >= 1.0);
}

/// What a pod says to a path: its status.
fn by_path(seen: &Seen) -> Act {
    match seen.target() {
        "/missing" => raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        "/broken" => Act::Reset,
        _ => ok("hello"),
    }
}

/// [MET-1, MET-2]: after four known requests the counts are exact, and a change of the configuration
/// takes nothing of them away; means and histograms are of the same requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_2_counts_are_exact_and_survive_a_change() {
    let pod = Pod::start(by_path).await;
    let objects = app(route("a", HOST), &[pod.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.admin_port.exported = Some((0..100).collect());
        settings.max_connections = 100;
    })
    .await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    assert_eq!(client.get(HOST, "/missing").await.status(), 404);
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc")).await;
    assert_eq!(client.response().await.status(), 200);
    client
        .send(format!("POST /broken HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n"))
        .await;
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(client.get("other.example.com", "/").await.status(), 503);
    drop(client);
    edge.is_quiet().await;

    edge.write("more.yaml", &app(route("b", "b.example.com"), &[pod.address]));
    edge.until("the second route", |snapshot| snapshot.routes.len() == 2).await;
    let text = scrape(&edge).await;
    let address = pod.address.to_string();
    let backend = [("backend", "http"), ("namespace", "app"), ("route", "a")];
    let server = [
        ("server", &*address),
        ("namespace", "app"),
        ("route", "a"),
        ("pod", "a-pod-0"),
        ("service", "a"),
    ];
    for (group, labels) in [("backend", &backend[..]), ("server", &server[..])] {
        for (name, value) in [
            ("connections_total", 4.0),
            ("bytes_in_total", 3.0),
            ("current_sessions", 0.0),
            ("max_sessions", 1.0),
            ("connection_errors_total", 0.0),
            ("response_errors_total", 1.0),
            ("connections_reused_total", 3.0),
            ("up", 1.0),
            ("current_queue", 0.0),
            ("max_queue", 0.0),
            ("retry_warnings_total", 0.0),
            ("redispatch_warnings_total", 0.0),
        ] {
            let name = format!("haproxy_{group}_{name}");
            assert_eq!(text.value(&name, labels), value, "{name}");
        }
        for (code, count) in [("2xx", 2.0), ("4xx", 1.0), ("5xx", 1.0), ("other", 0.0)] {
            let labels = [labels, &[("code", code)]].concat();
            let name = format!("haproxy_{group}_http_responses_total");
            assert_eq!(text.value(&name, &labels), count, "{name} {code}");
        }
        let name = format!("haproxy_{group}_http_average_response_latency_milliseconds");
        assert!(text.value(&name, labels) > 0.0);
    }
    let public = [("frontend", "public")];
    for (name, value) in [
        ("connections_total", 1.0),
        ("http_requests_total", 5.0),
        ("max_sessions", 1.0),
        ("current_sessions", 0.0),
        ("limit_sessions", 100.0),
        ("requests_denied_total", 0.0),
    ] {
        assert_eq!(text.value(&format!("haproxy_frontend_{name}"), &public), value, "{name}");
    }
    let kind = [("backend", "http")];
    for (name, count) in [
        ("wharf_http_request_duration_seconds", 4.0),
        ("wharf_upstream_connect_seconds", 1.0),
        ("wharf_upstream_first_byte_seconds", 3.0),
    ] {
        assert_eq!(text.value(&format!("{name}_count"), &kind), count, "{name}");
        let last = [("le", "+Inf"), ("backend", "http")];
        assert_eq!(text.value(&format!("{name}_bucket"), &last), count, "{name}");
        let mut buckets: Vec<f64> = text.series[&format!("{name}_bucket")]
            .iter()
            .filter(|(labels, _)| labels[1].1 == "http")
            .map(|(_, value)| *value)
            .collect();
        buckets.sort_by(f64::total_cmp);
        assert_eq!((buckets.len(), buckets.last()), (15, Some(&count)), "{name}");
    }
}

/// [MET-1]: the most at once is of the whole router, over its workers, and the rate is of a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_1_peaks_and_rates_are_of_the_whole_router() {
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let gate = std::sync::Arc::clone(&held);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
    let pod = Pod::start(move |_| Act::After(std::sync::Arc::clone(&gate), answer.clone())).await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = edge.client().await;
        client.send(crate::harness::client::get(HOST, "/")).await;
        clients.push(client);
    }
    eventually("five at the pod", async || (pod.seen().len() == 5).then_some(())).await;
    held.add_permits(5);
    for client in &mut clients {
        assert_eq!(client.response().await.status(), 200);
    }
    drop(clients);
    edge.is_quiet().await;
    let backend = [("backend", "http"), ("namespace", "app"), ("route", "a")];
    let text = scrape(&edge).await;
    assert_eq!(text.value("haproxy_backend_current_sessions", &backend), 0.0);
    assert_eq!(text.value("haproxy_backend_max_sessions", &backend), 5.0);
    assert_eq!(text.value("haproxy_frontend_max_sessions", &[("frontend", "public")]), 5.0);
    eventually("a second to pass", async || {
        let text = scrape(&edge).await;
        let rate = text.value("haproxy_backend_max_session_rate", &backend);
        (rate > 0.0 && rate <= 5.0).then_some(())
    })
    .await;
}

/// A server that is down, its failed checks and its time [HC-2].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_4_a_server_that_is_down_is_0_and_counts_its_failures() {
    let pod = Pod::saying("a").await;
    let gone = Pod::saying("b").await.address;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address, gone]), |settings| {
        settings.timeouts.check_interval = std::time::Duration::from_millis(20);
    })
    .await;
    let address = gone.to_string();
    let text = eventually("the failed check", async || {
        let text = scrape(&edge).await;
        let rows = &text.series["haproxy_server_up"];
        let down = |labels: &[(String, String)], up: f64| labels[0].1 == address && up == 0.0;
        rows.iter().any(|(labels, up)| down(labels, *up)).then_some(text)
    })
    .await;
    let failures = &text.series["haproxy_server_check_failures_total"];
    for (labels, count) in failures {
        assert_eq!(*count > 0.0, labels[0].1 == address, "{labels:?}");
    }
    let backend = [("backend", "http"), ("namespace", "app"), ("route", "a")];
    assert_eq!(text.value("haproxy_backend_up", &backend), 1.0, "one is left");
}

/// [MET-5]: nothing is left of a route that is gone, and it starts anew when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_5_the_series_of_a_route_go_with_it() {
    let pod = Pod::saying("a").await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let other = app(route("b", "b.example.com"), &[pod.address]);
    edge.write("b.yaml", &other);
    edge.until("the route", |snapshot| snapshot.routes.len() == 2).await;
    assert_eq!(edge.get("b.example.com", "/").await.status(), 200);
    edge.is_quiet().await;
    let of_b = |text: &Text| {
        let is_b = |labels: &[(String, String)]| labels.iter().any(|(_, value)| value == "b");
        text.series.values().flat_map(BTreeMap::keys).filter(|labels| is_b(labels)).count()
    };
    let labels = [("backend", "http"), ("namespace", "app"), ("route", "b")];
    let before = scrape(&edge).await;
    assert!(of_b(&before) > 30);
    assert_eq!(before.value("haproxy_backend_connections_total", &labels), 1.0);
    edge.remove("b.yaml");
    edge.until("the route to go", |snapshot| snapshot.routes.len() == 1).await;
    assert_eq!(of_b(&scrape(&edge).await), 0);
    edge.write("b.yaml", &other);
    edge.until("the route", |snapshot| snapshot.routes.len() == 2).await;
    let after = scrape(&edge).await;
    assert_eq!(after.value("haproxy_backend_connections_total", &labels), 0.0);
}

/// [MET-3]: a thousand servers have their series, and a scrape of them is kept for a while [MET-4].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn met_3_a_thousand_servers_have_their_series() {
    let endpoints: Vec<_> = (0..1000_u16)
        .map(|index| ([127, 0, u8::try_from(index / 250).unwrap(), 1], 10_000 + index).into())
        .collect();
    let objects = with_all([service("a", &endpoints), vec![route("a", HOST)]]);
    for (threshold, servers) in [(None, 1000), (Some(999), 0), (Some(1000), 1000)] {
        let edge = Edge::with(&objects, |settings| {
            settings.admin_port.server_threshold = threshold;
        })
        .await;
        let text = scrape(&edge).await;
        let count = text.series.get("haproxy_server_up").map_or(0, BTreeMap::len);
        assert_eq!(count, servers, "{threshold:?}");
        assert_eq!(text.series["haproxy_backend_up"].len(), 1);
        assert_eq!(text.value("haproxy_exporter_server_threshold", &[("type", "current")]), 1000.0);
        let interval = text.value("haproxy_exporter_scrape_interval", &[]);
        assert_eq!(interval, 5.0);
        let again = scrape(&edge).await;
        assert_eq!(again.value("haproxy_exporter_total_scrapes", &[]), 1.0, "the same text");
        edge.finish().await;
    }
}
