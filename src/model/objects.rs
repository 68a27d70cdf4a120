//! The set of objects that a source yields: typed, each with its place in the input.
//!
//! Made by `source`; read by compile, the DNS map and the command line. Always holds: one entry for
//! each kind, namespace and name, API defaulting already done.

use std::{fmt, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Endpoints, Namespace, Node, Secret},
    networking::v1::{Ingress, IngressClass},
};
use serde::{Deserialize, Serialize};

use super::{
    finding::Place, own_text::OwnText, route::Route, service::Service, slice::EndpointSlice, yaml,
};

/// Namespace and name of a namespaced object. Never joined into one string as a key: `a-b/c` and
/// `a/b-c` are two objects (S-84).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of `namespace/name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object together with where it came from.
#[derive(Clone)]
pub struct Stored<T> {
    /// Namespace and name (the namespace is empty for cluster-scoped kinds).
    pub key: ObjectKey,
    /// The object, defaulted.
    pub object: T,
    /// Start of its document.
    pub place: Place,
    /// Position in the source: breaks ties where creation timestamps are missing or equal.
    pub order: u64,
    /// The object's own text, for [`Stored::field_place`]; empty for objects made in memory.
    pub text: OwnText,
}

impl<T> Stored<T> {
    /// An object made in memory.
    #[must_use]
    pub fn in_memory(key: ObjectKey, object: T, origin: &str) -> Self {
        Self { key, object, place: Place::file(origin), order: 0, text: OwnText::default() }
    }

    /// Where `field` (such as `spec.tls.key` or `spec.alternateBackends[1].name`) stands; the
    /// nearest enclosing field that is written, or the document, when it is not or the text is forgotten.
    #[must_use]
    pub fn field_place(&self, field: &str) -> Place {
        let Some(mark) = yaml::locate(self.text.as_str(), field) else {
            return self.place.clone();
        };
        Place {
            path: Arc::clone(&self.place.path),
            line: self.place.line + mark.line.saturating_sub(1),
            column: mark.column,
        }
    }
}

impl<T> fmt::Debug for Stored<T> {
    /// Leaves out the object and its text, which may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("key", &self.key)
            .field("place", &self.place)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// Everything a source knows at one moment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// route.openshift.io/v1 Route.
    pub routes: Vec<Arc<Stored<Route>>>,
    /// v1 Service.
    pub services: Vec<Arc<Stored<Service>>>,
    /// v1 Endpoints; used for a Service that has no EndpointSlice.
    pub endpoints: Vec<Arc<Stored<Endpoints>>>,
    /// discovery.k8s.io/v1 EndpointSlice.
    pub slices: Vec<Arc<Stored<EndpointSlice>>>,
    /// v1 Secret of type kubernetes.io/tls.
    pub secrets: Vec<Arc<Stored<Secret>>>,
    /// v1 Namespace.
    pub namespaces: Vec<Arc<Stored<Namespace>>>,
    /// networking.k8s.io/v1 Ingress. `routes` has the Routes that were made of them.
    pub ingresses: Vec<Arc<Stored<Ingress>>>,
    /// networking.k8s.io/v1 IngressClass.
    pub ingress_classes: Vec<Arc<Stored<IngressClass>>>,
    /// v1 Node: targets of a load balancer of type `instance`.
    pub nodes: Vec<Arc<Stored<Node>>>,
}

impl Objects {
    /// Adds the objects of `other` behind this set's own.
    pub fn extend(&mut self, other: &Self) {
        self.routes.extend_from_slice(&other.routes);
        self.services.extend_from_slice(&other.services);
        self.endpoints.extend_from_slice(&other.endpoints);
        self.slices.extend_from_slice(&other.slices);
        self.secrets.extend_from_slice(&other.secrets);
        self.namespaces.extend_from_slice(&other.namespaces);
        self.ingresses.extend_from_slice(&other.ingresses);
        self.ingress_classes.extend_from_slice(&other.ingress_classes);
        self.nodes.extend_from_slice(&other.nodes);
    }

    /// Number of objects of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
            + self.services.len()
            + self.endpoints.len()
            + self.slices.len()
            + self.secrets.len()
            + self.namespaces.len()
            + self.ingresses.len()
            + self.ingress_classes.len()
            + self.nodes.len()
    }

    /// True when there is no object at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
