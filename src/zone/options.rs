//! What of the cluster the DNS names show: the options of CoreDNS's `kubernetes` plugin.
//!
//! Set by `app::dns`, kept in the map, read by `zone::build` and `dns::answer`.

use std::sync::Arc;

/// Which names below `pod.<domain>` exist (spec/l4-dns.md C.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodMode {
    /// None.
    Disabled,
    /// Every address written as a label, in a namespace that exists; OpenShift's choice.
    #[default]
    Insecure,
    /// The address of a pod of that namespace, as far as endpoints name pods.
    Verified,
}

/// Longest TTL that can be set, seconds (CoreDNS's bound of `ttl`).
pub const MAX_TTL: u32 = 3_600;

/// The options. The default is what OpenShift's Corefile says (spec/l4-dns.md C.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneOptions {
    /// Names of pods.
    pub pods: PodMode,
    /// TTL of every record of a Service or pod, seconds, up to [`MAX_TTL`].
    pub ttl: u32,
    /// Namespaces that are shown, lower case; empty means all. A hidden one answers NXDOMAIN.
    pub namespaces: Vec<Arc<str>>,
    /// An endpoint without a host name is named like its pod instead of its address.
    pub endpoint_pod_names: bool,
    /// A Service with a virtual address but no ready endpoint does not exist.
    pub ignore_empty_service: bool,
}

impl Default for ZoneOptions {
    fn default() -> Self {
        Self {
            pods: PodMode::default(),
            ttl: 5,
            namespaces: Vec::new(),
            endpoint_pod_names: false,
            ignore_empty_service: false,
        }
    }
}

impl ZoneOptions {
    /// True when the names of `namespace` (lower case) are shown.
    #[must_use]
    pub fn exposes(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|shown| **shown == *namespace)
    }
}
