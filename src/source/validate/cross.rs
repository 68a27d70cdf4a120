//! What can only be seen across objects: names of Services and ports that lead nowhere. These are
//! findings for people, not admission: OpenShift admits such routes and answers 503 (decisions 5).
//! Secrets are compile's business, which judges what is in them.

use std::collections::{HashMap, HashSet};

use k8s_openapi::{api::core::v1::Endpoints, apimachinery::pkg::util::intstr::IntOrString};

use super::{Kind, Report};
use crate::model::{
    finding::{Finding, codes},
    objects::{ObjectKey, Objects, Stored},
    route::{Route, RouteTarget},
    service::{Service, TargetPort},
    slice::EndpointSlice,
};

/// Findings about references between objects.
#[must_use]
pub fn cross_check(objects: &Objects) -> Vec<Finding> {
    let index = Index::new(objects);
    let mut findings = Vec::new();
    for route in &objects.routes {
        let mut report = Report::new(route.as_ref(), Kind::Route);
        let spec = &route.object.spec;
        let targets = std::iter::once((&spec.to, "spec.to".to_owned())).chain(
            (0..).zip(&spec.alternate_backends).map(|(index, target): (usize, _)| {
                (target, format!("spec.alternateBackends[{index}]"))
            }),
        );
        for (target, field) in targets {
            index.target(&mut report, route, target, &field);
        }
        findings.append(&mut report.findings);
    }
    findings
}

struct Index<'a> {
    services: HashMap<&'a ObjectKey, &'a Service>,
    endpoints: HashMap<&'a ObjectKey, &'a Endpoints>,
    slices: HashMap<ObjectKey, Vec<&'a EndpointSlice>>,
}

impl<'a> Index<'a> {
    fn new(objects: &'a Objects) -> Self {
        let mut slices: HashMap<ObjectKey, Vec<&EndpointSlice>> = HashMap::new();
        for slice in &objects.slices {
            if let Some(service) = &slice.object.service {
                let key = ObjectKey::new(&slice.key.namespace, service);
                slices.entry(key).or_default().push(&slice.object);
            }
        }
        Self {
            services: objects.services.iter().map(|s| (&s.key, &s.object)).collect(),
            endpoints: objects.endpoints.iter().map(|s| (&s.key, &s.object)).collect(),
            slices,
        }
    }

    fn target(
        &self,
        report: &mut Report<'_, Route>,
        route: &Stored<Route>,
        target: &RouteTarget,
        field: &str,
    ) {
        let key = ObjectKey::new(&route.key.namespace, &target.name);
        let Some(service) = self.services.get(&key) else {
            let elsewhere =
                self.services.keys().filter(|other| other.name == key.name).min().map_or_else(
                    || {
                        let near = self.services.keys().filter(|k| k.namespace == key.namespace);
                        let near = near.map(|other| other.name.as_ref());
                        crate::source::schema::closest(&key.name, near)
                            .map_or_else(String::new, |name| format!("did you mean {name}?"))
                    },
                    |other| format!("there is one in namespace {}", other.namespace),
                );
            let text = format!("the Service {key} does not exist");
            let field = format!("{field}.name");
            report.add_with_fix(codes::UNKNOWN_SERVICE, &field, text, elsewhere);
            return;
        };
        let Some(port) = &route.object.spec.port else { return };
        let known = self.ports(&key, service);
        let wanted = match &port.target_port {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        };
        if !known.is_empty() && !known.contains(&wanted) {
            let mut names: Vec<_> = known.into_iter().collect();
            names.sort_unstable();
            let text = format!("no port of Service {key} is \"{wanted}\"");
            let fix = format!("its endpoints have {}", names.join(", "));
            report.add_with_fix(codes::UNKNOWN_PORT, "spec.port.targetPort", text, fix);
        }
    }

    /// Numbers and names that a target port may be; empty when nothing can be said.
    fn ports(&self, key: &ObjectKey, service: &Service) -> HashSet<String> {
        let mut known = HashSet::new();
        if let Some(slices) = self.slices.get(key) {
            for port in slices.iter().flat_map(|slice| &slice.ports) {
                known.extend(Some(port.name.to_string()).filter(|name| !name.is_empty()));
                known.extend(port.port.map(|number| number.to_string()));
            }
        } else if let Some(endpoints) = self.endpoints.get(key) {
            let subsets = endpoints.subsets.iter().flatten();
            for port in subsets.flat_map(|subset| subset.ports.iter().flatten()) {
                known.extend(port.name.clone().filter(|name| !name.is_empty()));
                known.insert(port.port.to_string());
            }
        } else {
            for port in &service.ports {
                known.extend(Some(port.name.to_string()).filter(|name| !name.is_empty()));
                match port.target {
                    // A pod's own port name resolves to a number that only the pod knows.
                    TargetPort::Name(_) => return HashSet::new(),
                    TargetPort::Number(number) => known.insert(number.to_string()),
                    TargetPort::Same => known.insert(port.port.to_string()),
                };
            }
        }
        known
    }
}
