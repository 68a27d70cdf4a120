//! What the client commands do without a running router: manifests to a snapshot, once.
//!
//! Hermetic: no network, no DNS, no listener.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use k8s_openapi::api::core::v1::Service;

use crate::{
    app::{cert::Wanted, router},
    model::{
        finding::Finding,
        objects::{Objects, Stored},
    },
    settings::RouterSettings,
    snapshot::Snapshot,
    source::{directory::Directory, validate::cross_check},
    zone::Resolved,
};

/// Settings of a router that would look at manifests only. Loopback endpoints count: a test bed's
/// manifests are to be explained, too.
fn settings() -> RouterSettings {
    RouterSettings { workers: 1, allow_loopback_endpoints: true, ..RouterSettings::default() }
}

/// The objects of `manifests`.
#[must_use]
pub fn objects(manifests: &[PathBuf]) -> (Objects, Vec<Finding>) {
    let suffix = router::host_suffix(&settings());
    let mut directory = Directory::new(manifests.to_vec(), suffix);
    directory.scan(std::time::Instant::now());
    (directory.objects(), directory.findings())
}

/// The snapshot that a router would serve from `manifests`.
///
/// # Errors
/// When TLS cannot be set up.
pub fn snapshot(manifests: &[PathBuf]) -> anyhow::Result<Snapshot> {
    let (objects, mut findings) = objects(manifests);
    findings.extend(cross_check(&objects));
    compile(&objects, findings)
}

/// Compiles `objects` as a router with default settings would.
///
/// # Errors
/// When TLS cannot be set up.
pub fn compile(objects: &Objects, findings: Vec<Finding>) -> anyhow::Result<Snapshot> {
    let mut compiler = router::compiler(&Arc::new(settings()))?;
    Ok(compiler.compile(objects, &Resolved::new(), findings, SystemTime::now()))
}

/// The annotation of a Service that asks for a Secret with a certificate for its pods, as OpenShift's
/// service CA makes them.
pub const SERVING_CERT: &str = "service.beta.openshift.io/serving-cert-secret-name";

/// The Secret that a Service wants for its pods.
#[must_use]
pub fn serving_cert(service: &Stored<Service>) -> Option<&str> {
    let annotations = service.object.metadata.annotations.as_ref()?;
    annotations.get(SERVING_CERT).map(String::as_str)
}

/// The Secrets that the TLS routes of `objects` name, with the hosts they are for, and those that
/// Services want for their pods, with the names of the Services.
#[must_use]
pub fn wanted_secrets(objects: &Objects) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for route in &objects.routes {
        let spec = &route.object.spec;
        let named = spec.tls.as_ref().and_then(|tls| tls.external_certificate.as_ref());
        let Some(name) = named else { continue };
        let host = match (spec.wildcard_policy.as_str(), spec.host.split_once('.')) {
            ("Subdomain", Some((_, domain))) => format!("*.{domain}"),
            _ => spec.host.clone(),
        };
        want(&mut wanted, &route.key.namespace, &name.name, [host]);
    }
    for service in &objects.services {
        if let Some(secret) = serving_cert(service) {
            let name = format!("{}.{}.svc", service.key.name, service.key.namespace);
            let names = [format!("{name}.cluster.local"), name];
            want(&mut wanted, &service.key.namespace, secret, names);
        }
    }
    wanted
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
