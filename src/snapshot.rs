//! L3: the immutable, complete result of one compile; what the data path reads.
//!
//! Made by `compile`, swapped in through [`Live`]. A request clones the Arcs it needs and lets the
//! snapshot go before its first network await (decisions 2). What outlives a snapshot (health,
//! in-flight counts, counters) hangs behind Arcs that compile carries over by identity.

use std::{sync::Arc, time::Duration, time::SystemTime};

use http::HeaderValue;
use k8s_openapi::api::networking::v1::Ingress;

use crate::{
    balance::Balancer,
    headers::{actions::Actions, sticky::Stickiness},
    model::{
        finding::Finding,
        objects::{ObjectKey, Stored},
        page::Pages,
        route::{InsecurePolicy, Route, Termination},
        status::{Admission, ingress::RouteStatus},
    },
    rates::{Limits, Rates},
    routing::{clients::AllowList, rewrite::Rewrite, sni::SniTable, table::RouteTable},
    stats::UpstreamStats,
    tls::store::CertStore,
    upstream::{gate::Gate, peer::Peer},
    zone::Zone,
};

pub use crate::headers::ForwardedPolicy;

/// The snapshot that serves now. One load per request.
pub type Live = arc_swap::ArcSwap<Snapshot>;

/// One compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts published snapshots from 1; 0 is the empty one before the first.
    pub generation: u64,
    /// When it was compiled.
    pub built_at: SystemTime,
    /// Host and path to route.
    pub table: RouteTable<Arc<CompiledRoute>>,
    /// Certificates by SNI.
    pub certs: CertStore,
    /// Passthrough routes by SNI.
    pub passthrough: SniTable<Arc<CompiledRoute>>,
    /// The cluster DNS map.
    pub zone: Arc<Zone>,
    /// Every Route object, admitted or not, sorted by namespace and name.
    pub routes: Vec<RouteState>,
    /// Every Ingress; `routes` has the Routes that were made of them.
    pub ingresses: Vec<Arc<Stored<Ingress>>>,
    /// What active checks cover, each peer once [HC-1].
    pub checked: Vec<Check>,
    /// Tables of the routes with rate limits, for those who sweep them.
    pub rated: Vec<Arc<Rates>>,
    /// Pages for requests that nothing can answer.
    pub pages: Arc<Pages>,
    /// What was found while compiling and reading.
    pub findings: Vec<Finding>,
}

/// A peer that is checked.
#[derive(Clone, Debug)]
pub struct Check {
    /// Who is checked.
    pub peer: Arc<Peer>,
    /// Between two checks: the shortest that a route with this peer asks for [HC-2].
    pub interval: Duration,
}

/// A Route object and what became of it.
#[derive(Debug)]
pub struct RouteState {
    /// The object.
    pub source: Arc<Stored<Route>>,
    /// The host that it has at this router [PIPE-3], of the version that counts: the object's own unless
    /// the router's settings change it, as written, empty when there is none.
    pub host: Arc<str>,
    /// Outcome of admission.
    pub admission: Admission,
    /// `status` as the API shows it, this router's entry included. It is part of the snapshot, so
    /// nobody can read `Admitted=True` before the route serves (row 1 of the quirk register).
    pub status: Arc<RouteStatus>,
    /// What serves it; `None` when it is not admitted.
    pub compiled: Option<Arc<CompiledRoute>>,
}

/// A route, ready to serve.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Host, lower case.
    pub host: Arc<str>,
    /// True for `wildcardPolicy: Subdomain`.
    pub wildcard: bool,
    /// Path as written.
    pub path: Arc<str>,
    /// How TLS ends.
    pub termination: Termination,
    /// What the plain port does.
    pub insecure: InsecurePolicy,
    /// Durations and header policies.
    pub policy: RoutePolicy,
    /// Rate limits, where there are any [RATE-1].
    pub rated: Option<Rated>,
    /// Where requests go.
    pub backend: Arc<Backend>,
}

/// The rate limits of a route.
#[derive(Clone, Debug)]
pub struct Rated {
    /// What each client may have.
    pub limits: Limits,
    /// What each client has, carried over from snapshot to snapshot.
    pub table: Arc<Rates>,
}

