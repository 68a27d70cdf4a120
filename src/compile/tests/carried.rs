//! What one compile hands on to the next: last good versions, Secrets, counters, positions.

use serde_json::{Value, json};

use super::*;
use crate::{
    settings::{RouterSettings, health::EjectionSettings, tls::TlsSettings},
    tls::{mint, store::Offer},
};

fn compiler() -> Compiler {
    let pair = mint::self_signed(&["localhost".to_owned()]).unwrap();
    let settings = Arc::new(RouterSettings::default());
    Compiler::new(
        settings,
        Profile::new(&TlsSettings::default()).unwrap(),
        (&pair.cert_pem, &pair.key_pem),
    )
    .unwrap()
}

fn stored<T: serde::de::DeserializeOwned>(name: &str, mut object: Value) -> Arc<Stored<T>> {
    object["metadata"]["name"] = name.into();
    let object = serde_json::from_value(object).unwrap();
    Arc::new(Stored::in_memory(ObjectKey::new("app", name), object, "test"))
}

fn route(name: &str, mut spec: Value) -> Arc<Stored<Route>> {
    spec["host"] = format!("{name}.test").into();
    spec["to"] = json!({"kind": "Service", "name": "one"});
    stored(name, json!({"metadata": {}, "spec": spec}))
}

fn compile(compiler: &mut Compiler, objects: &Objects) -> Snapshot {
    compiler.compile(objects, &Resolved::new(), Vec::new(), UNIX_EPOCH)
}

/// Decisions 4: the version without TLS is a version, too.
#[test]
fn a_broken_certificate_leaves_a_plain_route_as_it_was() {
    let mut compiler = compiler();
    let with = |spec| Objects { routes: vec![route("web", spec)], ..Objects::default() };
    compile(&mut compiler, &with(json!({})));
    let tls = json!({"termination": "edge", "certificate": "nonsense", "key": "nonsense"});
    let snapshot = compile(&mut compiler, &with(json!({"tls": tls})));
    let served = snapshot.routes[0].compiled.as_ref().expect("it still serves");
    assert_eq!(served.termination, Termination::None);
    assert_eq!(snapshot.findings.len(), 1);
}

/// Decisions 4: the last good pair serves, and somebody is told.
#[test]
fn a_secret_that_turns_bad_is_reported_while_its_last_pair_serves() {
    let mut compiler = compiler();
    let pair = mint::self_signed(&["web.test".to_owned()]).unwrap();
    let tls = json!({"termination": "edge", "externalCertificate": {"name": "cert"}});
    let mut with = |certificate: &str| {
        let encode = |text: &str| {
            serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap()
        };
        let data = json!({"tls.crt": encode(certificate), "tls.key": encode(&pair.key_pem)});
        let secret = json!({"metadata": {}, "type": "kubernetes.io/tls", "data": data});
        let objects = Objects {
            routes: vec![route("web", json!({"tls": tls}))],
            secrets: vec![stored("cert", secret)],
            ..Objects::default()
        };
        let snapshot = compile(&mut compiler, &objects);
        let source =
            snapshot.certs.select(&Offer::named(Some("web.test"))).unwrap().source.to_string();
        (source, snapshot.findings.len())
    };
    assert_eq!(with(&pair.cert_pem), ("Route app/web".to_owned(), 0));
    assert_eq!(with("nonsense"), ("Route app/web".to_owned(), 1));
}

/// One pod behind two Services of a route, and alone behind another.
fn overlapping() -> Objects {
    let slice = |name: &str, addresses: &[&str]| {
        let endpoints: Vec<Value> =
            addresses.iter().map(|address| json!({"addresses": [address]})).collect();
        let labels = json!({"kubernetes.io/service-name": name});
        stored(
            name,
            json!({"metadata": {"labels": labels}, "addressType": "IPv4",
                "ports": [{"port": 8080}], "endpoints": endpoints}),
        )
    };
    let service = |name| stored(name, json!({"metadata": {}, "spec": {"clusterIP": "10.0.0.1"}}));
    Objects {
        routes: vec![
            route("both", json!({"alternateBackends": [{"kind": "Service", "name": "two"}]})),
            route("lone", json!({})),
        ],
        services: vec![service("one"), service("two")],
        slices: vec![slice("one", &["10.1.0.1"]), slice("two", &["10.1.0.1", "10.1.0.2"])],
        ..Objects::default()
    }
}

