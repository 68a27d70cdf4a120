//! Objects in, snapshot out: what is served, with which endpoints and weights, what is refused and
//! why, and what outlives a snapshot. Objects are written as manifests.

mod admission;
mod carried;
mod certs;
mod claims;
mod cluster_ip;
mod filter;
mod oracle;
mod passthrough;
mod rules;
mod sticky;

use std::fmt::Write as _;

use super::*;
use crate::{
    balance::Algorithm,
    settings::tls::TlsSettings,
    source::document::{self, Outcome},
    tls::{
        mint::{self, Pair},
        store::Offer,
    },
};

/// The objects of a text, in order.
fn objects(text: &str) -> Objects {
    let content = document::read("test.yaml", text, "apps.example.com");
    let mut objects = Objects::default();
    for (order, outcome) in (0..).zip(content.outcomes) {
        let Outcome::Valid(mut object) = outcome else {
            panic!("{:?}", content.findings);
        };
        object.set_order(order);
        object.add_to(&mut objects);
    }
    objects
}

fn pair(name: &str) -> Pair {
    mint::self_signed(&[name.to_owned()]).unwrap()
}

/// A compiler that drops loopback endpoints, as in production.
fn compiler() -> Compiler {
    compiler_with(|_| {})
}

fn compiler_with(change: impl FnOnce(&mut RouterSettings)) -> Compiler {
    let mut settings = RouterSettings { workers: 1, ..RouterSettings::default() };
    change(&mut settings);
    let default = pair("default.example.com");
    let texts = (default.cert_pem.as_str(), default.key_pem.as_str());
    Compiler::new(Arc::new(settings), Profile::new(&TlsSettings::default()).unwrap(), texts)
        .unwrap()
}

fn compile(compiler: &mut Compiler, text: &str) -> Snapshot {
    compiler.compile(&objects(text), &Resolved::new(), Vec::new(), UNIX_EPOCH)
}

fn state<'a>(snapshot: &'a Snapshot, name: &str) -> &'a RouteState {
    snapshot.routes.iter().find(|state| &*state.source.key.name == name).unwrap()
}

fn served<'a>(snapshot: &'a Snapshot, name: &str) -> &'a CompiledRoute {
    state(snapshot, name).compiled.as_ref().unwrap()
}

/// Endpoints and weights of a route.
fn servers(snapshot: &Snapshot, name: &str) -> Vec<(String, u16)> {
    let servers = served(snapshot, name).backend.servers.iter();
    servers.map(|server| (server.label.to_string(), server.weight)).collect()
}

/// Why a route is not served.
fn rejection(snapshot: &Snapshot, name: &str) -> (RejectReason, String) {
    match &state(snapshot, name).admission {
        Admission::Admitted | Admission::AdmittedUpdated { .. } => panic!("{name} is admitted"),
        Admission::Rejected { reason, message } => (*reason, message.clone()),
    }
}

fn codes_of(snapshot: &Snapshot) -> Vec<u16> {
    snapshot.findings.iter().map(|finding| finding.code.number).collect()
}

/// A route; `spec` is more of its spec in flow style, with a comma in front.
fn route(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: route.openshift.io/v1\nkind: Route\n\
         metadata: {{name: {name}, namespace: app}}\n\
         spec: {{host: {name}.example.com{spec}}}\n"
    )
}

fn to(service: &str, weight: u16) -> String {
    format!("{{kind: Service, name: {service}, weight: {weight}}}")
}

/// A service with `addresses`, each an endpoint with port 8080 named http and 9090 named admin.
fn service(name: &str, addresses: &[&str]) -> String {
    let endpoints: Vec<String> = addresses
        .iter()
        .map(|address| {
            format!("{{addresses: [{address}], targetRef: {{kind: Pod, name: pod-{address}}}}}")
        })
        .collect();
    slices(name, &endpoints)
}

