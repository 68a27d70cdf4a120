//! From Ingress objects to Routes (spec/route.md 21), as OpenShift's route controller does it.
//!
//! Called by `source::directory` whenever its objects change; a pure function of them, so any other
//! source can call it as well. Always holds: the same objects give the same Routes with the same
//! names; a Route that is made here would have been accepted by the Route API; without an Ingress
//! nothing is done at all.

mod tls;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_lc_rs::digest;
use k8s_openapi::{
    api::{
        core::v1::Secret,
        networking::v1::{HTTPIngressPath, Ingress, IngressServiceBackend},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use super::{
    defaults,
    validate::{self, CLASS_ANNOTATION},
};
use crate::model::{
    finding::{
        Code, Finding,
        codes::{self, invalidates},
    },
    grammar,
    objects::{ObjectKey, Objects, Stored},
    route::{Route, RoutePort, RouteSpec, RouteTarget, RouteTls},
    service::Service,
};

/// Controller of the classes whose Ingresses become Routes [ING-1].
const CONTROLLER: &str = "openshift.io/ingress-to-route";
/// Asks for labels to be kept equal; here they always are [ING-3].
const RECONCILE_LABELS: &str = "router.openshift.io/reconcile-labels";

/// Characters of a Route's name behind that of its Ingress: those that Kubernetes makes names of.
const SUFFIX: [u8; 27] = *b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Longest name of a Route that is made here.
const MAX_NAME: usize = 63;

/// What became of the Ingresses.
#[derive(Debug, Default)]
pub struct Converted {
    /// The Routes.
    pub routes: Vec<Arc<Stored<Route>>>,
    /// What was left out, and why.
    pub findings: Vec<Finding>,
}

/// The Routes of the Ingresses in `objects`.
#[must_use]
pub fn convert(objects: &Objects) -> Converted {
    if objects.ingresses.is_empty() {
        return Converted::default();
    }
    let mut work = Work {
        classes: objects
            .ingress_classes
            .iter()
            .map(|class| {
                let spec = class.object.spec.as_ref();
                (&*class.key.name, spec.and_then(|spec| spec.controller.as_deref()))
            })
            .collect(),
        services: objects.services.iter().map(|it| (&it.key, &it.object)).collect(),
        secrets: objects.secrets.iter().map(|it| (&it.key, &it.object)).collect(),
        names: objects.routes.iter().map(|route| route.key.clone()).collect(),
        converted: Converted::default(),
    };
    for ingress in &objects.ingresses {
        let mut said = Said { ingress, findings: Vec::new() };
        if work.is_managed(&mut said) {
            work.ingress(&mut said);
        }
        // One line for each thing, however many paths it concerns.
        let mut seen = HashSet::new();
        said.findings.retain(|finding| seen.insert(finding.clone()));
        work.converted.findings.append(&mut said.findings);
    }
    work.converted
}

/// The name of the Ingress that a Route was made of, if it was.
#[must_use]
pub fn owner(route: &Route) -> Option<&str> {
    let owners = route.metadata.owner_references.as_ref()?;
    let controls =
        |owner: &&OwnerReference| owner.kind == "Ingress" && owner.controller == Some(true);
    owners.iter().find(controls).map(|owner| &*owner.name)
}

/// An Ingress and what is said about it.
struct Said<'a> {
    ingress: &'a Stored<Ingress>,
    findings: Vec<Finding>,
}

impl Said<'_> {
    fn add(&mut self, code: Code, field: &str, text: impl Into<String>, fix: &str) {
        let place = self.ingress.field_place(field);
        let finding = Finding::new(code, place, text).with_field(field).with_fix(fix);
        self.findings.push(finding.with_object(format!("Ingress {}", self.ingress.key)));
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.ingress.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Key of an object of the same namespace.
    fn beside(&self, name: &str) -> ObjectKey {
        ObjectKey { namespace: Arc::clone(&self.ingress.key.namespace), name: name.into() }
    }
}

/// The other objects, by name.
struct Work<'a> {
    /// Controllers by class.
    classes: HashMap<&'a str, Option<&'a str>>,
    services: HashMap<&'a ObjectKey, &'a Service>,
    secrets: HashMap<&'a ObjectKey, &'a Secret>,
    /// Names of Routes that are taken.
    names: HashSet<ObjectKey>,
    converted: Converted,
}

/// One path of a rule.
struct Part<'a> {
    /// Host of the rule as written.
    host: &'a str,
    tls: Option<&'a RouteTls>,
    path: &'a HTTPIngressPath,
    /// Field of the path.
    at: String,
}

