//! Ingresses as manifests, and the Routes that are made of them.

use std::fmt::Write as _;

use super::*;
use crate::source::document::{self, Outcome};

/// The objects of a text, all of which must be valid.
fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    let content = document::read("i.yaml", text, "apps.test");
    for outcome in &content.outcomes {
        match outcome {
            Outcome::Valid(object) => object.add_to(&mut objects),
            Outcome::Invalid(id) => panic!("{id:?}: {:?}", content.findings),
        }
    }
    objects
}

const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {ports: [{name: http, port: 80}, {port: 81}, {name: alt, port: 82}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours}
spec: {controller: openshift.io/ingress-to-route}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: pair, namespace: app}
stringData: {tls.crt: CERT, tls.key: KEY}
---
apiVersion: v1
kind: Secret
metadata: {name: opaque, namespace: app}
stringData: {tls.crt: CA}
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: half, namespace: app}
stringData: {tls.crt: CERT}
";

/// Converts an Ingress `i` in namespace `app` with these lines below `metadata` and `spec`.
fn made(metadata: &str, spec: &str) -> Converted {
    let text = format!(
        "{SERVICE}---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\n  \
         namespace: app\n{metadata}\nspec:\n{spec}\n"
    );
    convert(&objects(&text))
}

/// The line of the whole text that is the `number`th of the Ingress' document.
fn line(number: u32) -> u32 {
    u32::try_from(SERVICE.lines().count()).unwrap() + number
}

fn rule(host: &str, path: &str, kind: &str) -> String {
    format!(
        "  - host: '{host}'\n    http: {{paths: [{{path: '{path}', pathType: {kind}, backend: \
         {{service: {{name: web, port: {{number: 80}}}}}}}}]}}\n"
    )
}

/// One rule for host `h.test` and path `/p`.
fn one() -> String {
    format!("  rules:\n{}", rule("h.test", "/p", "Prefix"))
}

fn codes(made: &Converted) -> Vec<u16> {
    made.findings.iter().map(|finding| finding.code.number).collect()
}

/// [ING-1]
#[test]
fn ing_1_the_class_decides() {
    let class = |name: &str| format!("  ingressClassName: {name}\n{}", one());
    let annotated = |name: &str| format!("  annotations: {{kubernetes.io/ingress.class: {name}}}");
    for (metadata, spec, routes, said) in [
        (String::new(), one(), 1, vec![]),
        (String::new(), class("ours"), 1, vec![]),
        (String::new(), class("nginx"), 0, vec![]),
        (String::new(), class("unknown"), 0, vec![2120]),
        (annotated("ours"), one(), 1, vec![]),
        (annotated("nginx"), one(), 0, vec![]),
        (annotated("unknown"), one(), 0, vec![2120]),
    ] {
        let made = made(&metadata, &spec);
        assert_eq!((made.routes.len(), codes(&made)), (routes, said), "{metadata} {spec}");
    }
}

/// [ING-2]: one Route for each host and path with a service; the rest is left out, with a finding
/// where it stands.
#[test]
fn ing_2_what_becomes_a_route() {
    let spec = format!(
        "  defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}\n  rules:\n{}{}{}{}{}",
        rule("a.test", "/p", "Prefix"),
        rule("a.test", "", "ImplementationSpecific"),
        rule("a.test", "/x", "Exact"),
        "  - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: \
         {number: 80}}}}]}\n",
        "  - host: b.test\n    http: {paths: [{path: /, pathType: Prefix, backend: {resource: \
         {kind: Bucket, name: b}}}]}\n  - host: c.test\n",
    );
    let made = made("", &spec);
    let spec = |route: &Arc<Stored<Route>>| {
        (route.object.spec.host.clone(), route.object.spec.path.clone())
    };
    let pairs: Vec<_> = made.routes.iter().map(spec).collect();
    assert_eq!(pairs, [("a.test", "/p"), ("a.test", "")].map(|(a, b)| (a.into(), b.into())));
    let said: Vec<_> = made.findings.iter().map(|it| (it.code.number, &*it.field)).collect();
    let fields = [
        "spec.defaultBackend",
        "spec.rules[2].http.paths[0].pathType",
        "spec.rules[3]",
        "spec.rules[4].http.paths[0].backend",
        "spec.rules[5]",
    ];
    assert_eq!(said, fields.map(|field| (2121, field)));
    for finding in &made.findings {
        assert!(finding.place.line > line(0) && !finding.fix.is_empty(), "{finding}");
    }
    let target = &made.routes[0].object.spec.to;
    assert_eq!((&*target.kind, &*target.name, target.weight), ("Service", "web", Some(100)));
}