/// A service with a slice of these endpoints.
fn slices(name: &str, endpoints: &[String]) -> String {
    let endpoints = endpoints.join(", ");
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: app}}\n\
         spec: {{ports: [{{name: http, port: 80}}, {{name: admin, port: 81}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
         metadata: {{name: {name}-1, namespace: app, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         ports: [{{name: http, port: 8080}}, {{name: admin, port: 9090}}]\n\
         endpoints: [{endpoints}]\n"
    )
}

const HTTP: &str = ", port: {targetPort: http}";

/// An edge route to service `a` with this pair in its fields.
fn edge(name: &str, pair: &Pair) -> String {
    let field = |text: &str| serde_json::to_string(text).unwrap();
    let tls = format!(
        ", to: {{name: a}}, tls: {{termination: edge, certificate: {}, key: {}}}",
        field(&pair.cert_pem),
        field(&pair.key_pem)
    );
    route(name, &tls)
}

fn external(name: &str, secret: &str) -> String {
    let tls = format!(
        ", to: {{name: a}}, tls: {{termination: edge, externalCertificate: {{name: {secret}}}}}"
    );
    route(name, &tls)
}

fn secret(name: &str, kind: &str, certificate: &str, key: &str) -> String {
    let field = |text: &str| serde_json::to_string(text).unwrap();
    format!(
        "---\napiVersion: v1\nkind: Secret\ntype: {kind}\n\
         metadata: {{name: {name}, namespace: app}}\n\
         stringData: {{tls.crt: {}, tls.key: {}}}\n",
        field(certificate),
        field(key)
    )
}

/// The certificate that an SNI selects, and who brought it.
fn selected(snapshot: &Snapshot, sni: &str) -> (String, bool) {
    let chosen = snapshot.certs.select(&Offer::named(Some(sni))).unwrap();
    let http2 = chosen.config.alpn_protocols.iter().any(|name| name == b"h2");
    (chosen.source.to_string(), http2)
}

/// [W-1..6] through the whole compile: services in alphabetical order, shares by weight over usable
/// endpoints after the port filter.
#[test]
fn w_1_to_6_weights_reach_the_servers() {
    let services = [
        service("one", &["10.0.0.1"]),
        service("two", &["10.0.1.1", "10.0.1.2"]),
        service("none", &[]),
    ]
    .concat();
    type Row = (&'static str, String, String, &'static [(&'static str, u16)]);
    let rows: [Row; 7] = [
        ("single", to("one", 50), String::new(), &[("10.0.0.1:8080", 1)]),
        ("zero", to("one", 0), String::new(), &[("10.0.0.1:8080", 0)]),
        (
            "even",
            to("two", 50),
            to("one", 50),
            &[("10.0.0.1:8080", 256), ("10.0.1.1:8080", 128), ("10.0.1.2:8080", 128)],
        ),
        (
            "uneven",
            to("one", 60),
            to("two", 20),
            &[("10.0.0.1:8080", 256), ("10.0.1.1:8080", 42), ("10.0.1.2:8080", 42)],
        ),
        // A service without endpoints is left out, so the other one is alone.
        ("empty", to("one", 10), to("none", 90), &[("10.0.0.1:8080", 1)]),
        (
            "idle",
            to("one", 10),
            to("two", 0),
            &[("10.0.0.1:8080", 1), ("10.0.1.1:8080", 0), ("10.0.1.2:8080", 0)],
        ),
        // Of a service listed twice the last weight counts.
        ("twice", to("one", 10), to("one", 0), &[("10.0.0.1:8080", 0)]),
    ];
    for (name, first, other, expected) in rows {
        let others =
            if other.is_empty() { other } else { format!(", alternateBackends: [{other}]") };
        let text = format!("{services}{}", route(name, &format!(", to: {first}{others}{HTTP}")));
        let snapshot = compile(&mut compiler(), &text);
        let found = servers(&snapshot, name);
        let found: Vec<_> = found.iter().map(|(label, weight)| (label.as_str(), *weight)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// [LB-1]: the annotation wins; else several weighted services are served round robin, endpoints or
/// not; else at random.
#[test]
fn lb_1_the_algorithm_follows_services_and_annotation() {
    let services = format!("{}{}", service("a", &["10.0.0.1"]), service("b", &[]));
    let both = format!(", to: {}, alternateBackends: [{}]", to("a", 1), to("b", 1));
    let zero = format!(", to: {}, alternateBackends: [{}]", to("a", 1), to("b", 0));
    let annotated = route("c", ", to: {name: a}").replace(
        "namespace: app}",
        "namespace: app, annotations: {haproxy.router.openshift.io/balance: leastconn}}",
    );
    let text = [services, route("x", &both), route("y", &zero), annotated].concat();
    let snapshot = compile(&mut compiler(), &text);
    let algorithm = |name| served(&snapshot, name).backend.balancer.algorithm();
    assert_eq!(algorithm("x"), Algorithm::RoundRobin);
    assert_eq!(algorithm("y"), Algorithm::Random);
    assert_eq!(algorithm("c"), Algorithm::Leastconn);
}

/// [LB-3]: by number, by name, by a number in quotes; every port without one; none that matches is no
/// endpoint.
#[test]
fn lb_3_target_port_selects_endpoint_ports() {
    let rows: [(&str, &[&str]); 6] = [
        (", port: {targetPort: http}", &["10.0.0.1:8080"]),
        (", port: {targetPort: admin}", &["10.0.0.1:9090"]),
        (", port: {targetPort: 9090}", &["10.0.0.1:9090"]),
        (", port: {targetPort: '9090'}", &["10.0.0.1:9090"]),
        (", port: {targetPort: other}", &[]),
        ("", &["10.0.0.1:8080", "10.0.0.1:9090"]),
    ];
    for (port, expected) in rows {
        let spec = format!(", to: {{name: a}}{port}");
        let text = format!("{}{}", service("a", &["10.0.0.1"]), route("r", &spec));
        let snapshot = compile(&mut compiler(), &text);
        let found: Vec<_> = servers(&snapshot, "r").into_iter().map(|(label, _)| label).collect();
        assert_eq!(found, expected, "{port}");
    }
}

/// [EP-1] and quirk 32: ready endpoints only; those that serve while they terminate when there is no
/// other.
#[test]
fn ep_1_terminating_endpoints_are_the_last_resort() {
    let endpoint = |address: &str, conditions: &str| {
        format!("{{addresses: [{address}], conditions: {{{conditions}}}}}")
    };
    let ready = endpoint("10.0.0.1", "ready: true");
    let unknown = endpoint("10.0.0.2", "");
    let starting = endpoint("10.0.0.3", "ready: false");
    let leaving = endpoint("10.0.0.4", "ready: false, serving: true, terminating: true");
    let gone = endpoint("10.0.0.5", "ready: false, serving: false, terminating: true");
    let rows: [(Vec<&String>, &[&str]); 4] = [
        (vec![&ready, &unknown, &starting, &leaving, &gone], &["10.0.0.1:8080", "10.0.0.2:8080"]),
        (vec![&starting, &leaving, &gone], &["10.0.0.4:8080"]),
        (vec![&starting, &gone], &[]),
        (vec![], &[]),
    ];
    for (endpoints, expected) in rows {
        let endpoints: Vec<String> = endpoints.into_iter().cloned().collect();
        let spec = format!(", to: {{name: a}}{HTTP}");
        let text = format!("{}{}", slices("a", &endpoints), route("r", &spec));
        let snapshot = compile(&mut compiler(), &text);
        let found: Vec<_> = servers(&snapshot, "r").into_iter().map(|(label, _)| label).collect();
        assert_eq!(found, expected, "{endpoints:?}");
    }
}

/// [EPF-1], [EPF-2], [EPF-4]: a restricted address is dropped with a finding, the rest is kept, and
/// the switch lets loopback in.
#[test]
fn epf_2_restricted_endpoints_are_findings() {
    let text = format!(
        "{}{}",
        service("a", &["127.0.0.1", "169.254.169.254", "10.0.0.1"]),
        route("r", &format!(", to: {{name: a}}{HTTP}"))
    );
    let snapshot = compile(&mut compiler(), &text);
    assert_eq!(servers(&snapshot, "r"), [("10.0.0.1:8080".to_owned(), 1)]);
    let refused = codes::ENDPOINT_REFUSED.number;
    assert_eq!(codes_of(&snapshot), [refused, refused]);
    assert!(snapshot.findings[0].text.contains("127.0.0.1"), "{:?}", snapshot.findings[0]);
    assert_eq!(snapshot.findings[0].object, "Route app/r");

    let mut lenient = compiler_with(|settings| settings.allow_loopback_endpoints = true);
    let snapshot = compile(&mut lenient, &text);
    assert_eq!(servers(&snapshot, "r").len(), 2);
    assert_eq!(codes_of(&snapshot), [refused]);
}

/// [IDLE-1] and [EPF-3]: an idled service with a virtual address is woken through it, unchecked and
/// unfiltered; a headless one has no endpoint; real endpoints replace it.
#[test]
fn idle_1_an_idled_service_is_woken_through_its_address() {
    let idled = |cluster_ip: &str| {
        service("a", &[]).replacen(
            "namespace: app}\nspec: {ports:",
            &format!(
                "namespace: app, annotations: {{idling.alpha.openshift.io/idled-at: '2026-01-01'}}}}\n\
                 spec: {{clusterIP: {cluster_ip}, ports:"
            ),
            1,
        )
    };
    let spec = format!(", to: {{name: a}}{HTTP}");
    let mut compiler = compiler();
    let snapshot = compile(&mut compiler, &format!("{}{}", idled("172.30.0.5"), route("r", &spec)));
    assert_eq!(servers(&snapshot, "r"), [("172.30.0.5:80".to_owned(), 1)]);
    assert!(snapshot.checked.is_empty());
    let snapshot = compile(&mut compiler, &format!("{}{}", idled("None"), route("r", &spec)));
    assert!(servers(&snapshot, "r").is_empty());
    let awake =
        idled("172.30.0.5").replace("endpoints: []", "endpoints: [{addresses: [10.0.0.1]}]");
    let snapshot = compile(&mut compiler, &format!("{awake}{}", route("r", &spec)));
    assert_eq!(servers(&snapshot, "r"), [("10.0.0.1:8080".to_owned(), 1)]);
}

/// [HC-1]: endpoints are checked only where there is a choice; those of weight 0 then as well.
#[test]
fn hc_1_only_where_there_is_a_choice() {
    let services =
        [service("one", &["10.0.0.1"]), service("two", &["10.0.1.1", "10.0.1.2"])].concat();
    let with = |first: String, other: Option<String>| {
        let others =
            other.map_or_else(String::new, |other| format!(", alternateBackends: [{other}]"));
        format!("{services}{}", route("r", &format!(", to: {first}{others}{HTTP}")))
    };
    let rows = [
        (with(to("one", 1), None), 0),
        (with(to("two", 1), None), 2),
        (with(to("one", 1), Some(to("two", 1))), 3),
        (with(to("two", 1), Some(to("one", 0))), 3),
        (with(to("one", 1), Some(to("two", 0))), 0),
        (with(to("two", 0), None), 0),
    ];
    for (text, expected) in rows {
        let snapshot = compile(&mut compiler(), &text);
        assert_eq!(snapshot.checked.len(), expected, "{text}");
    }
}

/// [EXT-1..3]: a Secret that is missing or of the wrong type withdraws the route; what is in it is
/// judged like the route's own fields; a good one is served.
#[test]
fn ext_2_external_certificates_and_their_reasons() {
    let (good, other) = (pair("good"), pair("other"));
    let tls = "kubernetes.io/tls";
    let rows = [
        (
            String::new(),
            RejectReason::ExternalCertificateValidationFailed,
            codes::UNKNOWN_SECRET,
            r#"spec.tls.externalCertificate: Not found: "secrets \"s\" not found""#,
        ),
        (
            secret("s", "Opaque", &good.cert_pem, &good.key_pem),
            RejectReason::ExternalCertificateValidationFailed,
            codes::BAD_EXTERNAL_CERTIFICATE,
            r#"spec.tls.externalCertificate: Invalid value: "s": secret of type "kubernetes.io/tls" required"#,
        ),
        (
            secret("s", tls, "nonsense", &good.key_pem),
            RejectReason::ExtendedValidationFailed,
            codes::BAD_EXTERNAL_CERTIFICATE,
            "data does not contain any valid RSA or ECDSA certificates",
        ),
        (
            secret("s", tls, "", &good.key_pem),
            RejectReason::ExtendedValidationFailed,
            codes::BAD_EXTERNAL_CERTIFICATE,
            "there is no tls.crt",
        ),
        (
            secret("s", tls, &good.cert_pem, &other.key_pem),
            RejectReason::ExtendedValidationFailed,
            codes::BAD_EXTERNAL_CERTIFICATE,
            "does not match",
        ),
    ];
    for (secret, why, code, says) in rows {
        let text = [service("a", &["10.0.0.1"]), external("r", "s"), secret].concat();
        let snapshot = compile(&mut compiler(), &text);
        let (reason, message) = rejection(&snapshot, "r");
        assert_eq!(reason, why, "{message}");
        assert!(message.contains(says), "{message}");
        assert_eq!(codes_of(&snapshot), [code.number]);
        assert_eq!(selected(&snapshot, "r.example.com").0, "default");
    }
    let mut compiler = compiler();
    let start = [service("a", &["10.0.0.1"]), external("r", "s")].concat();
    let text = format!("{start}{}", secret("s", tls, &good.cert_pem, &good.key_pem));
    assert_eq!(
        selected(&compile(&mut compiler, &text), "r.example.com"),
        ("Route app/r".into(), true)
    );
    // A Secret that turns bad keeps its last good pair; one that is taken away does not.
    let broken = format!("{start}{}", secret("s", tls, &good.cert_pem, &other.key_pem));
    assert_eq!(selected(&compile(&mut compiler, &broken), "r.example.com").0, "Route app/r");
    let (reason, _) = rejection(&compile(&mut compiler, &start), "r");
    assert_eq!(reason, RejectReason::ExternalCertificateValidationFailed);
}

/// Decisions 4: an inline certificate that turns bad leaves the last good version in force, its own
/// certificate included, with a finding; one that never was good is refused.
#[test]
fn decision_4_the_last_good_version_serves() {
    let (good, other) = (pair("good"), pair("other"));
    let service = service("a", &["10.0.0.1"]);
    let mixed = Pair { cert_pem: good.cert_pem.clone(), key_pem: other.key_pem };
    let mut compiler = compiler();
    let first = compile(&mut compiler, &format!("{service}{}", edge("r", &good)));
    assert!(first.findings.is_empty(), "{:?}", first.findings);
    let moved = edge("r", &mixed).replace("host: r.example.com", "host: moved.example.com");
    for _ in 0..2 {
        let snapshot = compile(&mut compiler, &format!("{service}{moved}"));
        assert_eq!(codes_of(&snapshot), [codes::KEY_MISMATCH.number]);
        assert_eq!(&*served(&snapshot, "r").host, "r.example.com");
        assert_eq!(selected(&snapshot, "r.example.com"), ("Route app/r".into(), true));
        assert_eq!(selected(&snapshot, "moved.example.com").0, "default");
        assert_eq!(state(&snapshot, "r").source.object.spec.host, "moved.example.com");
    }
    // After a restart there is no last good version.
    let snapshot = compile(&mut self::compiler(), &format!("{service}{moved}"));
    assert_eq!(rejection(&snapshot, "r").0, RejectReason::ExtendedValidationFailed);
    // A route that was taken away in between starts anew as well.
    compile(&mut compiler, &service);
    let snapshot = compile(&mut compiler, &format!("{service}{moved}"));
    assert!(!state(&snapshot, "r").admission.is_admitted());
}

/// [ALPN-1]: h2 with a certificate that exactly one route uses; not when it is shared, not when it is
/// the default one, not when it is switched off.
#[test]
fn alpn_1_a_shared_certificate_has_no_h2() {
    let (own, shared) = (pair("own"), pair("shared"));
    let service = service("a", &["10.0.0.1"]);
    let text = [service, edge("x", &own), edge("y", &shared), edge("z", &shared)].concat();
    let snapshot = compile(&mut compiler(), &text);
    let chosen = |sni: &str| selected(&snapshot, sni);
    assert_eq!(chosen("x.example.com"), ("Route app/x".into(), true));
    assert_eq!(chosen("y.example.com"), ("Route app/y".into(), false));
    assert_eq!(chosen("z.example.com"), ("Route app/z".into(), false));
    assert_eq!(chosen("else.example.com"), ("default".into(), false));
    let snapshot = compile(&mut compiler_with(|settings| settings.disable_http2 = true), &text);
    assert_eq!(selected(&snapshot, "x.example.com"), ("Route app/x".into(), false));
    // Sharing ends with the second user.
    let mut compiler = compiler();
    compile(&mut compiler, &text);
    let alone = text.replace(&edge("z", &shared), "");
    assert!(selected(&compile(&mut compiler, &alone), "y.example.com").1);
}

/// R-12: peers belong to address and pod, counters to backend and peer; both outlive snapshots for as
/// long as they are used, and a pod that is replaced is another peer (F-11).
#[test]
fn r_12_peers_and_counters_are_carried_over_by_identity() {
    let mut compiler = compiler();
    let spec = format!(", to: {{name: a}}{HTTP}");
    let with = |addresses: &[&str], more: &str| {
        format!("{}{}{more}", service("a", addresses), route("r", &spec))
    };
    let both = ["10.0.0.1", "10.0.0.2"];
    let first = compile(&mut compiler, &with(&both, ""));
    let backend = &served(&first, "r").backend;
    let peers: Vec<_> = backend.servers.iter().map(|server| Arc::clone(&server.peer)).collect();
    peers[0].set_up(false);
    backend.stats.workers.cell(0).requests.add(5);
    backend.servers[1].stats.workers.cell(0).requests.add(3);

    // Another route of the same service shares its peers, with counters of its own.
    let second = compile(&mut compiler, &with(&both, &route("s", &spec)));
    let (again, shared) = (&served(&second, "r").backend, &served(&second, "s").backend);
    for (index, peer) in peers.iter().enumerate() {
        assert!(Arc::ptr_eq(peer, &again.servers[index].peer));
        assert!(Arc::ptr_eq(peer, &shared.servers[index].peer));
    }
    assert!(!again.servers[0].peer.is_up());
    assert!(Arc::ptr_eq(&backend.stats, &again.stats));
    assert!(Arc::ptr_eq(&backend.servers[1].stats, &again.servers[1].stats));
    assert_eq!(again.servers[1].stats.workers.sum(|cell| &cell.requests), 3);
    assert_eq!(shared.stats.workers.sum(|cell| &cell.requests), 0);
    assert!(Arc::ptr_eq(backend.balancer.position(), again.balancer.position()));

    // The same address with another pod behind it.
    let text = with(&both, "").replace("pod-10.0.0.1", "pod-new");
    let third = compile(&mut compiler, &text);
    let replaced = &served(&third, "r").backend.servers;
    assert!(!Arc::ptr_eq(&peers[0], &replaced[0].peer) && replaced[0].peer.is_up());
    assert!(Arc::ptr_eq(&peers[1], &replaced[1].peer));
    // What was forgotten starts anew.
    let fourth = compile(&mut compiler, &with(&both, ""));
    assert!(served(&fourth, "r").backend.servers[0].peer.is_up());
}

/// [CLAIM-12], [CLAIM-17] and decisions 5: the second namespace is refused with a finding and nothing
/// is compiled for it.
#[test]
fn refused_routes_are_known_but_not_compiled() {
    let rival = route("rival", ", to: {name: a}")
        .replace("namespace: app", "namespace: other")
        .replace("rival.example.com", "r.example.com");
    let wild = route("wild", ", to: {name: a}, wildcardPolicy: Subdomain");
    let text = [service("a", &["10.0.0.1"]), route("r", ", to: {name: a}"), rival, wild].concat();
    let snapshot = compile(&mut compiler(), &text);
    assert!(state(&snapshot, "r").admission.is_admitted());
    let (reason, message) = rejection(&snapshot, "rival");
    assert_eq!(reason, RejectReason::HostAlreadyClaimed);
    assert!(message.starts_with("a route in another namespace holds r.example.com"), "{message}");
    let wild = rejection(&snapshot, "wild");
    assert_eq!(
        wild,
        (RejectReason::RouteNotAdmitted, "wildcard routes are not allowed".to_owned())
    );
    assert!(codes_of(&snapshot).contains(&codes::HOST_CLAIMED.number));
    assert_eq!(snapshot.routes.iter().filter(|state| state.compiled.is_some()).count(), 1);
}

/// [LSN-1]: names of backends.
#[test]
fn lsn_1_backend_names() {
    let secure = route("secure", ", to: {name: a}, tls: {termination: edge}");
    let text = [service("a", &[]), route("plain", ", to: {name: a}"), secure].concat();
    let snapshot = compile(&mut compiler(), &text);
    assert_eq!(&*served(&snapshot, "plain").backend.name, "be_http:app:plain");
    assert_eq!(&*served(&snapshot, "secure").backend.name, "be_edge_http:app:secure");
}

/// Ten thousand routes: each is found by its host, on its own backend, and a second compile shares
/// every peer with the first.
#[test]
fn ten_thousand_routes() {
    let mut text = service("a", &["10.0.0.1", "10.0.0.2"]);
    for nth in 0..10_000 {
        let spec = format!(", path: /p{nth}, to: {{name: a}}{HTTP}");
        write!(text, "{}", route(&format!("r{nth}"), &spec)).unwrap();
    }
    let objects = objects(&text);
    let mut compiler = compiler();
    let first = compiler.compile(&objects, &Resolved::new(), Vec::new(), UNIX_EPOCH);
    let second = compiler.compile(&objects, &Resolved::new(), Vec::new(), UNIX_EPOCH);
    assert_eq!((first.generation, second.generation), (1, 2));
    for snapshot in [&first, &second] {
        assert!(snapshot.findings.is_empty());
        assert_eq!((snapshot.routes.len(), snapshot.checked.len()), (10_000, 2));
        for nth in 0..10_000 {
            let host = format!("r{nth}.example.com");
            let found = snapshot.table.lookup(false, host.as_bytes(), &format!("/p{nth}/x"));
            let crate::routing::table::Lookup::Serve(route) = found else {
                panic!("{host} is not served");
            };
            assert_eq!(&*route.key.name, format!("r{nth}"));
        }
    }
    let peer = |snapshot: &Snapshot| Arc::clone(&served(snapshot, "r777").backend.servers[0].peer);
    assert!(Arc::ptr_eq(&peer(&first), &peer(&second)));
    assert!(Arc::ptr_eq(&peer(&first), &first.checked[0].peer));
}
