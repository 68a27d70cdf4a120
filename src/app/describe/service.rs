//! A Service and its endpoints as `kubectl describe` prints them, as far as the DNS map knows them.

use super::Page;
use crate::{
    admin::model::{EndpointView, ServiceView},
    app::table::{KUBECTL_DESCRIBE, align},
};

/// Endpoints that are listed for a port; more are counted.
const LISTED: usize = 3;

/// A Service. Labels, selector and target ports are not in the map; its name in the DNS is.
pub(super) fn describe(service: &ServiceView, all: &[EndpointView]) -> String {
    let mut page = Page::default();
    page.field("Name", &service.name);
    page.field("Namespace", &service.namespace);
    let kind = if service.external_name.is_some() { "ExternalName" } else { "ClusterIP" };
    page.field("Type", kind);
    if service.external_name.is_none() {
        let addresses = service.cluster_ips.join(",");
        let first = service.cluster_ips.first().map_or("None", String::as_str);
        page.field("IP", first);
        page.field("IPs", if addresses.is_empty() { "None" } else { &addresses });
    }
    if let Some(name) = &service.external_name {
        page.field("External Name", name);
    }
    for port in &service.ports {
        let (name, number) = port.split_once(':').unwrap_or(("<unset>", port));
        page.line(&["Port:", name, number]);
        let bare = if name == "<unset>" { "" } else { name };
        page.field("Endpoints", &listed(service, all, bare));
    }
    page.field("DNS Name", &service.fqdn);
    align(&page.0, KUBECTL_DESCRIBE)
}

fn of<'a>(
    service: &'a ServiceView,
    all: &'a [EndpointView],
) -> impl Iterator<Item = &'a EndpointView> {
    all.iter().filter(|endpoint| {
        endpoint.namespace == service.namespace && endpoint.service == service.name
    })
}

/// Name, number and protocol of `name:80/TCP`; without a name, the first is empty.
fn parts(port: &str) -> (&str, &str, &str) {
    let (name, rest) = port.split_once(':').unwrap_or(("", port));
    let (number, protocol) = rest.split_once('/').unwrap_or((rest, ""));
    (name, number, protocol)
}

/// The ready addresses of a port, by its name.
fn listed(service: &ServiceView, all: &[EndpointView], name: &str) -> String {
    let mut found = Vec::new();
    for endpoint in of(service, all).filter(|endpoint| endpoint.ready) {
        let ports = endpoint.ports.iter().map(|port| parts(port));
        for (_, number, _) in ports.filter(|(own, ..)| *own == name) {
            found.push(match endpoint.address.contains(':') {
                true => format!("[{}]:{number}", endpoint.address),
                false => format!("{}:{number}", endpoint.address),
            });
        }
    }
    let more = found.len().saturating_sub(LISTED);
    found.truncate(LISTED);
    let text = found.join(",");
    if more > 0 { format!("{text} + {more} more...") } else { text }
}

/// The endpoints of a Service, addresses with the same ports in one subset.
pub(super) fn endpoints(service: &ServiceView, all: &[EndpointView]) -> String {
    let mut page = Page::default();
    page.field("Name", &service.name);
    page.field("Namespace", &service.namespace);
    page.line(&["Subsets:"]);
    let mut subsets: Vec<(&[String], Vec<&str>, Vec<&str>)> = Vec::new();
    for endpoint in of(service, all) {
        let known = subsets.iter().position(|(ports, ..)| *ports == endpoint.ports);
        let index = known.unwrap_or_else(|| {
            subsets.push((&endpoint.ports, Vec::new(), Vec::new()));
            subsets.len() - 1
        });
        let (_, ready, not_ready) = &mut subsets[index];
        if endpoint.ready { ready } else { not_ready }.push(&endpoint.address);
    }
    for (ports, ready, not_ready) in subsets {
        page.field("  Addresses", &ready.join(","));
        page.field("  NotReadyAddresses", &not_ready.join(","));
        page.line(&["  Ports:"]);
        page.line(&["    Name", "Port", "Protocol"]);
        page.line(&["    ----", "----", "--------"]);
        for port in ports {
            let (name, number, protocol) = parts(port);
            let name = if name.is_empty() { "<unset>" } else { name };
            page.line(&[&format!("    {name}"), number, protocol]);
        }
        page.line(&[]);
    }
    align(&page.0, KUBECTL_DESCRIBE)
}