/// [HC-3]: where there is no choice, the outcome of another backend's checks does not count.
#[test]
fn hc_3_a_lone_endpoint_is_not_checked_where_it_is_alone() {
    let snapshot = compile(&mut compiler(), &overlapping());
    let backend = |index: usize| {
        let route = snapshot.routes[index].compiled.as_ref().unwrap();
        (route.backend.servers.len(), route.backend.servers.iter().all(|one| one.checked))
    };
    assert_eq!([backend(0), backend(1)], [(3, true), (1, false)]);
    assert_eq!(snapshot.checked.len(), 2);
}

#[test]
fn r_12_counters_of_a_pod_behind_two_services_are_carried_over() {
    let mut compiler = compiler();
    let objects = overlapping();
    let mut stats = || {
        let snapshot = compile(&mut compiler, &objects);
        let route = snapshot.routes[0].compiled.as_ref().unwrap();
        route.backend.servers.iter().map(|server| Arc::clone(&server.stats)).collect::<Vec<_>>()
    };
    let (first, second) = (stats(), stats());
    assert_eq!(first.len(), 3);
    assert!(first.iter().zip(&second).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(!Arc::ptr_eq(&first[0], &first[1]));
}

fn reencrypt(ca: &str) -> Objects {
    let tls = json!({"termination": "reencrypt", "destinationCACertificate": ca});
    let service = json!({
        "metadata": {}, "spec": {"ports": [{"name": "http", "port": 443}]},
    });
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "one"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8443, "appProtocol": "kubernetes.io/h2c"}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    });
    Objects {
        routes: vec![route("web", json!({"tls": tls}))],
        services: vec![stored("one", service)],
        slices: vec![stored("one-1", slice)],
        ..Objects::default()
    }
}

/// [REENC-1], F-11: another CA is another peer, and the old one departs; counters stay, since it is
/// the same pod. An unchanged CA changes nothing. appProtocol has no say over TLS [ALPN-4].
#[test]
fn reenc_1_another_ca_is_another_peer() {
    let ca = |name: &str| mint::authority(name).unwrap().pair().cert_pem.clone();
    let (one, two) = (ca("one"), ca("two"));
    let mut compiler = compiler();
    let server = |snapshot: &Snapshot| {
        let compiled = snapshot.routes[0].compiled.as_ref().expect("it is admitted");
        assert_eq!(&*compiled.backend.name, "be_secure:app:web");
        let server = &compiled.backend.servers[0];
        assert!(server.peer.tls.is_some());
        assert_eq!(server.peer.key.protocol, crate::upstream::peer::Protocol::Http1);
        (Arc::clone(&server.peer), Arc::clone(&server.stats))
    };
    let (first, stats) = server(&compile(&mut compiler, &reencrypt(&one)));
    let (same, _) = server(&compile(&mut compiler, &reencrypt(&one)));
    assert!(Arc::ptr_eq(&first, &same));
    let (other, kept) = server(&compile(&mut compiler, &reencrypt(&two)));
    assert_ne!(first.id, other.id);
    assert!(first.is_departed() && !other.is_departed());
    assert!(Arc::ptr_eq(&stats, &kept));
}

