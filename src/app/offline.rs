//! What the client commands do without a running router: manifests to a snapshot, once.
//!
//! Hermetic: no network, no DNS, no listener.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use crate::{
    app::{cert::Wanted, router},
    model::{
        finding::Finding,
        objects::{ObjectKey, Objects, Stored},
        route::RouteSpec,
        service::Service,
    },
    settings::RouterSettings,
    snapshot::Snapshot,
    source::{directory::Directory, validate::cross_check},
    zone::Resolved,
};

/// What a router with `settings` would have that looks at manifests only, and at no other file. Loopback
/// endpoints count: a test bed's manifests are to be explained, too.
fn only_manifests(settings: &RouterSettings) -> RouterSettings {
    RouterSettings {
        workers: 1,
        allow_loopback_endpoints: true,
        default_cert: None,
        ..settings.clone()
    }
}

/// The folders and files of `manifests`, read once, as a router with `settings` would.
#[must_use]
pub fn scan(manifests: &[PathBuf], settings: &RouterSettings) -> Directory {
    let mut directory = Directory::new(manifests.to_vec(), router::host_suffix(settings));
    directory.scan(std::time::Instant::now());
    directory
}

/// The objects of `manifests`.
#[must_use]
pub fn objects(manifests: &[PathBuf], settings: &RouterSettings) -> (Objects, Vec<Finding>) {
    let directory = scan(manifests, settings);
    (directory.objects(), directory.findings())
}

/// The snapshot that a router with `settings` would serve from `manifests`.
///
/// # Errors
/// When TLS cannot be set up.
pub fn snapshot(manifests: &[PathBuf], settings: &RouterSettings) -> anyhow::Result<Snapshot> {
    let (objects, mut findings) = objects(manifests, settings);
    findings.extend(cross_check(&objects));
    compile(&objects, findings, settings)
}

/// Compiles `objects` as a router with `settings` would.
///
/// # Errors
/// When TLS cannot be set up.
pub fn compile(
    objects: &Objects,
    findings: Vec<Finding>,
    settings: &RouterSettings,
) -> anyhow::Result<Snapshot> {
    let mut compiler = router::compiler(&Arc::new(only_manifests(settings)))?;
    Ok(compiler.compile(objects, &Resolved::new(), findings, SystemTime::now()))
}

/// The annotation of a Service that asks for a Secret with a certificate for its pods, as OpenShift's
/// service CA makes them.
pub const SERVING_CERT: &str = "service.beta.openshift.io/serving-cert-secret-name";

/// The Secret that a Service wants for its pods.
#[must_use]
pub fn serving_cert(service: &Stored<Service>) -> Option<&str> {
    service.object.annotation(SERVING_CERT)
}

/// The Secrets that the TLS routes and Ingresses of `objects` name, with the hosts they are for, and
/// those that Services want for their pods, with the names of the Services and the hosts of the
/// passthrough routes to them.
#[must_use]
pub fn wanted_secrets(objects: &Objects) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for route in &objects.routes {
        let spec = &route.object.spec;
        let named = spec.tls.as_ref().and_then(|tls| tls.external_certificate.as_ref());
        let Some(name) = named else { continue };
        want(&mut wanted, &route.key.namespace, &name.name, [certificate_name(spec)]);
    }
    for ingress in &objects.ingresses {
        for tls in ingress.object.spec.iter().flat_map(|spec| spec.tls.iter().flatten()) {
            // Without a name it asks for the router's default certificate.
            let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let hosts = tls.hosts.iter().flatten().cloned();
            want(&mut wanted, &ingress.key.namespace, name, hosts);
        }
    }
    for service in &objects.services {
        if let Some(secret) = serving_cert(service) {
            let name = format!("{}.{}.svc", service.key.name, service.key.namespace);
            let names = [format!("{name}.cluster.local"), name];
            let names = names.into_iter().chain(passthrough_hosts(objects, &service.key));
            want(&mut wanted, &service.key.namespace, secret, names);
        }
    }
    wanted
}

/// What a certificate for a route must name.
fn certificate_name(spec: &RouteSpec) -> String {
    match (spec.wildcard_policy.as_str(), spec.host.split_once('.')) {
        ("Subdomain", Some((_, domain))) => format!("*.{domain}"),
        _ => spec.host.clone(),
    }
}

/// The hosts under which clients meet the pods of `service` themselves.
fn passthrough_hosts(objects: &Objects, service: &ObjectKey) -> impl Iterator<Item = String> {
    objects.routes.iter().filter(|route| route.key.namespace == service.namespace).filter_map(
        |route| {
            let spec = &route.object.spec;
            let passes = spec.tls.as_ref().is_some_and(|tls| tls.termination == "passthrough");
            let mut targets = std::iter::once(&spec.to).chain(&spec.alternate_backends);
            let is_to = targets.any(|target| *target.name == *service.name);
            (passes && is_to && !spec.host.is_empty()).then(|| certificate_name(spec))
        },
    )
}

fn want(
    wanted: &mut Vec<Wanted>,
    namespace: &str,
    secret: &str,
    hosts: impl IntoIterator<Item = String>,
) {
    let same = |known: &&mut Wanted| known.namespace == namespace && known.secret == secret;
    match wanted.iter_mut().find(same) {
        Some(known) => known.hosts.extend(hosts),
        None => wanted.push(Wanted {
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            hosts: hosts.into_iter().collect(),
        }),
    }
}
