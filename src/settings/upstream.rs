//! What the router dials for a Service: its endpoints, or its cluster IP.
//!
//! Part of [`super::RouterSettings`]; read by `compile` alone, so a request pays nothing for it.

use std::fmt;

use crate::net::address_map::AddressMap;

/// What is dialled for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// WHARF_UPSTREAM.
    pub mode: UpstreamMode,
    /// Where cluster IPs are on this machine, as for `wharf proxy`; elsewhere they are dialled as they
    /// are. WHARF_VIP_MAP.
    pub vip_map: Vec<AddressMap>,
}

/// Who chooses the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamMode {
    /// The router, as in OpenShift: endpoints are dialled, balanced over and checked one by one.
    #[default]
    Endpoints,
    /// Who stands behind the cluster IP of the Service, such as kube-proxy or `wharf proxy`: that
    /// address is dialled, and the router balances between Services only.
    ClusterIp,
}

impl UpstreamMode {
    /// The mode of this word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Endpoints, Self::ClusterIp].into_iter().find(|mode| mode.to_string() == text)
    }
}

impl fmt::Display for UpstreamMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoints => "endpoints",
            Self::ClusterIp => "cluster-ip",
        })
    }
}
