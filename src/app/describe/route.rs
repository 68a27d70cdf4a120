//! A Route as `oc describe route` prints it, and below it what wharf knows.

use std::{fmt::Write as _, time::SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Page, ago};
use crate::{
    admin::routes::{RouteDetail, Served, ServiceShare, port_text},
    app::table::{KUBECTL_DESCRIBE, OC_DESCRIBE, align, clean},
    model::{
        route::Route,
        status::ingress::{ADMITTED, RouteIngress},
    },
};

/// Endpoints that are listed; more are counted.
const LISTED: usize = 3;

/// All lines about one Route.
pub(super) fn describe(detail: &RouteDetail, now: SystemTime) -> String {
    // What was made from a Route can be read as one.
    let route: Route = serde_json::from_value(detail.route.clone()).unwrap_or_default();
    let mut page = Page::default();
    metadata(&mut page, &route.metadata, now);
    hosts(&mut page, &route, now);
    let spec = &route.spec;
    page.field("Path", &spec.path);
    let tls = spec.tls.as_ref();
    page.field("TLS Termination", tls.map_or("", |tls| &tls.termination));
    page.field("Insecure Policy", tls.map_or("", |tls| &tls.insecure_edge_termination_policy));
    let port = spec.port.as_ref().map(|port| port_text(&port.target_port));
    page.field("Endpoint Port", port.as_deref().unwrap_or("<all endpoint ports>"));
    let total: i32 = detail.services.iter().map(|service| service.weight).sum();
    for service in &detail.services {
        page.0.push('\n');
        share(&mut page, service, total);
    }
    let mut text = align(&page.0, OC_DESCRIBE);
    text.push_str("\nwharf:\n");
    for line in align(&beyond(detail), KUBECTL_DESCRIBE).lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn metadata(page: &mut Page, metadata: &ObjectMeta, now: SystemTime) {
    page.field("Name", metadata.name.as_deref().unwrap_or_default());
    if let Some(namespace) = &metadata.namespace {
        page.field("Namespace", namespace);
    }
    if let Some(created) = &metadata.creation_timestamp {
        page.field("Created", &format!("{} ago", ago::since(created, now)));
    }
    let pairs = |map: &Option<std::collections::BTreeMap<String, String>>| {
        let all = map.iter().flatten();
        all.filter(|(key, _)| *key != "description")
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
    };
    list(page, "Labels", &pairs(&metadata.labels));
    let description = metadata.annotations.as_ref().and_then(|all| all.get("description"));
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        page.field("Description", description);
    }
    list(page, "Annotations", &pairs(&metadata.annotations));
}

/// The first of several behind the label, the others below it.
fn list(page: &mut Page, label: &str, lines: &[String]) {
    page.field(label, lines.first().map_or("", String::as_str));
    for line in lines.iter().skip(1) {
        page.under(line);
    }
}

/// The host that was asked for, what the routers that serve it under this name say of it, and then
/// those that serve it under another.
fn hosts(page: &mut Page, route: &Route, now: SystemTime) {
    let requested = &route.spec.host;
    let is_requested = |entry: &&RouteIngress| !requested.is_empty() && entry.host == *requested;
    page.field("Requested Host", if requested.is_empty() { "<auto>" } else { requested });
    let entries = || route.status.ingress.iter();
    for entry in entries().filter(is_requested) {
        router(page, entry, true, now);
    }
    for entry in entries().filter(|entry| !is_requested(entry)) {
        router(page, entry, false, now);
    }
}

/// What one router says. The blanks, and the lack of one before the reason, are those of `oc`.
fn router(page: &mut Page, entry: &RouteIngress, short: bool, now: SystemTime) {
    let Some(condition) = entry.condition(ADMITTED) else { return };
    let canonical = match entry.router_canonical_hostname.as_str() {
        "" => String::new(),
        name => format!(" (host {name})"),
    };
    let name = &entry.router_name;
    let since = condition.last_transition_time.as_ref();
    let since = since.map(|time| format!("{} ago", ago::since(time, now).to_lowercase()));
    match condition.status.as_str() {
        "True" => {
            let host = if short { "" } else { &entry.host };
            let since = since.map_or_else(String::new, |since| format!(" {since}"));
            page.under(&format!("  {host} exposed on router {name}{canonical}{since}"));
        },
        "False" => {
            let since = since.map_or_else(String::new, |since| format!(" ({since})"));
            let reason = &condition.reason;
            page.under(&format!("rejected by router {name}: {canonical}{reason}{since}"));
            if !condition.message.is_empty() {
                page.under(&format!("  {}", condition.message));
            }
        },
        _ => {},
    }
}

fn share(page: &mut Page, service: &ServiceShare, total: i32) {
    page.field("Service", &service.name);
    let weight = i64::from(service.weight);
    let percent = (weight * 100).checked_div(i64::from(total)).unwrap_or(0);
    let text = if weight > 0 { format!("{weight} ({percent}%)") } else { "0".to_owned() };
    page.field("Weight", &text);
    let endpoints = match &service.endpoints {
        None => format!("<error: endpoints \"{}\" not found>", service.name),
        Some(all) => {
            let mut text = all.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
            if all.len() > LISTED {
                // Writing into a String does not fail.
                let _ = write!(text, " + {} more...", all.len() - LISTED);
            }
            text
        },
    };
    page.field("Endpoints", &endpoints);
}

/// What `oc` does not know: where the object was read, what serves, and what is wrong.
fn beyond(detail: &RouteDetail) -> String {
    let mut page = Page::default();
    let known = &detail.wharf;
    page.field("Source", &known.place);
    match &known.served {
        Some(served) => self::served(&mut page, served),
        None => page.field("Served", "no"),
    }
    list(&mut page, "Findings", &known.findings);
    page.0
}

fn served(page: &mut Page, served: &Served) {
    page.field("Backend", &served.backend);
    page.field("HTTP", &served.http);
    page.field("HTTPS", &served.https);
    let certificate = served.certificate.as_ref().map(|cert| {
        let names = clean(&cert.names.join(", "));
        format!("{}, valid until {}, for {names}", cert.source, cert.not_after)
    });
    page.field("Certificate", certificate.as_deref().unwrap_or("none ends here"));
    let policy = &served.policy;
    page.field("Timeout", &format!("{} (tunnel {})", policy.timeout, policy.tunnel_timeout));
    page.field("Forwarded", &policy.forwarded);
    page.field("Balance", &policy.balance);
    page.field(
        "Allowed",
        &match &policy.allow {
            None => "everybody".to_owned(),
            Some(nets) if nets.is_empty() => "nobody".to_owned(),
            Some(nets) => nets.join(", "),
        },
    );
    page.field("Upstream", &served.upstream);
    let servers: Vec<String> = served
        .endpoints
        .iter()
        .map(|line| {
            let health = match (line.cluster_ip, line.up) {
                (true, _) => "cluster IP",
                (false, true) => "up",
                (false, false) => "down",
            };
            format!("{} {} weight {} {health}", line.service, line.address, line.weight)
        })
        .collect();
    list(page, "Endpoints", &servers);
}
