//! Endpoints, certificates and fallbacks, rule by rule. Objects are written as JSON, so that what
//! manifests cannot say (a missing default, an odd port) can be said.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{
    snapshot::{Backend, ForwardedPolicy},
    tls::store::Offer,
};

fn compile(compiler: &mut Compiler, items: &[Value]) -> Snapshot {
    compiler.compile(&objects(items), &Resolved::new(), Vec::new(), UNIX_EPOCH)
}

/// The objects in namespace `app`; earlier ones are older.
fn objects(items: &[Value]) -> Objects {
    let mut objects = Objects::default();
    for (order, item) in (0..).zip(items) {
        match item["kind"].as_str().unwrap() {
            "Route" => objects.routes.push(stored(item, order)),
            "Service" => objects.services.push(stored(item, order)),
            "EndpointSlice" => objects.slices.push(stored(item, order)),
            kind => panic!("{kind} is not expected"),
        }
    }
    objects
}

fn stored<T: DeserializeOwned>(item: &Value, order: u64) -> Arc<Stored<T>> {
    let key = ObjectKey::new("app", item["metadata"]["name"].as_str().unwrap());
    let object = serde_json::from_value(item.clone()).unwrap();
    Arc::new(Stored { order, ..Stored::in_memory(key, object, "test.yaml") })
}

/// Route `name` for `name.example.com`, to Service `web` where `spec` says nothing else.
fn route(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"host": format!("{name}.example.com"), "to": {"name": "web"}});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"kind": "Route", "metadata": {"name": name, "namespace": "app"}, "spec": whole})
}

fn service(name: &str) -> Value {
    json!({"kind": "Service", "metadata": {"name": name, "namespace": "app"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 8080}]}})
}

fn slice(name: &str, service: &str, ports: &Value, endpoints: &Value) -> Value {
    let family = if endpoints.to_string().contains("::") { "IPv6" } else { "IPv4" };
    json!({"kind": "EndpointSlice", "addressType": family, "ports": ports, "endpoints": endpoints,
        "metadata": {"name": name, "namespace": "app",
            "labels": {"kubernetes.io/service-name": service}}})
}

/// A Service whose ready endpoints have these addresses, at port 8080.
fn app(name: &str, addresses: &[&str]) -> [Value; 2] {
    let endpoints: Vec<Value> =
        addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    let ports = json!([{"name": "http", "port": 8080}]);
    [service(name), slice(name, name, &ports, &json!(endpoints))]
}

fn backend<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Arc<Backend> {
    let state = snapshot.routes.iter().find(|state| &*state.source.key.name == name).unwrap();
    let compiled = state.compiled.as_ref();
    &compiled.unwrap_or_else(|| panic!("{name}: {:?}", state.admission)).backend
}

fn labels(backend: &Backend) -> Vec<&str> {
    backend.servers.iter().map(|server| &*server.label).collect()
}

/// [W-6]: nobody is chosen where all weights are 0, by any algorithm.
#[test]
fn all_weights_zero_choose_nobody() {
    for algorithm in ["roundrobin", "leastconn", "random", "source"] {
        let mut item = route("r", &json!({"to": {"name": "web", "weight": 0}}));
        item["metadata"]["annotations"] = json!({"haproxy.router.openshift.io/balance": algorithm});
        let [service, slice] = app("web", &["10.1.0.1", "10.1.0.2"]);
        let snapshot = compile(&mut compiler(), &[item, service, slice]);
        let balancer = &backend(&snapshot, "r").balancer;
        assert_eq!(balancer.algorithm().as_str(), algorithm);
        assert_eq!(balancer.pick(7, |_| true, |_| 0), None, "{algorithm}");
    }
}