/// Per-route policy, resolved from annotations and settings.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// Server inactivity [TMO-1].
    pub server_timeout: Duration,
    /// Tunnel inactivity.
    pub tunnel_timeout: Duration,
    /// Forwarding headers [FWD-1].
    pub forwarded: ForwardedPolicy,
    /// Clients that may use the route; everybody when absent (decisions 6).
    pub allow: Option<Arc<AllowList>>,
    /// Which path the pods see, where it is another one [REW-1].
    pub rewrite: Option<Box<Rewrite>>,
    /// What happens to header fields.
    pub headers: HeaderPolicy,
}

/// What a route does to the header fields of its messages; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct HeaderPolicy {
    /// Actions on requests, behind the forwarding fields [ORD-2].
    pub request: Actions,
    /// Actions on responses of pods [ORD-4].
    pub response: Actions,
    /// Strict-Transport-Security of responses of pods [HSTS-3].
    pub hsts: Option<HeaderValue>,
    /// Pods of HTTP/1 get header names in the router's spelling [CASE-1].
    pub adjust_case: bool,
}

/// The endpoints of a route and how one is chosen.
#[derive(Debug)]
pub struct Backend {
    /// `be_http:ns:name` and so on [LSN-1].
    pub name: Arc<str>,
    /// Endpoints, sorted by service, address and port.
    pub servers: Box<[Server]>,
    /// Chooses an index into `servers`.
    pub balancer: Balancer,
    /// The cookie that keeps a client with its server; none where the route wants none, and never on
    /// passthrough [STICK-1].
    pub sticky: Option<Stickiness>,
    /// Counters, carried over from snapshot to snapshot.
    pub stats: Arc<UpstreamStats>,
}

impl Backend {
    /// Whether server `index` is up as far as checks count here [HC-3].
    #[must_use]
    pub fn is_up(&self, index: usize) -> bool {
        let server = &self.servers[index];
        !server.checked || server.peer.is_up()
    }

    /// Whether a request that is meant for server `index` may go there now: it is up, and not ejected.
    /// Its weight has no say [W-5].
    #[must_use]
    pub fn is_usable(&self, index: usize) -> bool {
        self.is_up(index) && !self.servers[index].peer.is_ejected()
    }

    /// Whether a request whose cookie names server `index` goes there: it is usable, or it is up and
    /// nobody who takes turns is any better.
    #[must_use]
    pub fn keeps(&self, index: usize) -> bool {
        let takes_turns = |other: usize| self.servers[other].weight > 0 && self.is_usable(other);
        self.is_usable(index) || self.is_up(index) && !(0..self.servers.len()).any(takes_turns)
    }

    /// Whether server `index` takes its turn for the request with the random number `draw`: it is
    /// usable, and no slow start keeps this one from it (reliability.md 2.6).
    #[must_use]
    pub fn is_ready(&self, index: usize, draw: u64) -> bool {
        self.is_usable(index) && self.servers[index].peer.admits(draw)
    }
}

/// One endpoint of a backend.
#[derive(Debug)]
pub struct Server {
    /// Who is dialled; shared by every backend with the same endpoint.
    pub peer: Arc<Peer>,
    /// Weight, 0 to 256 [W-3].
    pub weight: u16,
    /// Name of its Service.
    pub service: Arc<str>,
    /// Name of its pod, empty when unknown.
    pub pod: Arc<str>,
    /// `ip:port`, the label of metrics and logs.
    pub label: Arc<str>,
    /// Counters of this server in this backend.
    pub stats: Arc<UpstreamStats>,
    /// Its checks count here [HC-1]. Where they do not it is always tried [HC-3].
    pub checked: bool,
    /// Limits the requests at once to this server in this backend, if the route has a limit; all
    /// servers of a backend have one, or none has [PODC-1].
    pub gate: Option<Arc<Gate>>,
    /// Its address is that of the Service, and another chooses the pod: it is neither checked nor
    /// ejected, for its failures are those of one pod among many.
    pub cluster_ip: bool,
}
