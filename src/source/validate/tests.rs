//! Table tests: one small manifest, the findings it must have.

use super::cross_check;
use crate::{
    model::{finding::codes, objects::Objects},
    source::document::{Outcome, read},
};

const HEAD: &str = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: r\n";

/// `line:col code field` of every finding of a route with this text behind its name, but those about
/// what is right and not built yet.
fn route(tail: &str) -> Vec<String> {
    let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
    content
        .findings
        .iter()
        .filter(|f| f.code != codes::NOT_BUILT)
        .map(|f| format!("{}:{} {} {}", f.place.line, f.place.column, f.code, f.field))
        .collect()
}

/// [CONV-7]
#[test]
fn spec_errors_are_found_at_their_field() {
    let cases = [
        ("host: \"*.a.test\"", "WH1020 spec.host"),
        ("host: a..test", "WH1020 spec.host"),
        ("subdomain: A", "WH1021 spec.subdomain"),
        ("path: shop", "WH1022 spec.path"),
        ("path: \"/a b\"", "WH1022 spec.path"),
        ("wildcardPolicy: Sub", "WH1026 spec.wildcardPolicy"),
        ("wildcardPolicy: Subdomain", "WH1026 spec.wildcardPolicy"),
        ("port: {targetPort: 0}", "WH1027 spec.port"),
        ("port: {targetPort: \"\"}", "WH1027 spec.port"),
        ("tls: {termination: egde}", "WH1028 spec.tls"),
        ("tls: {destinationCACertificate: x}", "WH1028 spec.tls"),
        ("tls: {insecureEdgeTerminationPolicy: allow}", "WH1030 spec.tls"),
        ("alternateBackends: [{name: a, weight: 257}]", "WH1024 spec.alternateBackends[0].weight"),
        ("alternateBackends: [{name: a, kind: Pod}]", "WH1023 spec.alternateBackends[0].kind"),
        (
            "alternateBackends: [{name: a},{name: b},{name: c},{name: d}]",
            "WH1025 spec.alternateBackends",
        ),
        ("alternateBackends: [{name: s}]", "WH2011 spec.alternateBackends[0].name"),
    ];
    for (line, want) in cases {
        let found = route(&format!("spec:\n  to: {{name: s}}\n  {line}\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("7:"), "{line}: {found:?}");
        assert!(found[0].contains(want), "{line}: {found:?}");
    }
}

#[test]
fn the_table_of_terminations_api_2() {
    let fields = [
        "path: /a",
        "tls.certificate: x",
        "tls.key: x",
        "tls.caCertificate: x",
        "tls.externalCertificate: {name: x}",
        "tls.destinationCACertificate: x",
        "tls.insecureEdgeTerminationPolicy: Allow",
        "tls.insecureEdgeTerminationPolicy: Redirect",
        "httpHeaders: {actions: {request: [{name: a, action: {type: Delete}}]}}",
        "wildcardPolicy: Subdomain",
    ];
    let allowed = [
        ("edge", [true, true, true, true, true, false, true, true, true, true]),
        ("reencrypt", [true; 10]),
        ("passthrough", [false, false, false, false, false, false, false, true, false, true]),
    ];
    for (termination, row) in allowed {
        for (field, good) in fields.iter().zip(row) {
            let (tls, spec) = match field.strip_prefix("tls.") {
                Some(inner) => (format!(", {inner}"), ""),
                None => (String::new(), *field),
            };
            let tail = format!(
                "spec:\n  host: a.test\n  to: {{name: s}}\n  tls: {{termination: {termination}{tls}}}\n  {spec}\n"
            );
            let found = route(&tail);
            assert_eq!(found.is_empty(), good, "{termination} {field}: {found:?}");
        }
    }
}

#[test]
fn header_actions_follow_hdr_1_to_hdr_3() {
    let bad = [
        "{name: \"a b\", action: {type: Delete}}",
        "{name: Cookie, action: {type: Delete}}",
        "{name: a, action: {type: Set}}",
        "{name: a, action: {type: Set, set: {value: \"\"}}}",
        "{name: a, action: {type: Delete, set: {value: x}}}",
        "{name: a, action: {type: Add}}",
        "{name: a}",
    ];
    for action in bad {
        let tail = format!(
            "spec:\n  to: {{name: s}}\n  httpHeaders:\n    actions:\n      response:\n      - {action}\n"
        );
        let found = route(&tail);
        assert_eq!(found.len(), 1, "{action}: {found:?}");
        let want = "10:9 WH1031 spec.httpHeaders.actions.response[0]";
        assert!(found[0].starts_with(want), "{action}: {found:?}");
    }
}

/// [CONV-7]
#[test]
fn header_actions_are_said_to_do_nothing_yet() {
    let actions = "actions: {response: [{name: a, action: {type: Delete}}]}";
    let tail = format!("spec:\n  to: {{name: s}}\n  httpHeaders:\n    {actions}\n");
    let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
    let found: Vec<_> = content.findings.iter().map(|f| (f.place.line, f.code)).collect();
    assert_eq!(found, [(7, codes::NOT_BUILT)]);
}

#[test]
fn annotations_never_invalidate_conv_7() {
    let cases = [
        ("haproxy.router.openshift.io/timeut: 5s", vec!["WH2003"]),
        ("haproxy.router.openshift.io/cookie_name: a", vec!["WH2003"]),
        ("haproxy.router.openshift.io/timeout: 1.5s", vec!["WH2004"]),
        ("haproxy.router.openshift.io/timeout: 5s", vec![]),
        ("haproxy.router.openshift.io/disable_cookies: \"yes\"", vec!["WH2004"]),
        ("haproxy.router.openshift.io/pool-size: \"5\"", vec!["WH2003"]),
        ("router.openshift.io/pool-size: \"5\"", vec!["WH2012"]),
        ("haproxy.router.openshift.io/balance: RoundRobin", vec!["WH2004"]),
        ("haproxy.router.openshift.io/rewrite-target: x", vec!["WH2004", "WH2012"]),
        ("haproxy.router.openshift.io/hsts_header: max-age=1", vec!["WH2007", "WH2012"]),
        ("haproxy.router.openshift.io/ip_allowlist: 10.0.0.0/8, 1.2.3", vec!["WH2005"]),
        ("haproxy.router.openshift.io/ip_allowlist: nobody", vec!["WH1050", "WH2005"]),
        ("example.com/timeut: 5s", vec![]),
    ];
    for (line, want) in cases {
        let tail = format!("  annotations:\n    {line}\nspec:\n  to: {{name: s}}\n");
        let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
        let mut found: Vec<_> = content.findings.iter().map(|f| f.code.to_string()).collect();
        found.sort();
        assert_eq!(found, want, "{line}");
        assert!(
            content.findings.iter().all(|f| (f.place.line, f.place.column) == (6, 5)),
            "{line}"
        );
        assert!(matches!(content.outcomes[..], [Outcome::Valid(_)]), "{line}");
    }
}

#[test]
fn a_misspelled_annotation_gets_the_full_name() {
    let text = format!(
        "{HEAD}  annotations:\n    haproxy.router.openshift.io/cookie_name: a\nspec: {{to: {{name: s}}}}\n"
    );
    let findings = read("f.yaml", &text, "x").findings;
    assert_eq!(findings[0].fix, "did you mean router.openshift.io/cookie_name?");
}

#[test]
fn names_are_checked() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a.b\n  namespace: N\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a.b}\n";
    let content = read("f.yaml", text, "x");
    let found: Vec<_> =
        content.findings.iter().map(|f| (f.place.line, f.code, f.field.as_str())).collect();
    assert_eq!(
        found,
        [(4, codes::BAD_NAME, "metadata.name"), (5, codes::BAD_NAME, "metadata.namespace")]
    );
}

fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    for outcome in read("f.yaml", text, "apps.test").outcomes {
        match outcome {
            Outcome::Valid(object) => object.add_to(&mut objects),
            Outcome::Invalid(id) => panic!("{id:?}"),
        }
    }
    objects
}

#[test]
fn references_are_checked_across_objects() {
    let rest = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80, targetPort: 8080}]}\n\
        ---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: other}\n\
        ---\napiVersion: v1\nkind: Secret\nmetadata: {name: opaque}\n\
        ---\napiVersion: v1\nkind: Service\nmetadata: {name: sliced}\nspec: {ports: [{port: 80, targetPort: web}]}\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s1, labels: {kubernetes.io/service-name: sliced}}\n\
        addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: [{name: metrics, port: 9000}]\n";
    let cases = [
        ("to: {name: web}\n  port: {targetPort: http}", None),
        ("to: {name: web}\n  port: {targetPort: 8080}", None),
        ("to: {name: web}\n  port: {targetPort: 80}", Some("WH1062 its endpoints have 8080, http")),
        ("to: {name: wbe}", Some("WH1060 did you mean web?")),
        ("to: {name: far}", Some("WH1060 there is one in namespace other")),
        ("to: {name: sliced}\n  port: {targetPort: metrics}", None),
        (
            "to: {name: sliced}\n  port: {targetPort: web}",
            Some("WH1062 its endpoints have 9000, metrics"),
        ),
        ("to: {name: web}\n  tls: {externalCertificate: {name: no}}", Some("WH1061 ")),
        ("to: {name: web}\n  tls: {externalCertificate: {name: opaque}}", Some("WH1044 ")),
    ];
    for (spec, want) in cases {
        let found: Vec<_> = cross_check(&objects(&format!("{HEAD}spec:\n  {spec}\n{rest}")))
            .iter()
            .map(|f| format!("{} {}", f.code, f.fix))
            .collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}
