//! The kinds that wharf reads, and an object of any of them.
//!
//! Made by `source::document`, kept by `source::directory`.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Endpoints, Namespace, Node, Secret},
    networking::v1::{Ingress, IngressClass},
};

use crate::model::{
    finding::Place,
    objects::{ObjectKey, Objects, Stored},
    own_text::OwnText,
    route::Route,
    service::Service,
    slice::EndpointSlice,
};

/// The kinds that wharf reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the Kubernetes kind of its name")]
pub enum Kind {
    Route,
    Service,
    Endpoints,
    EndpointSlice,
    Secret,
    Namespace,
    Ingress,
    IngressClass,
    Node,
}

/// Kind, its word and its apiVersion.
pub(super) const KINDS: [(Kind, &str, &str); 9] = [
    (Kind::Route, "Route", "route.openshift.io/v1"),
    (Kind::Service, "Service", "v1"),
    (Kind::Endpoints, "Endpoints", "v1"),
    (Kind::EndpointSlice, "EndpointSlice", "discovery.k8s.io/v1"),
    (Kind::Secret, "Secret", "v1"),
    (Kind::Namespace, "Namespace", "v1"),
    (Kind::Ingress, "Ingress", "networking.k8s.io/v1"),
    (Kind::IngressClass, "IngressClass", "networking.k8s.io/v1"),
    (Kind::Node, "Node", "v1"),
];

impl Kind {
    /// The word in `kind:`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// False for kinds of the whole cluster.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::IngressClass | Self::Node)
    }
}

/// Identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind.
    pub kind: Kind,
    /// Namespace and name.
    pub key: ObjectKey,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.key.namespace.is_empty() {
            return write!(f, "{} {}", self.kind.word(), self.key.name);
        }
        write!(f, "{} {}", self.kind.word(), self.key)
    }
}

/// An object of any kind.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is the Kubernetes kind of its name")]
pub enum AnyObject {
    Route(Arc<Stored<Route>>),
    Service(Arc<Stored<Service>>),
    Endpoints(Arc<Stored<Endpoints>>),
    EndpointSlice(Arc<Stored<EndpointSlice>>),
    Secret(Arc<Stored<Secret>>),
    Namespace(Arc<Stored<Namespace>>),
    Ingress(Arc<Stored<Ingress>>),
    IngressClass(Arc<Stored<IngressClass>>),
    Node(Arc<Stored<Node>>),
}

/// Applies one expression to the `Arc<Stored<_>>` inside, whatever its kind.
macro_rules! each_kind {
    ($object:expr, $stored:ident => $body:expr) => {
        match $object {
            AnyObject::Route($stored) => $body,
            AnyObject::Service($stored) => $body,
            AnyObject::Endpoints($stored) => $body,
            AnyObject::EndpointSlice($stored) => $body,
            AnyObject::Secret($stored) => $body,
            AnyObject::Namespace($stored) => $body,
            AnyObject::Ingress($stored) => $body,
            AnyObject::IngressClass($stored) => $body,
            AnyObject::Node($stored) => $body,
        }
    };
}

impl AnyObject {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        let kind = match self {
            Self::Route(_) => Kind::Route,
            Self::Service(_) => Kind::Service,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::Namespace(_) => Kind::Namespace,
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::Node(_) => Kind::Node,
        };
        ObjectId { kind, key: each_kind!(self, stored => stored.key.clone()) }
    }

    /// Start of its document.
    #[must_use]
    pub fn place(&self) -> &Place {
        each_kind!(self, stored => &stored.place)
    }

    /// True when both are one object in memory.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    fn address(&self) -> usize {
        each_kind!(self, stored => Arc::as_ptr(stored).addr())
    }

    /// True when both come from the same text at the same place.
    #[must_use]
    pub fn has_text_of(&self, other: &Self) -> bool {
        let text = |object: &Self| each_kind!(object, stored => stored.text.clone());
        self.id() == other.id() && self.place() == other.place() && text(self) == text(other)
    }

    /// Gives back the memory of its text. One of an Ingress stays, as what is wrong with it is known only
    /// once it is converted.
    pub fn forget_text(&mut self) {
        if matches!(self, Self::Ingress(_)) {
            return;
        }
        each_kind!(self, stored => {
            if !matches!(stored.text, OwnText::Forgotten(_)) {
                Arc::make_mut(stored).text.forget();
            }
        });
    }

    /// Sets the position in the source; copies the object only when the position changes.
    pub fn set_order(&mut self, order: u64) {
        each_kind!(self, stored => {
            if stored.order != order {
                Arc::make_mut(stored).order = order;
            }
        });
    }

    /// Adds the object to `objects`.
    pub fn add_to(&self, objects: &mut Objects) {
        match self {
            Self::Route(stored) => objects.routes.push(Arc::clone(stored)),
            Self::Service(stored) => objects.services.push(Arc::clone(stored)),
            Self::Endpoints(stored) => objects.endpoints.push(Arc::clone(stored)),
            Self::EndpointSlice(stored) => objects.slices.push(Arc::clone(stored)),
            Self::Secret(stored) => objects.secrets.push(Arc::clone(stored)),
            Self::Namespace(stored) => objects.namespaces.push(Arc::clone(stored)),
            Self::Ingress(stored) => objects.ingresses.push(Arc::clone(stored)),
            Self::IngressClass(stored) => objects.ingress_classes.push(Arc::clone(stored)),
            Self::Node(stored) => objects.nodes.push(Arc::clone(stored)),
        }
    }
}