/// [ING-3]: names are stable and no longer than 63; owner, annotations, labels and age are those of
/// the Ingress.
#[test]
fn ing_3_name_and_metadata() {
    let metadata = "  uid: u-1\n  creationTimestamp: '2026-01-02T03:04:05Z'\n  labels: {l: '1'}\n  \
                    annotations: {a: b, haproxy.router.openshift.io/timeout: 5s}";
    let first = made(metadata, &one());
    let again = made(metadata, &one());
    let route = &first.routes[0];
    let meta = &route.object.metadata;
    assert_eq!(route.key, again.routes[0].key);
    let name = meta.name.as_deref().unwrap();
    assert!(name.starts_with("i-") && name.len() == 7, "{name}");
    assert_eq!(meta.labels.as_ref().unwrap()["l"], "1");
    assert_eq!(meta.annotations.as_ref().unwrap().len(), 2);
    assert!(meta.creation_timestamp.is_some());
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!((&*owner.api_version, &*owner.kind), ("networking.k8s.io/v1", "Ingress"));
    assert_eq!((&*owner.name, &*owner.uid, owner.controller), ("i", "u-1", Some(true)));
    assert_eq!(super::owner(&route.object), Some("i"));
    // Another uid, another name; findings point into the Ingress.
    assert_ne!(made(&metadata.replace("u-1", "u-2"), &one()).routes[0].key, route.key);
    assert_eq!(route.field_place("metadata.annotations[a]").line, line(10));
    assert!(first.findings.is_empty(), "{:?}", first.findings);
}

