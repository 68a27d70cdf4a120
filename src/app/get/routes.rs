//! The columns of `oc get route`, cell by cell as OpenShift's API server prints them.

use crate::{
    admin::routes::port_text,
    model::{
        route::{Route, RouteTarget, RouteTls},
        status::ingress::ADMITTED,
    },
};

/// Columns, the namespace first.
pub(super) const COLUMNS: &[&str] =
    &["NAMESPACE", "NAME", "HOST/PORT", "PATH", "SERVICES", "PORT", "TERMINATION", "WILDCARD"];

/// One line. `oc` has no further columns for `-o wide`.
pub(super) fn row(route: &Route) -> Vec<String> {
    let spec = &route.spec;
    vec![
        route.metadata.namespace.clone().unwrap_or_default(),
        route.metadata.name.clone().unwrap_or_default(),
        host(route),
        spec.path.clone(),
        services(std::iter::once(&spec.to).chain(&spec.alternate_backends)),
        spec.port.as_ref().map_or_else(|| "<all>".to_owned(), |port| port_text(&port.target_port)),
        spec.tls.as_ref().map(termination).unwrap_or_default(),
        spec.wildcard_policy.clone(),
    ]
}

/// The host, or what has become of it: the reason when every router has refused, how many have
/// refused or admitted it beside, `Pending` when none has answered.
fn host(route: &Route) -> String {
    let (mut admitted, mut rejected) = (0_usize, 0_usize);
    let (mut matched, mut reason) = (false, "");
    let mut host = route.spec.host.as_str();
    for entry in &route.status.ingress {
        let Some(condition) = entry.condition(ADMITTED) else { continue };
        match condition.status.as_str() {
            "True" => {
                admitted += 1;
                if !matched {
                    matched = entry.host == route.spec.host;
                    host = &entry.host;
                }
            },
            "False" => {
                rejected += 1;
                reason = &condition.reason;
            },
            _ => {},
        }
    }
    match (admitted, rejected) {
        // No router writes status here: nothing is known against the host.
        _ if route.status.is_empty() => host.to_owned(),
        (0, 1..) => reason.to_owned(),
        (_, 1..) => format!("{host} ... {rejected} rejected"),
        (0, 0) => "Pending".to_owned(),
        (1, 0) => host.to_owned(),
        (more, 0) => format!("{host} ... {} more", more - 1),
    }
}

fn termination(tls: &RouteTls) -> String {
    match (tls.termination.as_str(), tls.insecure_edge_termination_policy.as_str()) {
        (termination, "") => termination.to_owned(),
        ("", insecure) => format!("default/{insecure}"),
        (termination, insecure) => format!("{termination}/{insecure}"),
    }
}

/// `a(90%),b(10%)`; a single Service stands alone unless its weight is 0.
fn services<'a>(targets: impl Iterator<Item = &'a RouteTarget> + Clone) -> String {
    let total: i64 = targets.clone().filter_map(|target| target.weight).map(i64::from).sum();
    let alone = targets.clone().count() == 1;
    let cell = |target: &RouteTarget| match target.weight {
        Some(weight) if !alone || total == 0 => {
            let percent = (i64::from(weight) * 100).checked_div(total).unwrap_or(0);
            format!("{}({percent}%)", target.name)
        },
        _ => target.name.clone(),
    };
    targets.map(cell).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value, status: &Value) -> Vec<String> {
        let object = json!({
            "metadata": {"name": "r", "namespace": "ns"},
            "spec": spec,
            "status": status,
        });
        row(&serde_json::from_value(object).unwrap())
    }

    fn entry(router: &str, host: &str, status: &str, reason: &str) -> Value {
        let condition = json!({"type": "Admitted", "status": status, "reason": reason});
        json!({"routerName": router, "host": host, "conditions": [condition]})
    }

    /// Each state of the column, as the API server's printer decides them.
    #[test]
    fn host_column_is_the_state() {
        let yes = |router, host| entry(router, host, "True", "");
        let no = |router, reason| entry(router, "a.b", "False", reason);
        let silent = json!({"routerName": "c", "host": "a.b"});
        let unknown = entry("u", "a.b", "Unknown", "");
        for (entries, wanted) in [
            (vec![], "a.b"),
            (vec![yes("a", "a.b")], "a.b"),
            (vec![yes("a", "x.y")], "x.y"),
            (vec![yes("a", "x.y"), yes("b", "a.b")], "a.b ... 1 more"),
            (vec![yes("a", "a.b"), yes("b", "x.y"), yes("c", "z")], "a.b ... 2 more"),
            (vec![no("a", "HostAlreadyClaimed")], "HostAlreadyClaimed"),
            (vec![no("a", "InvalidHost"), no("b", "RouteNotAdmitted")], "RouteNotAdmitted"),
            (vec![yes("a", "a.b"), no("b", "InvalidHost")], "a.b ... 1 rejected"),
            (vec![no("b", "InvalidHost"), yes("a", "x.y")], "x.y ... 1 rejected"),
            (vec![silent.clone()], "Pending"),
            (vec![unknown], "Pending"),
            (vec![silent, no("b", "InvalidHost")], "InvalidHost"),
        ] {
            let spec = json!({"host": "a.b", "to": {"name": "s"}});
            let row = of(&spec, &json!({"ingress": entries}));
            assert_eq!(row[2], wanted, "{entries:?}");
        }
    }

    #[test]
    fn services_port_and_termination_are_those_of_oc() {
        let to = |name: &str, weight: Option<i32>| json!({"name": name, "weight": weight});
        for (spec, wanted) in [
            (json!({"to": to("a", Some(100))}), ["a", "<all>", ""]),
            (json!({"to": to("a", None)}), ["a", "<all>", ""]),
            (json!({"to": to("a", Some(0))}), ["a(0%)", "<all>", ""]),
            (
                json!({
                    "to": to("a", Some(90)), "alternateBackends": [to("b", Some(10))],
                    "port": {"targetPort": "http"}, "tls": {"termination": "edge"},
                }),
                ["a(90%),b(10%)", "http", "edge"],
            ),
            (
                json!({
                    "to": to("a", Some(1)), "alternateBackends": [to("b", Some(2)), to("c", None)],
                    "port": {"targetPort": 8080},
                    "tls": {"termination": "reencrypt", "insecureEdgeTerminationPolicy": "Allow"},
                }),
                ["a(33%),b(66%),c", "8080", "reencrypt/Allow"],
            ),
            (
                json!({
                    "to": to("a", Some(0)), "alternateBackends": [to("b", Some(0))],
                    "tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "None"},
                }),
                ["a(0%),b(0%)", "<all>", "passthrough/None"],
            ),
            (
                json!({"to": to("a", None), "tls": {"insecureEdgeTerminationPolicy": "Redirect"}}),
                ["a", "<all>", "default/Redirect"],
            ),
        ] {
            assert_eq!(of(&spec, &Value::Null)[4..7], wanted, "{spec}");
        }
    }
}
