//! The list against the names of the CRD, and what is known of one route.

use super::*;
use crate::admin::fixture;

/// Every field of `Route` in the CRD of route.openshift.io/v1, below metadata.
const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "spec.alternateBackends",
    "spec.alternateBackends.kind",
    "spec.alternateBackends.name",
    "spec.alternateBackends.weight",
    "spec.host",
    "spec.httpHeaders",
    "spec.path",
    "spec.port",
    "spec.port.targetPort",
    "spec.subdomain",
    "spec.tls",
    "spec.tls.caCertificate",
    "spec.tls.certificate",
    "spec.tls.destinationCACertificate",
    "spec.tls.externalCertificate",
    "spec.tls.externalCertificate.name",
    "spec.tls.insecureEdgeTerminationPolicy",
    "spec.tls.key",
    "spec.tls.termination",
    "spec.to",
    "spec.to.kind",
    "spec.to.name",
    "spec.to.weight",
    "spec.wildcardPolicy",
    "status",
    "status.ingress",
    "status.ingress.conditions",
    "status.ingress.conditions.lastTransitionTime",
    "status.ingress.conditions.message",
    "status.ingress.conditions.reason",
    "status.ingress.conditions.status",
    "status.ingress.conditions.type",
    "status.ingress.host",
    "status.ingress.routerCanonicalHostname",
    "status.ingress.routerName",
    "status.ingress.wildcardPolicy",
];

/// Paths of all members below `value`, list items under their list's own.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                if path != "metadata" && path != "spec.httpHeaders" {
                    paths(member, &path, found);
                }
                found.push(path);
            }
        },
        Value::Array(items) => items.iter().for_each(|item| paths(item, at, found)),
        _ => {},
    }
}

/// [STAT-1, API-1]: a Route with everything in it comes out with all its fields and no other, each
/// under the name that the CRD has.
#[test]
fn full_route_has_the_names_of_the_crd() {
    let mut snapshot = fixture::snapshot();
    let mut written = fixture::snapshot().routes.remove(1);
    let object = json!({
        "metadata": {"name": "full", "namespace": "shop", "managedFields": [{"manager": "x"}]},
        "spec": {
            "host": "a.b", "subdomain": "s", "path": "/p", "wildcardPolicy": "None",
            "to": {"kind": "Service", "name": "a", "weight": 1},
            "alternateBackends": [{"kind": "Service", "name": "b", "weight": 2}],
            "port": {"targetPort": "http"},
            "httpHeaders": {"actions": {}},
            "tls": {
                "termination": "edge", "certificate": "c", "key": "CANARY", "caCertificate": "ca",
                "destinationCACertificate": "d", "insecureEdgeTerminationPolicy": "Allow",
                "externalCertificate": {"name": "s"},
            },
        },
        "status": {"ingress": [{
            "host": "a.b", "routerName": "other", "wildcardPolicy": "None",
            "routerCanonicalHostname": "r.c",
            "conditions": [{
                "type": "Admitted", "status": "False", "reason": "R", "message": "m",
                "lastTransitionTime": "2026-08-04T12:30:00Z",
            }],
        }]},
    });
    let route: Route = serde_json::from_value(object).unwrap();
    written.status = std::sync::Arc::new(route.status.clone());
    let key = ObjectKey::new("shop", "full");
    let stored = crate::model::objects::Stored::in_memory(key, route, "full.yaml");
    written.source = std::sync::Arc::new(stored);
    snapshot.routes = vec![written];
    let mut list = list(&snapshot);
    assert_eq!(
        (&list["kind"], &list["apiVersion"], &list["metadata"]["resourceVersion"]),
        (&json!("RouteList"), &json!(API_VERSION), &json!("4"))
    );
    let item = list["items"][0].as_object_mut().unwrap();
    assert_eq!(item.remove(BEYOND).unwrap()["place"], "full.yaml");
    assert_eq!(item["spec"]["tls"]["key"], redact::REDACTED);
    assert!(item["metadata"].get("managedFields").is_none());
    let mut found = Vec::new();
    paths(&list["items"][0], "", &mut found);
    found.sort();
    found.dedup();
    assert_eq!(found, FIELDS);
}

#[test]
fn details_are_of_those_that_were_asked_for() {
    let snapshot = fixture::snapshot();
    assert_eq!(details(&snapshot, None, None).len(), 2);
    assert_eq!(details(&snapshot, Some("shop"), Some("web")).len(), 1);
    assert_eq!(details(&snapshot, Some("other"), Some("web")), []);
    let [web] = &details(&snapshot, None, Some("web"))[..] else { panic!() };
    let served = web.wharf.served.as_ref().unwrap();
    assert_eq!(
        (&*served.backend, &*served.http, &*served.https),
        ("be_edge_http:shop:web", "redirected to https", "served")
    );
    assert_eq!((&*served.policy.timeout, &*served.policy.balance), ("30s", "random"));
    assert_eq!(web.services[0].endpoints, None, "there is no such Service");
    let [late] = &details(&snapshot, None, Some("web-late"))[..] else { panic!() };
    assert!(late.wharf.served.is_none());
    assert!(!serde_json::to_string(web).unwrap().contains("CANARY"), "S-92");
}

/// [MATCH-13, LSN-1]: the whole table of spec/route.md 10.4.
#[test]
fn reach_is_the_table_of_ports() {
    use InsecurePolicy::{Allow, None as Hidden, Redirect};
    use Termination::{Edge, None as Plain, Passthrough, Reencrypt};
    let (yes, no, away) = ("served", "not known here, answer: 503", "redirected to https");
    for (termination, insecure, plain, secure) in [
        (Plain, Hidden, yes, no),
        (Edge, Hidden, no, yes),
        (Edge, Allow, yes, yes),
        (Edge, Redirect, away, yes),
        (Reencrypt, Hidden, no, "served, with TLS to the pod"),
        (Reencrypt, Allow, yes, "served, with TLS to the pod"),
        (Reencrypt, Redirect, away, "served, with TLS to the pod"),
        (Passthrough, Hidden, no, "the TLS stream goes to the pod"),
        (Passthrough, Redirect, away, "the TLS stream goes to the pod"),
    ] {
        assert_eq!(reach(termination, insecure), (plain, secure), "{termination:?} {insecure:?}");
    }
}
