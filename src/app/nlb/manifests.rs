//! Services of type LoadBalancer to load balancers, as the controllers of AWS program an NLB
//! (spec/l4-dns.md A.14).
//!
//! Called by `fleet` at every change of the manifests, and by `wharf check`. Pure, but for the files of
//! certificates. A Service becomes the document that a user would write for it, and `nlb::config`
//! reads that: there is one place that says what a load balancer may be. Always holds: a Service that its controller would refuse
//! gets no new configuration, so that the one before it goes on.

mod annotations;
mod balancer;
mod check;
mod identity;
mod options;
mod service;
mod targets;
mod tls;

use std::net::IpAddr;

pub use options::{ListenMap, Options, parse_zone};

use crate::{
    model::{
        finding::{Code, Finding, codes},
        objects::{ObjectKey, Objects, Stored},
        service::{Service, ServiceType},
    },
    nlb::config::{ListenerConfig, NlbConfig, Protocol, ZoneConfig},
    zone::{Resolved, Zone},
};

/// What the manifests ask for.
#[derive(Debug, Default)]
pub struct Balancers {
    /// A load balancer for each Service that wants an NLB, by namespace and name.
    pub wanted: Vec<Wanted>,
    /// What is wrong with these Services.
    pub findings: Vec<Finding>,
}

/// The load balancer of a Service.
#[derive(Debug)]
pub struct Wanted {
    /// The Service.
    pub service: ObjectKey,
    /// Its configuration; `None` when its controller would refuse the Service, which leaves the load
    /// balancer as it is.
    pub config: Option<NlbConfig>,
}

/// Who programs the load balancer (A.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    /// The cloud provider of AWS, which OpenShift uses.
    InTree,
    /// The AWS Load Balancer Controller.
    Lbc,
}

/// The load balancers that `objects` ask for.
#[must_use]
pub fn balancers(objects: &Objects, options: &Options) -> Balancers {
    // The domain does not matter: the map is asked for endpoints only.
    let zone = Zone::build(objects, "cluster.local", &Resolved::new(), 0);
    let mut services: Vec<_> = objects.services.iter().collect();
    services.sort_by(|a, b| a.key.cmp(&b.key));
    let mut all = Balancers::default();
    for stored in services {
        let mut report = Report::new(stored);
        let Some(controller) = controller(&mut report) else {
            all.findings.append(&mut report.findings);
            continue;
        };
        let source = service::Source { objects, zone: &zone, options, controller };
        let mut config = service::config(&source, &mut report);
        if let Some(config) = &mut config {
            without_taken(config, &all.wanted, &mut report);
        }
        if let Some(name) = config.as_ref().map(|config| &config.name)
            && let Some(other) = all.named(name)
        {
            let text = format!("the load balancer {name} is that of the Service {other} already");
            report.refuse("metadata.name", text, "give one of them another name");
        }
        let config = config.filter(|_| !report.refused);
        all.wanted.push(Wanted { service: stored.key.clone(), config });
        all.findings.append(&mut report.findings);
    }
    all
}

/// What is wrong with the load balancers of `objects`, wherever their listeners will be.
#[must_use]
pub fn findings(objects: &Objects) -> Vec<Finding> {
    let mut findings = balancers(objects, &Options::default()).findings;
    findings.retain(|finding| finding.code != codes::BALANCER_PORT_TAKEN);
    findings
}

impl Balancers {
    fn named(&self, name: &str) -> Option<&ObjectKey> {
        let same = |wanted: &&Wanted| {
            wanted.config.as_ref().is_some_and(|config| config.name.eq_ignore_ascii_case(name))
        };
        self.wanted.iter().find(same).map(|wanted| &wanted.service)
    }
}