/// Decisions 4: a CA that cannot be read denies the route, also one that was served before.
#[test]
fn a_destination_ca_that_turns_bad_denies_the_route() {
    let mut compiler = compiler();
    let good = mint::authority("one").unwrap().pair().cert_pem.clone();
    assert!(compile(&mut compiler, &reencrypt(&good)).routes[0].compiled.is_some());
    let snapshot = compile(&mut compiler, &reencrypt("nonsense"));
    assert!(snapshot.routes[0].compiled.is_none());
    let Admission::Rejected { reason, message } = &snapshot.routes[0].admission else {
        panic!("it is refused");
    };
    assert_eq!(*reason, RejectReason::ExtendedValidationFailed);
    assert!(message.starts_with("spec.tls.destinationCACertificate: Invalid value"), "{message}");
    let codes: Vec<u16> = snapshot.findings.iter().map(|finding| finding.code.number).collect();
    assert_eq!(codes, [codes::BAD_DESTINATION_CA.number]);
}

/// [REENC-3]: pods that nobody verifies are served, and somebody is told.
#[test]
fn reenc_3_a_route_without_any_ca_is_served_with_a_warning() {
    let mut compiler = compiler();
    compiler.set_service_ca(Path::new("/ca"), &ServiceCa::Absent);
    let snapshot = compile(&mut compiler, &reencrypt(""));
    assert!(snapshot.routes[0].compiled.is_some());
    let codes: Vec<u16> = snapshot.findings.iter().map(|finding| finding.code.number).collect();
    assert_eq!(codes, [codes::PODS_NOT_VERIFIED.number]);
}

/// a thousand snapshots reset nothing: counters, checks, ejections, requests in flight, turns.
#[test]
fn r_12_a_thousand_snapshots_reset_nothing() {
    let mut compiler = compiler();
    let mut objects = overlapping();
    let first = compile(&mut compiler, &objects);
    let route_of = |snapshot: &Snapshot| {
        let route = snapshot.routes.iter().find(|state| &*state.source.key.name == "both");
        Arc::clone(&route.unwrap().compiled.as_ref().unwrap().backend)
    };
    let before = route_of(&first);
    let last = before.servers.len() - 1;
    before.servers[0].peer.set_up(false);
    before.servers[0].peer.in_flight.add(3);
    let rules =
        EjectionSettings { time: std::time::Duration::from_secs(1 << 20), ..Default::default() };
    let peer = &before.servers[last].peer;
    assert!(peer.outlier.eject(crate::net::clock::millis(), &rules, 0).is_some());
    for swap in 1..=1000_u64 {
        // Something else comes, changes or goes each time.
        objects.routes.truncate(2);
        objects.routes.push(route("other", json!({"path": format!("/{}", swap % 7)})));
        let snapshot = compile(&mut compiler, &objects);
        let backend = route_of(&snapshot);
        let counts = |stats: &crate::stats::UpstreamStats| stats.workers.sum(|cell| &cell.requests);
        assert_eq!(counts(&backend.stats), swap - 1);
        assert_eq!(counts(&backend.servers[0].stats), swap - 1);
        backend.stats.workers.cell(0).requests.add(1);
        backend.servers[0].stats.workers.cell(0).requests.add(1);
        let load = &backend.servers[0].peer.in_flight;
        assert_eq!((backend.servers[0].peer.is_up(), load.load()), (false, 3), "{swap}");
        assert!(backend.servers[last].peer.is_ejected() && !backend.is_usable(last), "{swap}");
        let position = backend.balancer.position();
        assert!(Arc::ptr_eq(position, before.balancer.position()));
    }
}

/// what a compile that panicked had taken is there for the next one.
#[test]
fn a_compile_that_ended_in_the_middle_loses_nothing() {
    let mut compiler = compiler();
    let objects = overlapping();
    let first = compile(&mut compiler, &objects);
    compiler.backends.begin();
    for route in &objects.routes {
        let backends = &mut compiler.backends;
        _ = backends.backend(route, Termination::None, None, &first.zone, &mut Vec::new());
    }
    let second = compile(&mut compiler, &objects);
    for (before, after) in first.routes.iter().zip(&second.routes) {
        let stats =
            |state: &RouteState| Arc::clone(&state.compiled.as_ref().unwrap().backend.stats);
        assert!(Arc::ptr_eq(&stats(before), &stats(after)), "{:?}", before.source.key);
    }
}