impl Work<'_> {
    /// [ING-1]
    fn is_managed(&self, said: &mut Said<'_>) -> bool {
        let (field, class) = match said.annotation(CLASS_ANNOTATION) {
            Some(class) => (format!("metadata.annotations[{CLASS_ANNOTATION}]"), Some(class)),
            None => {
                let spec = said.ingress.object.spec.as_ref();
                let class = spec.and_then(|spec| spec.ingress_class_name.as_deref());
                ("spec.ingressClassName".to_owned(), class)
            },
        };
        let Some(class) = class else { return true };
        match self.classes.get(class) {
            Some(controller) => *controller == Some(CONTROLLER),
            None => {
                let text = format!("the IngressClass {class} does not exist, nothing is served");
                let fix = "remove the class, or add an IngressClass with controller \
                           openshift.io/ingress-to-route";
                said.add(codes::INGRESS_NOT_MANAGED, &field, text, fix);
                false
            },
        }
    }

    fn ingress(&mut self, said: &mut Said<'_>) {
        let Some(spec) = &said.ingress.object.spec else { return };
        annotations(said);
        tls::check_destination_ca(&self.secrets, said);
        if spec.default_backend.is_some() {
            let text = "a default backend has no host, and a Route needs one";
            skip(said, "spec.defaultBackend", text, "write a rule for each host");
        }
        for (index, rule) in spec.rules.iter().flatten().enumerate() {
            let at = format!("spec.rules[{index}]");
            let host = rule.host.as_deref().unwrap_or_default();
            let Some(http) = &rule.http else {
                skip(said, &at, "the rule has no paths", "give it http.paths");
                continue;
            };
            if host.is_empty() {
                skip(said, &at, "the rule has no host, and a Route needs one", "give it a host");
                continue;
            }
            let tls = match tls::section(&self.secrets, said, host) {
                Ok(tls) => tls,
                Err(tls::Unusable { field, text }) => {
                    let fix = "mend the Secret or the reference; the host is served then";
                    said.add(codes::INGRESS_INCOMPLETE, &field, text, fix);
                    continue;
                },
            };
            for (index, path) in http.paths.iter().enumerate() {
                let at = format!("{at}.http.paths[{index}]");
                self.path(said, &Part { host, tls: tls.as_ref(), path, at });
            }
        }
    }

    /// Makes the Route of one path, if there is one to be made [ING-2, ING-5].
    fn path(&mut self, said: &mut Said<'_>, part: &Part<'_>) {
        let at = &part.at;
        if part.path.path_type == "Exact" {
            let text = "a Route cannot match a path exactly";
            return skip(said, &format!("{at}.pathType"), text, "use Prefix");
        }
        let Some(service) = &part.path.backend.service else {
            let text = "a Route goes to a Service, not to another resource";
            return skip(said, &format!("{at}.backend"), text, "name a service");
        };
        let port = match self.port(&said.beside(&service.name), service) {
            Ok(port) => port,
            Err((field, text)) => {
                let field = format!("{at}.backend.service.{field}");
                let fix = "the path is served once the Service has the port";
                return said.add(codes::INGRESS_INCOMPLETE, &field, text, fix);
            },
        };
        let key = self.name(said.ingress, part);
        let route = route(said.ingress, &key, part, port);
        let stored = Stored {
            key: key.clone(),
            object: route,
            place: said.ingress.place.clone(),
            order: said.ingress.order,
            text: said.ingress.text.clone(),
        };
        if is_sound(said, part, &stored) {
            self.names.insert(key);
            self.converted.routes.push(Arc::new(stored));
        }
    }

    /// The name of the Service's port, or none for a port without one [ING-5].
    fn port(
        &self,
        key: &ObjectKey,
        backend: &IngressServiceBackend,
    ) -> Result<Option<String>, (&'static str, String)> {
        let Some(service) = self.services.get(key) else {
            return Err(("name", format!("the Service {key} does not exist")));
        };
        let wanted = backend.port.clone().unwrap_or_default();
        let name = wanted.name.filter(|name| !name.is_empty());
        let found = service.ports.iter().find(|port| match &name {
            Some(name) => *port.name == **name,
            None => Some(port.port) == wanted.number,
        });
        let Some(found) = found else {
            let wanted = name.unwrap_or_else(|| wanted.number.unwrap_or_default().to_string());
            return Err(("port", format!("the Service {key} has no port \"{wanted}\"")));
        };
        Ok(Some(found.name.to_string()).filter(|name| !name.is_empty()))
    }

    /// A name that is free, and the same whenever the same path of the same Ingress is converted
    /// [ING-3].
    fn name(&self, ingress: &Stored<Ingress>, part: &Part<'_>) -> ObjectKey {
        let mut base = format!("{}-", ingress.key.name);
        base.truncate(MAX_NAME - SUFFIX_LENGTH);
        let mut round = 0_u32;
        loop {
            let name = format!("{base}{}", suffix(ingress, part, round));
            let key =
                ObjectKey { namespace: Arc::clone(&ingress.key.namespace), name: name.into() };
            if !self.names.contains(&key) {
                return key;
            }
            round += 1;
        }
    }
}