/// Who programs the load balancer of this Service; none for what is no NLB.
fn controller(report: &mut Report<'_>) -> Option<Controller> {
    let service = &report.stored.object;
    if service.kind != ServiceType::LoadBalancer {
        return None;
    }
    let class = &*service.rare().load_balancer_class;
    if !class.is_empty() {
        return (class == "service.k8s.aws/nlb").then_some(Controller::Lbc);
    }
    match report.annotation("type")? {
        "nlb" => Some(Controller::InTree),
        "external" | "nlb-ip" => Some(Controller::Lbc),
        other => {
            let text = format!("the type \"{other}\" means a Classic Load Balancer, none is made");
            let field = annotations::field("type");
            report.add(codes::BALANCER_NO_EFFECT, &field, text, "write nlb or external");
            None
        },
    }
}

/// Takes out listeners whose address another load balancer has already.
fn without_taken(config: &mut NlbConfig, others: &[Wanted], report: &mut Report<'_>) {
    let zones = config.zones.clone();
    config.listeners.retain(|listener| {
        let configs =
            others.iter().filter_map(|other| Some((&other.service, other.config.as_ref()?)));
        let owner = configs
            .filter(|(_, other)| other.listeners.iter().any(|its| meet(its, listener, &zones)))
            .map(|(service, _)| service)
            .next();
        if let Some(owner) = owner {
            let text = format!(
                "{} is taken by the Service {owner}, the port is left out",
                listener.address
            );
            let fix = "give it another address with --listen-map NAMESPACE/NAME:PORT=ADDRESS:PORT";
            report.add(codes::BALANCER_PORT_TAKEN, "spec.ports", text, fix);
        }
        owner.is_none()
    });
    let NlbConfig { listeners, groups, .. } = config;
    groups.retain(|group| listeners.iter().any(|listener| listener.forwards_to(&group.name)));
}

/// True if the two listeners would want one socket.
fn meet(a: &ListenerConfig, b: &ListenerConfig, zones: &[ZoneConfig]) -> bool {
    let places = |ip: IpAddr| -> Vec<IpAddr> {
        let nodes: Vec<_> = zones.iter().filter_map(|zone| zone.address).collect();
        if ip.is_unspecified() && !nodes.is_empty() { nodes } else { vec![ip] }
    };
    let (at_a, at_b) = (places(a.address.ip()), places(b.address.ip()));
    let shared = at_a.iter().any(|ip| ip.is_unspecified() || at_b.contains(ip))
        || at_b.iter().any(IpAddr::is_unspecified);
    let transports = |protocol| match protocol {
        Protocol::Tcp | Protocol::Tls => [true, false],
        Protocol::Udp => [false, true],
        Protocol::TcpUdp => [true, true],
    };
    let (of_a, of_b) = (transports(a.protocol), transports(b.protocol));
    shared
        && a.address.port() == b.address.port()
        && of_a.iter().zip(of_b).any(|(one, other)| *one && other)
}

/// Collects what is wrong with one Service.
struct Report<'a> {
    stored: &'a Stored<Service>,
    findings: Vec<Finding>,
    /// Its controller would stop at one of the findings.
    refused: bool,
}

impl<'a> Report<'a> {
    fn new(stored: &'a Stored<Service>) -> Self {
        Self { stored, findings: Vec::new(), refused: false }
    }

    /// The value of the annotation with this suffix.
    fn annotation(&self, suffix: &str) -> Option<&'a str> {
        self.stored.object.annotation(&format!("{}{suffix}", annotations::PREFIX))
    }

    fn add(&mut self, code: Code, field: &str, text: impl Into<String>, fix: &str) {
        let finding = Finding::new(code, self.stored.field_place(field), text)
            .with_field(field)
            .with_object(format!("Service {}", self.stored.key))
            .with_fix(fix);
        self.findings.push(finding);
    }

    fn refuse(&mut self, field: &str, text: impl Into<String>, fix: &str) {
        self.add(codes::BALANCER_REFUSED, field, text, fix);
        self.refused = true;
    }
}

#[cfg(test)]
mod tests;
