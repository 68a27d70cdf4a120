//! The path of a name of the cluster: DNS, then the cluster IP or the pods themselves.
//!
//! Gathers and, in [`judge`], decides without I/O.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    DnsServer, TraceOptions, UP_DNS, admins,
    ask::{self, Resolved},
    report::{Hop, Name, Report, State, time},
    send,
};
use crate::admin::model::{EndpointView, ServiceView};

/// What was seen.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) name: String,
    pub(super) live: bool,
    /// The answer; nothing when it was not asked for.
    pub(super) dns: Option<Resolved>,
    /// The Service of this name, or why it is not known.
    pub(super) service: Result<Option<ServiceView>, String>,
    pub(super) endpoints: Vec<EndpointView>,
    /// Connections that were tried.
    pub(super) dialled: Vec<(SocketAddr, Result<Duration, String>)>,
}

pub(super) async fn trace(options: &TraceOptions, what: &str) -> Report {
    let name = what.trim_end_matches('.').to_ascii_lowercase();
    let of_up = || DnsServer::At(([127, 0, 0, 1], UP_DNS).into());
    let server = options.dns.unwrap_or_else(of_up);
    let dns = match options.explain {
        true => None,
        false => Some(ask::resolve(server, &full(&name), options.timeout).await),
    };
    let (admins, _) = admins(options);
    let mut services: Result<Vec<ServiceView>, String> = Err("no admin port".to_owned());
    let mut endpoints: Vec<EndpointView> = Vec::new();
    for admin in admins {
        services = ask::json(admin, "/api/v1/services", options.timeout).await;
        if services.is_ok() {
            let found = ask::json(admin, "/api/v1/endpoints", options.timeout).await;
            endpoints = found.unwrap_or_default();
            break;
        }
    }
    let key = key(&name);
    let is_meant = |namespace: &str, service: &str| {
        key.as_ref().is_some_and(|(ns, name)| ns == namespace && name == service)
    };
    let service = services.map(|all| all.into_iter().find(|it| is_meant(&it.namespace, &it.name)));
    endpoints.retain(|it| is_meant(&it.namespace, &it.service));
    let mut observed =
        Observed { name, live: !options.explain, dns, service, endpoints, dialled: Vec::new() };
    if observed.live {
        for address in to_dial(&observed) {
            let connected = send::connect(address, options.timeout).await;
            observed.dialled.push((address, connected.map(|(_, took)| took)));
        }
    }
    judge(&observed)
}

/// Most connections that are tried.
const DIALLED: usize = 8;

/// The name with the cluster's domain, where it ends with `svc`.
fn full(name: &str) -> String {
    if name.ends_with(".svc") { format!("{name}.cluster.local") } else { name.to_owned() }
}

/// Namespace and name of the Service of `[pod.]service.namespace.svc[.domain]`.
pub(super) fn key(name: &str) -> Option<(String, String)> {
    let labels: Vec<&str> = name.split('.').collect();
    let svc = labels.iter().position(|label| *label == "svc")?;
    let service = labels.get(svc.checked_sub(2)?)?;
    Some((labels[svc - 1].to_owned(), (*service).to_owned()))
}

/// Numbers of TCP ports of `name:80/TCP`.
fn tcp(ports: &[String]) -> impl Iterator<Item = u16> {
    ports.iter().filter_map(|port| {
        let port = port.strip_suffix("/TCP")?;
        port.rsplit(':').next()?.parse().ok()
    })
}

/// Each address that DNS gave, with the ports that it serves.
fn to_dial(observed: &Observed) -> Vec<SocketAddr> {
    let Some(Ok(addresses)) = observed.dns.as_ref().map(|dns| &dns.addresses) else {
        return Vec::new();
    };
    let ports = |address: &IpAddr| -> Vec<u16> {
        let of_pod = observed.endpoints.iter().find(|it| it.address == address.to_string());
        match (of_pod, &observed.service) {
            (Some(pod), _) => tcp(&pod.ports).collect(),
            (None, Ok(Some(service))) => tcp(&service.ports).collect(),
            _ => Vec::new(),
        }
    };
    let all = addresses
        .iter()
        .flat_map(|address| ports(address).into_iter().map(|port| SocketAddr::new(*address, port)));
    all.take(DIALLED).collect()
}

pub(super) fn judge(observed: &Observed) -> Report {
    let mut report = Report::new(&observed.name, observed.live);
    dns(observed, &mut report);
    if report.broken.is_none() {
        service(observed, &mut report);
    }
    if report.broken.is_none() {
        pods(observed, &mut report);
    }
    report
}

