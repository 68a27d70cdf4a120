//! Secrets of `externalCertificate`: which there are, and what happened to them (spec/route.md 6).
//!
//! A Secret that is there for the first time is used at once (26.3). Of one that was used before, the
//! next compile says what became of it, before it says what the route is now.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;

use super::{Complaint, Refusal};
use crate::{
    model::{
        finding::{Code, codes},
        objects::{ObjectKey, Stored},
        route::Route,
        status::{Admission, RejectReason},
    },
    snapshot::RouteState,
};

/// The field that findings name.
pub(super) const FIELD: &str = "spec.tls.externalCertificate.name";
/// The field that messages of conditions name, as OpenShift does.
const MESSAGE_FIELD: &str = "spec.tls.externalCertificate";
const TLS: &str = "kubernetes.io/tls";

/// The Secrets of a compile, and what routes have seen of them.
#[derive(Debug, Default)]
pub(super) struct External {
    secrets: HashMap<ObjectKey, Arc<Stored<Secret>>>,
    watched: HashMap<ObjectKey, Watched>,
    transitions: HashMap<ObjectKey, Admission>,
    compile: u64,
}

/// The Secret of one route since it was first there [EXT-2, EXT-7].
#[derive(Debug)]
struct Watched {
    name: String,
    /// `None` once it was deleted.
    secret: Option<Arc<Stored<Secret>>>,
    admitted: bool,
    compile: u64,
}

/// What a reference leads to.
pub(super) enum Found {
    Secret(Arc<Stored<Secret>>),
    Refused(Refusal),
}

impl External {
    pub(super) fn begin(&mut self, secrets: &[Arc<Stored<Secret>>]) {
        let entry = |secret: &Arc<Stored<Secret>>| (secret.key.clone(), Arc::clone(secret));
        self.secrets = secrets.iter().map(entry).collect();
        self.transitions.clear();
        self.compile += 1;
    }

    /// The Secret `name` in the namespace of `route` [EXT-1].
    pub(super) fn find(&mut self, route: &Stored<Route>, name: &str) -> Found {
        let key = ObjectKey::new(&route.key.namespace, name);
        let secret = self.secrets.get(&key).map(Arc::clone);
        self.watch(route, name, secret.as_ref());
        let Some(secret) = secret else {
            let text = format!("secrets \"{name}\" not found");
            let message = format!("{MESSAGE_FIELD}: Not found: {text:?}");
            let fix = "create the Secret; wharf cert mints one for development";
            let text = format!("the Secret {key} does not exist");
            return Found::Refused(refusal(codes::UNKNOWN_SECRET, message, text, fix));
        };
        let kind = secret.object.type_.as_deref().unwrap_or("Opaque");
        if kind != TLS {
            let message = format!(
                "{MESSAGE_FIELD}: Invalid value: \"{name}\": secret of type \"{TLS}\" required"
            );
            let fix = "set type: kubernetes.io/tls in the Secret";
            let text = format!("the Secret {key} has type {kind}, not {TLS}");
            return Found::Refused(refusal(codes::BAD_EXTERNAL_CERTIFICATE, message, text, fix));
        }
        Found::Secret(secret)
    }

    /// `route` names no Secret any more [EXT-7].
    pub(super) fn forget(&mut self, route: &ObjectKey) {
        self.watched.remove(route);
    }

    pub(super) fn transition(&mut self, route: &ObjectKey) -> Option<Admission> {
        self.transitions.remove(route)
    }

    /// Ends a compile: notes what is admitted, and forgets routes that are gone.
    pub(super) fn finish(&mut self, routes: &[RouteState]) {
        let compile = self.compile;
        self.watched.retain(|_, watched| watched.compile == compile);
        for state in routes {
            if let Some(watched) = self.watched.get_mut(&state.source.key) {
                watched.admitted = state.compiled.is_some();
            }
        }
    }

    fn watch(&mut self, route: &Stored<Route>, name: &str, now: Option<&Arc<Stored<Secret>>>) {
        let compile = self.compile;
        let fresh = |secret: &Arc<Stored<Secret>>| Watched {
            name: name.to_owned(),
            secret: Some(Arc::clone(secret)),
            admitted: false,
            compile,
        };
        let mut entry = match (self.watched.entry(route.key.clone()), now) {
            (hash_map::Entry::Occupied(entry), _) if entry.get().name == name => entry,
            (hash_map::Entry::Occupied(mut entry), Some(secret)) => {
                entry.insert(fresh(secret));
                return;
            },
            (hash_map::Entry::Occupied(entry), None) => {
                entry.remove();
                return;
            },
            (hash_map::Entry::Vacant(entry), Some(secret)) => {
                entry.insert(fresh(secret));
                return;
            },
            (hash_map::Entry::Vacant(_), None) => return,
        };
        let watched = entry.get_mut();
        watched.compile = compile;
        let transition = match (&watched.secret, now) {
            (Some(before), Some(now)) if differ(before, now) => {
                Some(updated(&route.key, before, now, watched.admitted))
            },
            (Some(_), None) => Some(rejected(
                RejectReason::ExternalCertificateSecretDeleted,
                format!("secret {name} deleted for route {}", route.key),
            )),
            (None, Some(_)) => Some(rejected(
                RejectReason::ExternalCertificateSecretRecreated,
                format!("secret {name} recreated for route {}", route.key),
            )),
            _ => None,
        };
        watched.secret = now.map(Arc::clone);
        if let Some(transition) = transition {
            tracing::info!(route = %route.key, secret = name, ?transition, "a Secret has changed");
            self.transitions.insert(route.key.clone(), transition);
        }
    }
}

fn differ(before: &Arc<Stored<Secret>>, now: &Arc<Stored<Secret>>) -> bool {
    !Arc::ptr_eq(before, now)
        && (before.object.data != now.object.data || before.object.type_ != now.object.type_)
}

/// [EXT-4]: the one transition that an admitted route goes through as admitted.
fn updated(
    route: &ObjectKey,
    before: &Stored<Secret>,
    now: &Stored<Secret>,
    admitted: bool,
) -> Admission {
    let version = |secret: &Stored<Secret>| {
        let version = secret.object.metadata.resource_version.as_deref();
        version.unwrap_or("none").to_owned()
    };
    let message = format!(
        "secret {} updated for route {route}, old resourceVersion: {}, new resourceVersion: {}",
        now.key.name,
        version(before),
        version(now)
    );
    if admitted {
        return Admission::AdmittedUpdated { message };
    }
    rejected(RejectReason::ExternalCertificateSecretUpdated, message)
}

const fn rejected(reason: RejectReason, message: String) -> Admission {
    Admission::Rejected { reason, message }
}

fn refusal(code: Code, message: String, text: String, fix: &'static str) -> Refusal {
    Refusal {
        reason: RejectReason::ExternalCertificateValidationFailed,
        message,
        complaints: vec![Complaint { code, field: FIELD, text, fix }],
        keeps_last: false,
    }
}
