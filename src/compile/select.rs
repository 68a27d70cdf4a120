//! Which Route objects exist for this router (spec/route.md 8.1): the others are as if absent, so they
//! claim nothing and no snapshot knows them.
//!
//! Asked at each compile with the present objects, so a Namespace that changes its labels joins or
//! leaves at once [SHARD-2, CLAIM-18].

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::finding;
use crate::{
    model::{
        finding::{Finding, codes},
        objects::{Objects, Stored},
        route::Route,
    },
    settings::admission::AdmissionSettings,
};

type Routes = [Arc<Stored<Route>>];

/// The routes of `objects` that the settings select, in their order. A namespace that only its labels
/// could select and that has no manifest is a finding.
pub(super) fn select<'o>(
    objects: &'o Objects,
    settings: &AdmissionSettings,
    findings: &mut Vec<Finding>,
) -> Cow<'o, Routes> {
    let labels = settings.namespace_selector();
    let namespace = settings.namespace.as_deref();
    let AdmissionSettings { route_labels, route_fields, .. } = settings;
    if labels.is_none() && namespace.is_none() && route_labels.is_empty() && route_fields.is_empty()
    {
        return Cow::Borrowed(&objects.routes);
    }
    let selected: Option<HashSet<&str>> = labels.map(|labels| {
        let namespaces = objects.namespaces.iter();
        namespaces
            .filter(|namespace| labels.matches(namespace.object.metadata.labels.as_ref()))
            .map(|namespace| &*namespace.key.name)
            .collect()
    });
    if selected.is_some() {
        report_unlisted(objects, findings);
    }
    let routes = objects.routes.iter().filter(|route| {
        namespace.is_none_or(|namespace| namespace == &*route.key.namespace)
            && selected.as_ref().is_none_or(|selected| selected.contains(&*route.key.namespace))
            && route_labels.matches(route.object.metadata.labels.as_ref())
            && route_fields.matches(&route.object)
    });
    Cow::Owned(routes.cloned().collect())
}

/// One finding for each namespace that has routes and no manifest.
fn report_unlisted(objects: &Objects, findings: &mut Vec<Finding>) {
    let mut known: BTreeSet<&str> =
        objects.namespaces.iter().map(|namespace| &*namespace.key.name).collect();
    for route in &objects.routes {
        let namespace = &*route.key.namespace;
        if known.insert(namespace) {
            let text = format!(
                "the namespace {namespace} has no Namespace manifest, so its labels select nothing"
            );
            let fix = "add a Namespace manifest with its labels";
            let field = "metadata.namespace";
            findings.push(finding(route, codes::UNLISTED_NAMESPACE, field, &text, fix));
        }
    }
}
