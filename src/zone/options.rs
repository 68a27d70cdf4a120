//! What of the cluster the DNS names show: the options of CoreDNS's `kubernetes` plugin.
//!
//! Set by `app::dns`, kept in the map, read by `zone::build` and `dns::answer`.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::model::objects::ObjectKey;

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

/// Every address: what OpenShift's Corefile serves.
pub const REVERSE_ZONES: [&str; 2] = ["in-addr.arpa", "ip6.arpa"];

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
    /// Zones of addresses that are answered here, lower case, no trailing dot. A name in several
    /// belongs to the longest.
    pub reverse_zones: Vec<Arc<str>>,
    /// An address that nothing here has is asked outside, if there is anybody to ask; otherwise it
    /// is NXDOMAIN (CoreDNS's `fallthrough in-addr.arpa ip6.arpa`).
    pub fallthrough: bool,
    /// The Service that clients reach this server by: its names are the zone's name servers. Without
    /// one it is found by the address of the server.
    pub dns_service: Option<ObjectKey>,
    /// Answer to `hostname.bind` and `id.server`; empty refuses them. At most 255 bytes are sent.
    pub server_id: Arc<str>,
}

impl Default for ZoneOptions {
    fn default() -> Self {
        Self {
            pods: PodMode::default(),
            ttl: 5,
            namespaces: Vec::new(),
            endpoint_pod_names: false,
            ignore_empty_service: false,
            reverse_zones: REVERSE_ZONES.map(Arc::from).to_vec(),
            fallthrough: true,
            dns_service: None,
            server_id: Arc::default(),
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

/// The reverse zone that `text` means: a name below in-addr.arpa or ip6.arpa, or a network such as
/// 10.0.0.0/16, whose length is a whole number of labels.
///
/// # Errors
/// Says what is wrong with it and what would do.
pub fn reverse_zone(text: &str) -> Result<Arc<str>, String> {
    if let Ok(network) = text.parse::<IpNet>() {
        return network_zone(network);
    }
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let below = |zone: &str| {
        name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if REVERSE_ZONES.iter().any(|zone| below(zone))
        && name.split('.').all(|label| !label.is_empty())
    {
        return Ok(name.into());
    }
    Err(format!(
        "{text} is no reverse zone; write a network such as 10.0.0.0/16, or a name below \
         in-addr.arpa or ip6.arpa"
    ))
}

fn network_zone(network: IpNet) -> Result<Arc<str>, String> {
    let (bits, zone) = match network {
        IpNet::V4(_) => (8, "in-addr.arpa"),
        IpNet::V6(_) => (4, "ip6.arpa"),
    };
    let length = network.prefix_len();
    if !length.is_multiple_of(bits) {
        return Err(format!(
            "{network} is no reverse zone: its length must be a multiple of {bits}"
        ));
    }
    let digits: Vec<String> = match network.network() {
        IpAddr::V4(address) => address.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(address) => address
            .octets()
            .iter()
            .flat_map(|octet| [format!("{:x}", octet >> 4), format!("{:x}", octet & 15)])
            .collect(),
    };
    let kept = &digits[..usize::from(length / bits)];
    let labels = kept.iter().rev().map(String::as_str).chain([zone]);
    Ok(labels.collect::<Vec<_>>().join(".").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_zones_are_names_or_networks() {
        for (text, zone) in [
            ("10.0.0.0/16", "0.10.in-addr.arpa"),
            ("192.168.0.0/16", "168.192.in-addr.arpa"),
            ("10.1.2.3/24", "2.1.10.in-addr.arpa"),
            ("0.0.0.0/0", "in-addr.arpa"),
            ("fd00:10::/32", "0.1.0.0.0.0.d.f.ip6.arpa"),
            ("2001:db8::/36", "0.8.b.d.0.1.0.0.2.ip6.arpa"),
            ("IN-ADDR.arpa.", "in-addr.arpa"),
            ("0.10.in-addr.arpa", "0.10.in-addr.arpa"),
        ] {
            assert_eq!(reverse_zone(text).as_deref(), Ok(zone), "{text}");
        }
        for bad in
            ["", "10.0.0.0/15", "2001:db8::/33", "cluster.local", "xin-addr.arpa", ".ip6.arpa"]
        {
            assert!(reverse_zone(bad).is_err(), "{bad}");
        }
    }
}