fn dns(observed: &Observed, report: &mut Report) {
    let name = &observed.name;
    let Some(dns) = &observed.dns else {
        return report.push(Hop::new(Name::Dns, State::Unknown, "not asked with --explain"));
    };
    let hop = |state, what| {
        Hop::new(Name::Dns, state, what).took(dns.took).fact("server", dns.server.clone())
    };
    match &dns.addresses {
        Ok(addresses) => {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            report.push(hop(State::Ok, format!("{name} is {}", all.join(", "))));
        },
        Err(why) => {
            let fix = "is the Service there (`wharf get services`), and is the DNS server (--dns)?";
            report.breaks(hop(State::Broken, format!("no address of {name}")), why.clone(), fix);
        },
    }
}

fn service(observed: &Observed, report: &mut Report) {
    let service = match &observed.service {
        Ok(Some(service)) => service,
        Ok(None) => {
            let hop = Hop::new(Name::Service, State::Broken, "none");
            let why = format!("no Service has the name {}", observed.name);
            return report.breaks(hop, why, "`wharf get services` shows what there is");
        },
        Err(why) => {
            let what = format!("no admin port answers: {why}");
            return report.push(Hop::new(Name::Service, State::Unknown, what));
        },
    };
    let vips = observed.vips();
    let kind = match (vips.is_empty(), &service.external_name) {
        (false, _) => format!("cluster IP {}", vips.join(", ")),
        (true, Some(name)) => format!("external name {name}"),
        (true, None) => "headless".to_owned(),
    };
    let choice = match (vips.is_empty(), &service.external_name) {
        (false, _) => {
            "whoever serves the cluster IP, such as kube-proxy, gives a connection to a ready endpoint"
        },
        (true, Some(_)) => "the name stands for another one",
        (true, None) => "the client chooses among the addresses of ready endpoints",
    };
    let what = format!("{}/{} {kind}", service.namespace, service.name);
    let hop = Hop::new(Name::Service, State::Ok, what)
        .fact("choice", choice)
        .lines("ports", service.ports.clone());
    let external = service.external_name.is_some();
    let ready = observed.endpoints.iter().any(|endpoint| endpoint.ready);
    let hop = hop.lines("endpoints", observed.endpoints.iter().map(endpoint).collect());
    if ready || external {
        return report.push(hop);
    }
    let fix = "look at the pods and at the Service's selector: `wharf get endpoints`";
    report.breaks(hop, "no endpoint is ready", fix);
}

impl Observed {
    /// The Service's addresses of its own.
    fn vips(&self) -> Vec<String> {
        let service = self.service.as_ref().ok().and_then(Option::as_ref);
        service.map(|service| service.cluster_ips.clone()).unwrap_or_default()
    }
}

fn endpoint(endpoint: &EndpointView) -> String {
    let pod = endpoint.pod.as_ref().map(|pod| format!(" {pod}")).unwrap_or_default();
    let zone = endpoint.zone.as_ref().map(|zone| format!(" zone {zone}")).unwrap_or_default();
    let state = match (endpoint.ready, endpoint.terminating) {
        (true, _) => "ready",
        (false, true) => "terminating",
        (false, false) => "not ready",
    };
    format!("{}{pod}{zone} {} {state}", endpoint.address, endpoint.ports.join(","))
}

fn pods(observed: &Observed, report: &mut Report) {
    let Some((first, _)) = observed.dialled.first() else { return };
    let lines = observed.dialled.iter().map(|(address, connected)| match connected {
        Ok(took) => format!("{address} connected in {}", time(*took)),
        Err(why) => format!("{address}: {why}"),
    });
    let answering =
        observed.dialled.iter().find_map(|(address, it)| Some((address, it.as_ref().ok()?)));
    let hop = |state, what: String| {
        Hop::new(Name::Pod, state, what).lines("connections", lines.collect())
    };
    match answering {
        Some((address, took)) => {
            report.push(hop(State::Ok, format!("{address} takes connections")).took(*took));
        },
        None => {
            let virtual_ = observed.vips().contains(&first.ip().to_string());
            let fix = match virtual_ {
                true => {
                    "nobody serves the cluster IP here: start `wharf proxy`, or look at kube-proxy"
                },
                false => "look at the pods: do they listen on these ports?",
            };
            report.breaks(hop(State::Broken, "none".to_owned()), "nobody takes a connection", fix);
        },
    }
}

#[cfg(test)]
mod tests;
