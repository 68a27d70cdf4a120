//! What the client commands do without a running router: manifests to a snapshot, once.
//!
//! Hermetic: no network, no DNS, no listener.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use crate::{
    app::{cert::Wanted, router},
    model::{finding::Finding, objects::Objects},
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

/// The Secrets that the TLS routes of `objects` name, with the hosts they are for.
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
        let same = |known: &&mut Wanted| {
            *known.namespace == *route.key.namespace && known.secret == name.name
        };
        match wanted.iter_mut().find(same) {
            Some(known) => known.hosts.push(host),
            None => wanted.push(Wanted {
                namespace: route.key.namespace.to_string(),
                secret: name.name.clone(),
                hosts: vec![host],
            }),
        }
    }
    wanted
}
