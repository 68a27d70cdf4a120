//! Ingress objects as the API server would give them, with the status that their Routes bring.
//!
//! Used by the admin API and, offline, by `wharf get`. What leaves here has been through [`redact`].

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use serde_json::{Value, json};

use super::{redact, routes::BEYOND};
use crate::{
    model::{
        objects::{ObjectKey, Stored},
        status::ingress::ADMITTED,
    },
    snapshot::Snapshot,
    source::ingress::owner,
};

/// API group and version of Ingress.
pub const API_VERSION: &str = "networking.k8s.io/v1";

/// Names of routers, by the Ingress whose Routes they have admitted.
type Hostnames<'a> = HashMap<ObjectKey, BTreeSet<&'a str>>;

/// All Ingresses: an IngressList. Each has a member [`BEYOND`].
#[must_use]
pub fn list(snapshot: &Snapshot) -> Value {
    let hostnames = hostnames(snapshot);
    let mut ingresses: Vec<_> = snapshot.ingresses.iter().collect();
    ingresses.sort_by(|a, b| a.key.cmp(&b.key));
    let items: Vec<Value> = ingresses.iter().map(|ingress| item(ingress, &hostnames)).collect();
    json!({
        "apiVersion": API_VERSION,
        "kind": "IngressList",
        "metadata": {"resourceVersion": snapshot.generation.to_string()},
        "items": items,
    })
}

/// The canonical names of the routers that have admitted a Route of an Ingress [ING-10].
fn hostnames(snapshot: &Snapshot) -> Hostnames<'_> {
    let mut all = Hostnames::new();
    if snapshot.ingresses.is_empty() {
        return all;
    }
    for state in &snapshot.routes {
        let Some(name) = owner(&state.source.object) else { continue };
        let admitted = state.status.ingress.iter().filter(|entry| {
            let condition = entry.condition(ADMITTED);
            condition.is_some_and(|condition| condition.status == "True")
        });
        let names = admitted.map(|entry| &*entry.router_canonical_hostname);
        let key = ObjectKey::new(&state.source.key.namespace, name);
        all.entry(key).or_default().extend(names.filter(|name| !name.is_empty()));
    }
    all
}

/// What somebody else has put into the status stays [ING-10].
fn item(ingress: &Stored<Ingress>, hostnames: &Hostnames<'_>) -> Value {
    let mut object = ingress.object.clone();
    object.metadata.managed_fields = None;
    if let Some(names) = hostnames.get(&ingress.key) {
        let status = object.status.get_or_insert_default();
        let entries = status.load_balancer.get_or_insert_default().ingress.get_or_insert_default();
        for name in names {
            if !entries.iter().any(|entry| entry.hostname.as_deref() == Some(name)) {
                let hostname = Some((*name).to_owned());
                entries.push(IngressLoadBalancerIngress { hostname, ..Default::default() });
            }
        }
    }
    let mut object = serde_json::to_value(&object).unwrap_or_default();
    if let Value::Object(members) = &mut object {
        members.insert(BEYOND.to_owned(), json!({"place": ingress.place.to_string()}));
    }
    redact::route(&mut object);
    object
}