/// [ING-3]: two paths never share a name, nor does a Route that is there already lose its own.
#[test]
fn ing_3_names_are_distinct() {
    let long = "x".repeat(80);
    let mut text = SERVICE.to_owned();
    let header =
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {namespace: app, name: ";
    write!(text, "{header}{long}}}\nspec:\n  rules:\n").unwrap();
    for index in 0..300 {
        // Some of them twice.
        text.push_str(&rule("a.test", &format!("/{}", index / 2), "Prefix"));
    }
    let mut objects = objects(&text);
    let made = convert(&objects);
    let names: HashSet<_> = made.routes.iter().map(|route| &route.key.name).collect();
    assert_eq!((made.routes.len(), names.len()), (300, 300));
    assert!(names.iter().all(|name| name.len() == 63 && name.starts_with(&"x".repeat(57))));
    objects.routes.push(Arc::clone(&made.routes[0]));
    let other = convert(&objects);
    assert!(other.routes.iter().all(|route| route.key != made.routes[0].key));
    assert_eq!(other.routes.len(), 300);
}

/// [ING-4]
#[test]
fn ing_4_a_wildcard_host_is_a_wildcard_route() {
    let spec = format!("  rules:\n{}", rule("*.d.test", "/", "Prefix"));
    let made = made("", &spec);
    let route = &made.routes[0].object.spec;
    assert_eq!((&*route.host, &*route.wildcard_policy), ("wildcard.d.test", "Subdomain"));
}

/// [ING-5]
#[test]
fn ing_5_the_port_must_be_one_of_the_service() {
    let spec = |service: &str, port: &str| {
        one().replace("name: web", &format!("name: {service}")).replace("number: 80", port)
    };
    for (service, port, target, said) in [
        ("web", "number: 80", Some("http"), None),
        ("web", "name: alt", Some("alt"), None),
        ("web", "number: 81", None, None),
        ("web", "number: 83", None, Some("port")),
        ("web", "name: none", None, Some("port")),
        ("other", "number: 80", None, Some("name")),
    ] {
        let made = made("", &spec(service, port));
        let field = format!("spec.rules[0].http.paths[0].backend.service.{}", said.unwrap_or("-"));
        assert_eq!(made.routes.len(), usize::from(said.is_none()), "{service} {port}");
        match said {
            Some(_) => {
                assert_eq!(
                    (made.findings[0].code.number, &*made.findings[0].field),
                    (1123, &*field)
                );
            },
            None => {
                let port = made.routes[0].object.spec.port.as_ref();
                let want = target.map(|name| IntOrString::String(name.to_owned()));
                assert_eq!(port.map(|port| port.target_port.clone()), want, "{service}");
            },
        }
    }
}

/// What TLS a Route has: termination, policy, certificate, destination CA.
fn tls(made: &Converted) -> Option<(&str, &str, &str, &str)> {
    let tls = made.routes[0].object.spec.tls.as_ref()?;
    let insecure = &*tls.insecure_edge_termination_policy;
    Some((&tls.termination, insecure, &tls.certificate, &tls.destination_ca_certificate))
}

/// [ING-6, ING-7]
#[test]
fn ing_6_7_when_and_how_tls_is_set() {
    let plain = format!("  rules:\n{}", rule("*.h.test", "", "ImplementationSpecific"));
    let with = |tls: &str| format!("  tls: {tls}\n{plain}");
    let named = with("[{hosts: [x.test]}, {hosts: ['*.h.test'], secretName: pair}]");
    let ends = |word: &str| format!("route.openshift.io/termination: {word}");
    let ca = |name: &str| {
        format!(
            "{}, route.openshift.io/destination-ca-certificate-secret: {name}",
            ends("reencrypt")
        )
    };
    for (annotations, spec, want, said) in [
        (String::new(), plain.clone(), None, vec![]),
        (String::new(), with("[{}]"), Some(("edge", "Redirect", "", "")), vec![]),
        (String::new(), with("[{secretName: pair}]"), None, vec![]),
        (String::new(), with("[{hosts: [x.test], secretName: pair}]"), None, vec![]),
        (String::new(), named.clone(), Some(("edge", "Redirect", "CERT", "")), vec![]),
        (ends("edge"), plain.clone(), Some(("edge", "Redirect", "", "")), vec![]),
        (ends("reencrypt"), named.clone(), Some(("reencrypt", "Redirect", "CERT", "")), vec![]),
        (ends("passthrough"), named.clone(), Some(("passthrough", "Redirect", "", "")), vec![]),
        (ends("Edge"), plain.clone(), None, vec![2122]),
        (ends("Edge"), named, Some(("edge", "Redirect", "CERT", "")), vec![2122]),
        (ca("opaque"), plain.clone(), Some(("reencrypt", "Redirect", "", "CA")), vec![]),
        (ca("pair"), plain.clone(), Some(("reencrypt", "Redirect", "", "CERT")), vec![]),
        (ca("none"), plain.clone(), Some(("reencrypt", "Redirect", "", "")), vec![2122]),
        (
            ca("opaque").replace("reencrypt", "edge"),
            plain,
            Some(("edge", "Redirect", "", "")),
            vec![],
        ),
    ] {
        let made = made(&format!("  annotations: {{{annotations}}}"), &spec);
        assert_eq!((tls(&made), codes(&made)), (want, said), "{annotations} {spec}");
    }
}

/// [ING-6]: what the Route API refuses, the other paths do without.
#[test]
fn ing_6_passthrough_with_a_path_is_no_route() {
    let spec = format!(
        "  rules:\n{}{}{}",
        rule("a.test", "/", "Prefix"),
        rule("a.test", "/a#b", "ImplementationSpecific"),
        rule("a.test", "", "ImplementationSpecific")
    );
    let passthrough = made("  annotations: {route.openshift.io/termination: passthrough}", &spec);
    assert_eq!((passthrough.routes.len(), codes(&passthrough)), (1, vec![1122, 1122, 1122]));
    assert!(passthrough.findings[0].text.contains("host a.test and path \"/\""));
    let plain = made("", &spec);
    assert_eq!((plain.routes.len(), codes(&plain)), (2, vec![1122]));
    assert_eq!(plain.findings[0].field, "spec.rules[1].http.paths[0]");
    assert_eq!(plain.findings[0].place.line, line(13));
}

/// [ING-8]: a Secret that cannot be used takes its host away, and no other.
#[test]
fn ing_8_an_unusable_secret_means_no_route() {
    for (tls, field) in [
        ("{hosts: [a.test], secretName: none}", "spec.tls[0].secretName"),
        ("{hosts: [a.test], secretName: opaque}", "spec.tls[0].secretName"),
        ("{hosts: [a.test], secretName: half}", "spec.tls[0].secretName"),
        ("{hosts: [a.test]}", "spec.tls[0]"),
    ] {
        let spec = format!(
            "  tls: [{tls}]\n  rules:\n{}{}",
            rule("a.test", "/", "Prefix"),
            rule("b.test", "/", "Prefix")
        );
        let made = made("", &spec);
        let hosts: Vec<_> = made.routes.iter().map(|route| &*route.object.spec.host).collect();
        assert_eq!(hosts, ["b.test"], "{tls}");
        let said: Vec<_> = made.findings.iter().map(|it| (it.code.number, &*it.field)).collect();
        assert_eq!(said, [(1123, field)], "{tls}");
    }
}

/// [ING-11]: the value of the label annotation; and a warning of Route annotations comes once.
#[test]
fn ing_11_annotations_that_are_not_understood() {
    let with =
        |value: &str| format!("  annotations: {{router.openshift.io/reconcile-labels: '{value}'}}");
    for (value, said) in [("true", vec![]), (" TRUE ", vec![2004]), ("maybe", vec![2122, 2004])] {
        let made = made(&with(value), &one());
        assert_eq!(codes(&made), said, "{value}");
    }
    let spec = format!("{}{}", one(), rule("b.test", "/", "Prefix"));
    let made = made("  annotations: {haproxy.router.openshift.io/timeout: soon}", &spec);
    assert_eq!((made.routes.len(), codes(&made)), (2, vec![2004]));
    assert_eq!(made.findings[0].object, "Ingress app/i");
    assert_eq!((made.findings[0].place.line, made.findings[0].place.column), (line(7), 17));
}

#[test]
fn nothing_is_made_of_nothing() {
    let made = convert(&objects(SERVICE));
    assert!(made.routes.is_empty() && made.findings.is_empty());
}

/// What the API server refuses, the source refuses, so that the last valid version keeps serving.
#[test]
fn what_the_api_refuses_is_not_taken_over() {
    let header =
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: app}\n";
    let with = |from: &str, to: &str| format!("{header}spec:\n{}", one().replace(from, to));
    let rows = [
        (format!("{header}spec: {{}}\n"), 1121),
        (header.to_owned(), 1121),
        (with("h.test", "H.test"), 1121),
        (with("h.test", "a.*.test"), 1121),
        (with("h.test", "10.0.0.1"), 1121),
        (with("'/p'", "p"), 1121),
        (with("'/p'", "''"), 1121),
        (with("'/p'", "/a//b"), 1121),
        (with("'/p'", "/a/.."), 1121),
        (with("'/p'", "/%2fa"), 1121),
        (with("pathType: Prefix", "pathType: Regex"), 1121),
        (with("pathType: Prefix, ", ""), 1003),
        (with("{number: 80}", "{}"), 1121),
        (with("{number: 80}", "{number: 80, name: http}"), 1121),
        (with("{number: 80}", "{number: 70000}"), 1121),
        (with("{number: 80}", "{number: http}"), 1002),
        (with("name: web", "name: We_b"), 1121),
        (with("service: ", "servcie: "), 1121),
        (with("paths: [", "paths: [], x: ["), 1121),
    ];
    for (text, code) in rows {
        let content = document::read("i.yaml", &text, "apps.test");
        let said: Vec<_> = content.findings.iter().map(|it| it.code.number).collect();
        assert!(said.contains(&code), "{said:?} {text}");
        let Outcome::Invalid(Some(id)) = &content.outcomes[0] else { panic!("{text}") };
        assert_eq!(id.to_string(), "Ingress app/i");
    }
    let both = format!(
        "{}spec:\n  ingressClassName: a\n{}",
        header.replace("app}", "app, annotations: {kubernetes.io/ingress.class: a}}"),
        one()
    );
    assert_eq!(document::read("i.yaml", &both, "").findings[0].code.number, 1121);
    assert!(matches!(document::read("i.yaml", &with("", ""), "").outcomes[0], Outcome::Valid(_)));
}
