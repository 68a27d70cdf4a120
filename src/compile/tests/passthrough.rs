//! Passthrough routes: by which names they are found, and what is different about their backends.

use super::*;

const PASS: &str = ", tls: {termination: passthrough}";

fn found<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    snapshot.passthrough.lookup(name.as_bytes()).map(|route| &*route.key.name)
}

/// [LSN-1, SNI-1, SNI-2]
#[test]
fn lsn_1_a_passthrough_route_is_found_by_its_name_alone() {
    let mut compiler = compiler_with(|settings| settings.allow_wildcard_routes = true);
    let wild = route("wild", &format!(", to: {{name: a}}, wildcardPolicy: Subdomain{PASS}"));
    let text = [
        service("a", &["10.0.0.1"]),
        route("pass", &format!(", to: {{name: a}}{PASS}")).replace("example.com", "example.net"),
        wild,
        route("edge", ", to: {name: a}, tls: {termination: edge}"),
        route("plain", ", to: {name: a}"),
    ];
    let snapshot = compile(&mut compiler, &text.concat());
    assert!(state(&snapshot, "pass").admission.is_admitted());
    assert_eq!(&*served(&snapshot, "pass").backend.name, "be_tcp:app:pass");
    for (name, route) in [
        ("pass.example.net", Some("pass")),
        ("PASS.example.net", Some("pass")),
        ("other.example.net", None),
        ("wild.example.com", Some("wild")),
        ("any.example.com", Some("wild")),
        // Exact, with TLS that ends here; and exact, but on the plain port only.
        ("edge.example.com", None),
        ("plain.example.com", Some("wild")),
    ] {
        assert_eq!(found(&snapshot, name), route, "{name}");
    }
    assert!(compile(&mut compiler, &service("a", &[])).passthrough.is_empty());
}

/// [ANN-TMO-1]: the tunnel limit is timeout-tunnel, else timeout; elsewhere timeout is none of it.
#[test]
fn ann_tmo_1_timeout_stands_in_for_timeout_tunnel() {
    let annotated = |name: &str, spec: &str, rows: &[(&str, &str)]| {
        let lines: String = rows
            .iter()
            .map(|(key, value)| format!("haproxy.router.openshift.io/{key}: {value}, "))
            .collect();
        let text = route(name, &format!(", to: {{name: a}}{spec}"));
        text.replace("metadata: {", &format!("metadata: {{annotations: {{{lines}}}, "))
    };
    for (spec, rows, expected) in [
        (PASS, &[("timeout", "7s"), ("timeout-tunnel", "5s")][..], 5),
        (PASS, &[("timeout", "7s")], 7),
        (PASS, &[("timeout", "7s"), ("timeout-tunnel", "soon")], 7),
        (PASS, &[], 3600),
        (", tls: {termination: edge}", &[("timeout", "7s")], 3600),
    ] {
        let snapshot = compile(&mut compiler(), &annotated("r", spec, rows));
        let limit = served(&snapshot, "r").policy.tunnel_timeout;
        assert_eq!(limit.as_secs(), expected, "{spec} {rows:?}");
    }
}

/// [LB-1, W-5]: source unless settings, services or the route say otherwise; weight 0 is left out.
#[test]
fn lb_1_passthrough_balances_by_source_and_drops_weight_zero() {
    let text = |extra: &str| {
        let spec = format!(", to: {{name: a, weight: 1}}{extra}{HTTP}{PASS}");
        [service("a", &["10.0.0.1", "10.0.0.2"]), service("b", &["10.0.0.3"]), route("r", &spec)]
            .concat()
    };
    let algorithm = |settings: fn(&mut RouterSettings), extra: &str| {
        let snapshot = compile(&mut compiler_with(settings), &text(extra));
        served(&snapshot, "r").backend.balancer.algorithm()
    };
    let both = ", alternateBackends: [{kind: Service, name: b, weight: 1}]";
    assert_eq!(algorithm(|_| {}, ""), Algorithm::Source);
    assert_eq!(algorithm(|_| {}, both), Algorithm::RoundRobin);
    let tcp = |settings: &mut RouterSettings| settings.tcp_balance = "leastconn".to_owned();
    assert_eq!(algorithm(tcp, ""), Algorithm::Leastconn);
    let general = |settings: &mut RouterSettings| settings.balance = "random".to_owned();
    assert_eq!(algorithm(general, ""), Algorithm::Random);
    let none = ", alternateBackends: [{kind: Service, name: b, weight: 0}]";
    let snapshot = compile(&mut compiler(), &text(none));
    let left: Vec<_> = servers(&snapshot, "r").into_iter().map(|(address, _)| address).collect();
    assert_eq!(left, ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(snapshot.checked.len(), 2, "what is left out is not checked");
}