fn skip(said: &mut Said<'_>, field: &str, text: &str, fix: &str) {
    said.add(codes::INGRESS_SKIPPED, field, text, fix);
}

/// Annotations of the conversion itself whose values cannot be understood [ING-11].
fn annotations(said: &mut Said<'_>) {
    let labels = said.annotation(RECONCILE_LABELS).map(str::trim).unwrap_or_default();
    if !labels.is_empty() && grammar::parse_bool(&labels.to_ascii_lowercase()).is_none() {
        let text = format!("\"{labels}\" is not a boolean and counts as false");
        let field = format!("metadata.annotations[{RECONCILE_LABELS}]");
        said.add(codes::INGRESS_ANNOTATION, &field, text, "write \"true\" or \"false\"");
    }
    tls::annotations(said);
}

fn suffix(ingress: &Stored<Ingress>, part: &Part<'_>, round: u32) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    match ingress.object.metadata.uid.as_deref().filter(|uid| !uid.is_empty()) {
        Some(uid) => context.update(uid.as_bytes()),
        None => context.update(ingress.key.to_string().as_bytes()),
    }
    for text in [part.host, part.path.path.as_deref().unwrap_or_default()] {
        context.update(b"\0");
        context.update(text.as_bytes());
    }
    context.update(&round.to_be_bytes());
    let hash = context.finish();
    let letters = hash.as_ref().iter().take(SUFFIX_LENGTH);
    letters.map(|byte| char::from(SUFFIX[usize::from(*byte) % SUFFIX.len()])).collect()
}

/// The Route of one path [ING-2..4, ING-6].
fn route(
    ingress: &Stored<Ingress>,
    key: &ObjectKey,
    part: &Part<'_>,
    port: Option<String>,
) -> Route {
    let from = &ingress.object.metadata;
    let (host, wildcard_policy) = match part.host.strip_prefix("*.") {
        Some(domain) => (format!("wildcard.{domain}"), "Subdomain".to_owned()),
        None => (part.host.to_owned(), String::new()),
    };
    let service = part.path.backend.service.as_ref();
    let mut route = Route {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            labels: from.labels.clone(),
            annotations: from.annotations.clone(),
            creation_timestamp: from.creation_timestamp.clone(),
            owner_references: Some(vec![OwnerReference {
                api_version: "networking.k8s.io/v1".to_owned(),
                kind: "Ingress".to_owned(),
                controller: Some(true),
                name: ingress.key.name.to_string(),
                uid: from.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: RouteSpec {
            host,
            path: part.path.path.clone().unwrap_or_default(),
            to: RouteTarget {
                name: service.map(|service| service.name.clone()).unwrap_or_default(),
                ..RouteTarget::default()
            },
            port: port.map(|name| RoutePort { target_port: IntOrString::String(name) }),
            tls: part.tls.cloned(),
            wildcard_policy,
            ..RouteSpec::default()
        },
        ..Route::default()
    };
    defaults::route(&mut route, "");
    route
}

/// Whether the Route API would take the Route; what it would say becomes the Ingress' [ING-11].
fn is_sound(said: &mut Said<'_>, part: &Part<'_>, route: &Stored<Route>) -> bool {
    let mut sound = true;
    for finding in validate::validate_route(route) {
        if invalidates(&finding.code) {
            sound = false;
            let path = &route.object.spec.path;
            let text = format!(
                "no Route can be made of host {} and path \"{path}\": {}",
                part.host, finding.text
            );
            said.add(codes::INGRESS_NOT_CONVERTED, &part.at, text, &finding.fix);
        } else {
            said.findings.push(finding.with_object(format!("Ingress {}", said.ingress.key)));
        }
    }
    sound
}

#[cfg(test)]
mod tests;