/// [LB-3, EP-2]: by number or name, as text; without a target port each TCP port is an endpoint.
#[test]
fn the_target_port_selects_endpoints() {
    let ports = json!([{"name": "http", "port": 8080}, {"name": "admin", "port": 9090},
        {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let (http, admin) = ("10.1.0.1:8080", "10.1.0.1:9090");
    for (target, want) in [
        (json!(null), vec![http, admin]),
        (json!(9090), vec![admin]),
        (json!("9090"), vec![admin]),
        (json!("http"), vec![http]),
        (json!("HTTP"), vec![]),
        (json!(80), vec![]),
        (json!(53), vec![]),
        (json!("dns"), vec![]),
    ] {
        let port =
            if target.is_null() { json!({}) } else { json!({"port": {"targetPort": target}}) };
        let slice = slice("s", "web", &ports, &json!([{"addresses": ["10.1.0.1"]}]));
        let items = [route("r", &port), service("web"), slice];
        let snapshot = compile(&mut compiler(), &items);
        assert_eq!(labels(backend(&snapshot, "r")), want, "{target}");
    }
}

/// [EP-1] with row 32 of the quirk register: ready ones, of all slices; none ready means those that
/// still serve while they end. [EP-2]: each address and port once. [EP-3]: IPv6 in brackets.
#[test]
fn endpoints_are_ready_distinct_and_labelled() {
    let with = |address: &str, conditions: &Value| json!({"addresses": [address], "conditions": conditions});
    let (v4, v6) = ("10.1.0.1", "fd00::1");
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    let rows = [
        (
            vec![with(v4, &json!({})), with(v6, &json!({"ready": true}))],
            vec!["10.1.0.1:8080", "[fd00::1]:8080"],
        ),
        (vec![with(v4, &json!({})), with(v4, &json!({}))], vec!["10.1.0.1:8080"]),
        (vec![with(v4, &json!({})), with(v6, &ending)], vec!["10.1.0.1:8080"]),
        (vec![with(v4, &json!({"ready": false})), with(v6, &ending)], vec!["[fd00::1]:8080"]),
        (vec![with(v4, &json!({"ready": false}))], vec![]),
    ];
    for (endpoints, want) in rows {
        let ports = json!([{"name": "http", "port": 8080}]);
        let mut items = vec![route("r", &json!({})), service("web")];
        items.extend(endpoints.iter().enumerate().map(|(index, endpoint)| {
            slice(&format!("s{index}"), "web", &ports, &json!([endpoint]))
        }));
        let snapshot = compile(&mut compiler(), &items);
        assert_eq!(labels(backend(&snapshot, "r")), want, "{endpoints:?}");
    }
}

/// [EP-2]: one number under several names is one endpoint, so that its counters have one home.
#[test]
fn a_port_with_two_names_is_one_endpoint() {
    let ports = json!([{"name": "a", "port": 8080}, {"name": "b", "port": 9090},
        {"name": "c", "port": 8080}]);
    let slice = slice("s", "web", &ports, &json!([{"addresses": ["10.1.0.1"]}]));
    let items = [route("r", &json!({})), service("web"), slice];
    let snapshot = compile(&mut compiler(), &items);
    assert_eq!(labels(backend(&snapshot, "r")), ["10.1.0.1:8080", "10.1.0.1:9090"]);
}

/// An idled Service that has no endpoints; its virtual address is one that the filter refuses.
fn idled(name: &str) -> Value {
    let mut idled = service(name);
    idled["metadata"]["annotations"] =
        json!({"idling.alpha.openshift.io/idled-at": "2026-01-01T00:00:00Z"});
    idled["spec"]["clusterIP"] = json!("127.0.0.9");
    idled
}

/// [EPF-3, IDLE-1]
#[test]
fn the_address_of_an_idled_service_is_not_filtered() {
    let snapshot = compile(&mut compiler(), &[route("r", &json!({})), idled("web")]);
    assert_eq!(labels(backend(&snapshot, "r")), ["127.0.0.9:8080"]);
    let mut headless = idled("web");
    headless["spec"]["clusterIP"] = json!("None");
    let snapshot = compile(&mut compiler(), &[route("r", &json!({})), headless]);
    assert_eq!(labels(backend(&snapshot, "r")), Vec::<&str>::new());
}

/// [HC-1]: only where Services of positive weight have more than one endpoint; those of weight 0
/// are then checked as well; an idled Service rules it out.
#[test]
fn checks_need_a_choice() {
    let (one, two) = (json!({"name": "one"}), json!({"name": "two"}));
    let drained = json!({"name": "two", "weight": 0});
    for (to, more, want) in [
        (&one, vec![], 0),
        (&two, vec![], 2),
        (&one, vec![&two], 3),
        (&one, vec![&drained], 0),
        (&two, vec![&json!({"name": "one", "weight": 0})], 3),
        // The address of an idled Service counts, and is not checked.
        (&two, vec![&json!({"name": "idle"})], 2),
        (&one, vec![&json!({"name": "idle"})], 1),
        (&json!({"name": "idle"}), vec![], 0),
    ] {
        let mut items = vec![route("r", &json!({"to": to, "alternateBackends": more}))];
        items.extend(app("one", &["10.1.0.1"]));
        items.extend(app("two", &["10.1.0.2", "10.1.0.3"]));
        items.push(idled("idle"));
        let snapshot = compile(&mut compiler(), &items);
        assert_eq!(snapshot.checked.len(), want, "{to} {more:?}");
        let checked = backend(&snapshot, "r").servers.iter().filter(|one| one.checked);
        assert_eq!(checked.count(), want);
    }
}

/// [MET-5]: counters go with their route; a route that comes back starts anew, while a peer that
/// another route kept is still known.
#[test]
fn counters_go_with_their_route() {
    let mut compiler = compiler();
    let [web, slice] = app("web", &["10.1.0.1"]);
    let items = [route("r", &json!({})), web, slice, route("other", &json!({}))];
    let first = compile(&mut compiler, &items);
    let before = backend(&first, "r");
    before.stats.workers.cell(0).requests.add(5);
    before.servers[0].peer.set_up(false);
    let second = compile(&mut compiler, &items);
    assert_eq!(backend(&second, "r").stats.workers.sum(|cell| &cell.requests), 5);

    let without = compile(&mut compiler, &items[1..]);
    assert!(without.routes.iter().all(|state| &*state.source.key.name != "r"));
    let again = compile(&mut compiler, &items);
    assert_eq!(backend(&again, "r").stats.workers.sum(|cell| &cell.requests), 0);
    assert!(!backend(&again, "r").servers[0].peer.is_up());
}

/// [CONV-5, CONV-7]: a value that is not matched from end to end is as if absent.
#[test]
fn bad_annotations_fall_back_to_the_settings() {
    for (timeout, balance, forwarded, good) in [
        ("5s", "leastconn", "never", true),
        ("5s ", "leastconn ", "never ", false),
        (" 5s", " leastconn", " never", false),
        ("5sx", "leastconnx", "neverx", false),
        ("", "", "", false),
    ] {
        let mut item = route("r", &json!({}));
        item["metadata"]["annotations"] = json!({
            "haproxy.router.openshift.io/timeout": timeout,
            "haproxy.router.openshift.io/balance": balance,
            "haproxy.router.openshift.io/set-forwarded-headers": forwarded,
        });
        let mut compiler =
            compiler_with(|settings| settings.timeouts.server = Duration::from_secs(77));
        let snapshot = compile(&mut compiler, &[item]);
        let compiled = snapshot.routes[0].compiled.as_ref().unwrap();
        let got = (
            compiled.policy.server_timeout.as_secs(),
            compiled.backend.balancer.algorithm(),
            compiled.policy.forwarded == ForwardedPolicy::Append,
        );
        let want =
            if good { (5, Algorithm::Leastconn, false) } else { (77, Algorithm::Random, true) };
        assert_eq!(got, want, "{timeout:?} {balance:?} {forwarded:?}");
    }
}

fn edge(name: &str, host: &str, pair: &Pair) -> Value {
    route(
        name,
        &json!({"host": host, "tls": {"termination": "edge",
        "certificate": pair.cert_pem, "key": pair.key_pem}}),
    )
}

fn at(mut item: Value, field: &str, value: &str) -> Value {
    item["spec"][field] = json!(value);
    item
}

/// [CERT-2, CERT-3, CERT-6] with the correction of 26.1: by the route's host, exact before wildcard
/// before default; of two routes on one host the last name wins, old or not; a route without a
/// certificate gets what its host has.
#[test]
fn certificates_go_by_host() {
    let (one, two) = (pair("one"), pair("two"));
    let bare = |name, host| route(name, &json!({"host": host, "tls": {"termination": "edge"}}));
    let items = [
        at(edge("zeta", "shop.example.com", &one), "path", "/z"),
        at(edge("alpha", "shop.example.com", &two), "path", "/a"),
        at(edge("wild", "www.example.com", &two), "wildcardPolicy", "Subdomain"),
        at(bare("mid", "shop.example.com"), "path", "/m"),
        bare("under", "under.example.com"),
        bare("alone", "alone.example.org"),
    ];
    let mut compiler = compiler_with(|settings| settings.allow_wildcard_routes = true);
    let snapshot = compile(&mut compiler, &items);
    assert!(snapshot.routes.iter().all(|state| state.compiled.is_some()));
    for (sni, want) in [
        (Some("shop.example.com"), "Route app/zeta"),
        (Some("www.example.com"), "Route app/wild"),
        (Some("under.example.com"), "Route app/wild"),
        (Some("a.b.example.com"), "default"),
        (Some("alone.example.org"), "default"),
        (Some("one"), "default"),
        (None, "default"),
    ] {
        assert_eq!(&*snapshot.certs.select(&Offer::named(sni)).unwrap().source, want, "{sni:?}");
    }
}

/// [ANN-BAL], [LB-1]: exactly one of four words; anything else is as if absent.
#[test]
fn ann_bal_is_one_of_four_words() {
    for (value, on_http, on_passthrough) in [
        ("roundrobin", "roundrobin", "roundrobin"),
        ("leastconn", "leastconn", "leastconn"),
        ("source", "source", "source"),
        ("random", "random", "random"),
        ("RoundRobin", "random", "source"),
        (" source", "random", "source"),
        ("static-rr", "random", "source"),
        ("", "random", "source"),
    ] {
        for (spec, want) in
            [(json!({}), on_http), (json!({"tls": {"termination": "passthrough"}}), on_passthrough)]
        {
            let mut item = route("r", &spec);
            item["metadata"]["annotations"] = json!({"haproxy.router.openshift.io/balance": value});
            let [service, slice] = app("web", &["10.1.0.1", "10.1.0.2"]);
            let snapshot = compile(&mut compiler(), &[item, service, slice]);
            let used = backend(&snapshot, "r").balancer.algorithm().as_str();
            assert_eq!(used, want, "{value:?}");
        }
    }
}

fn with_interval(name: &str, service: &str, interval: &str) -> Value {
    let mut item = route(name, &json!({"to": {"name": service}}));
    item["metadata"]["annotations"] =
        json!({"router.openshift.io/haproxy.health.check.interval": interval});
    item
}

/// [HC-2]: the annotation, else ROUTER_BACKEND_CHECK_INTERVAL; the shortest of all routes that share an
/// endpoint; never so short that checks are a burden, and that is said.
#[test]
fn hc_2_the_interval_of_checks() {
    for (values, millis, finding) in [
        (vec!["1s"], 1000, false),
        (vec!["250"], 250, false),
        (vec!["nonsense"], 5000, false),
        (vec!["0s"], 5000, false),
        (vec!["100d"], 2_147_483_647, false),
        (vec!["1ms"], 100, true),
        (vec!["7s", "2s", "3s"], 2000, false),
        (vec!["7s", ""], 5000, false),
    ] {
        let mut items: Vec<Value> = values
            .iter()
            .enumerate()
            .map(|(nth, value)| with_interval(&format!("r{nth}"), "web", value))
            .collect();
        items.extend(app("web", &["10.1.0.1", "10.1.0.2"]));
        let snapshot = compile(&mut compiler(), &items);
        let intervals: Vec<_> = snapshot.checked.iter().map(|check| check.interval).collect();
        assert_eq!(intervals, [Duration::from_millis(millis); 2], "{values:?}");
        let said = snapshot.findings.iter().any(|it| it.code == codes::CHECKS_TOO_OFTEN);
        assert_eq!(said, finding, "{values:?}");
    }
}

fn compiler_with(change: impl FnOnce(&mut RouterSettings)) -> Compiler {
    let mut settings = RouterSettings::default();
    change(&mut settings);
    let pair = mint::self_signed(&["localhost".to_owned()]).unwrap();
    let profile = Profile::new(&settings.tls).unwrap();
    Compiler::new(Arc::new(settings), profile, (&pair.cert_pem, &pair.key_pem)).unwrap()
}

/// [EP-4]: another order in each snapshot, of the same endpoints with the same counters; without the
/// setting they are sorted [W-6].
#[test]
fn ep_4_endpoints_may_be_shuffled() {
    let addresses: Vec<String> = (1..=20).map(|nth| format!("10.1.0.{nth}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let [service, slice] = app("web", &addresses);
    let items = [route("r", &json!({})), service, slice];
    for shuffle in [false, true] {
        let mut compiler = compiler_with(|settings| settings.shuffle_endpoints = shuffle);
        let first = compile(&mut compiler, &items);
        backend(&first, "r").servers[0].stats.workers.cell(0).requests.add(7);
        let second = compile(&mut compiler, &items);
        let of = |snapshot: &Snapshot| -> Vec<String> {
            labels(backend(snapshot, "r")).into_iter().map(str::to_owned).collect()
        };
        let sorted = |mut labels: Vec<String>| {
            labels.sort_unstable();
            labels
        };
        assert_eq!(of(&first) != of(&second), shuffle);
        assert_eq!(sorted(of(&first)), sorted(of(&second)));
        let by_text = of(&first).is_sorted_by_key(|label| label.replace(":8080", ""));
        assert_eq!(by_text, !shuffle, "[W-6]");
        let counted =
            |server: &&crate::snapshot::Server| server.stats.workers.sum(|it| &it.requests) == 7;
        let same = backend(&second, "r").servers.iter().find(counted).unwrap();
        assert_eq!(*same.label, *of(&first)[0]);
    }
}

/// R-67: what comes beside others starts slowly; nothing does when the router starts, when a route is
/// new, after a change that leaves the endpoint where it is, or where slow start is off.
#[test]
fn r_67_only_newcomers_beside_others_start_slowly() {
    let slow = |snapshot: &Snapshot, name: &str| -> Vec<bool> {
        let servers = backend(snapshot, name).servers.iter();
        servers.map(|server| !server.peer.admits(0) || !server.peer.admits(u64::MAX)).collect()
    };
    let of = |name: &str, addresses: &[&str]| {
        let mut items = vec![route(name, &json!({"to": {"name": name}}))];
        items.extend(app(name, addresses));
        items
    };
    for length in [Duration::ZERO, Duration::from_secs(1 << 20)] {
        let is_on = !length.is_zero();
        let mut compiler = compiler_with(|settings| settings.health.slow_start = length);
        let first = compile(&mut compiler, &of("a", &["10.1.0.1", "10.1.0.2"]));
        assert_eq!(slow(&first, "a"), [false, false], "the router starts");
        let grown = of("a", &["10.1.0.1", "10.1.0.2", "10.1.0.3"]);
        let second = compile(&mut compiler, &grown);
        assert_eq!(slow(&second, "a"), [false, false, is_on]);
        let both = [grown, of("b", &["10.2.0.1", "10.2.0.2"])].concat();
        let third = compile(&mut compiler, &both);
        assert_eq!(slow(&third, "a"), [false, false, is_on], "a change begins nothing anew");
        assert_eq!(slow(&third, "b"), [false, false], "nobody was there before");
        let empty = compile(&mut compiler, &of("a", &[]));
        assert!(backend(&empty, "a").servers.is_empty());
        let back = compile(&mut compiler, &of("a", &["10.1.0.1", "10.1.0.2"]));
        assert_eq!(slow(&back, "a"), [false, false], "all at once have no one to wait for");
    }
}
