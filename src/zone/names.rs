//! Names of the map: DNS labels, and the label that stands for an endpoint.
//!
//! Called by `zone::build` and `dns::answer`. Pure; never panics on any input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::EndpointEntry;

/// True for a lower-case DNS label: letters, digits and inner hyphens, 1 to 63 bytes (RFC 1123).
#[must_use]
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    matches!(bytes.len(), 1..=63)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

/// A host name as the map keeps it: lower case, without the trailing dot; `None` when it is not one.
/// Underscores are allowed, as resolvers do.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err())
        .then_some(name)
}

/// The label of an endpoint without a host name: its address with hyphens. A trailing hyphen is
/// completed with `0`, as CoreDNS does; a leading one stays (spec/l4-dns.md C.2).
#[must_use]
pub fn address_label(address: IpAddr) -> String {
    let mut label = address.to_string().replace(['.', ':'], "-");
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

/// The name that an endpoint brings along: its host name, or with `pod_names` that of its pod, if it
/// is a label. Without one its label is its address.
#[must_use]
pub fn own_label(endpoint: &EndpointEntry, pod_names: bool) -> Option<&str> {
    let pod = || endpoint.pod.as_deref().filter(|pod| pod_names && is_label(pod));
    endpoint.hostname.as_deref().or_else(pod)
}

/// The label of an endpoint.
#[must_use]
pub fn endpoint_label(endpoint: &EndpointEntry, pod_names: bool) -> String {
    own_label(endpoint, pod_names).map_or_else(|| address_label(endpoint.address), str::to_owned)
}

/// The address that [`address_label`] wrote as `label`.
#[must_use]
pub fn label_address(label: &str) -> Option<IpAddr> {
    pod_address(label).filter(|address| address_label(*address) == label)
}

/// The address that the label of a pod stands for, in any spelling: three single hyphens are IPv4,
/// all else is IPv6 (spec/l4-dns.md C.2).
#[must_use]
pub fn pod_address(label: &str) -> Option<IpAddr> {
    if label.matches('-').count() == 3 && !label.contains("--") {
        label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4).ok()
    } else {
        label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn labels_are_rfc_1123() {
        for good in ["a", "0", "a-b", "9to5", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    #[test]
    fn host_names_lose_case_and_dot() {
        assert_eq!(host_name("DB.Example.COM.").as_deref(), Some("db.example.com"));
        for bad in ["", ".", "a..b", "10.0.0.1", "a b", "x/y"] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn address_labels_end_with_no_hyphen() {
        for (address, label) in [
            ("172.0.0.2", "172-0-0-2"),
            ("5678:abcd::1", "5678-abcd--1"),
            ("5678:abcd::", "5678-abcd--0"),
            ("::1", "--1"),
        ] {
            assert_eq!(address_label(address.parse().unwrap()), label);
            assert_eq!(label_address(label), Some(address.parse().unwrap()));
        }
        assert_eq!(label_address("web-0"), None);
    }

    proptest! {
        #[test]
        fn a_label_leads_back_to_its_address(v4 in any::<[u8; 4]>(), v6 in any::<[u16; 8]>()) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                assert!(is_label(&address_label(address)) || address.is_ipv6());
                if !address_label(address).contains('.') {
                    assert_eq!(label_address(&address_label(address)), Some(address));
                }
            }
        }

        #[test]
        fn no_label_panics(label in ".{0,70}") {
            let _ = (is_label(&label), host_name(&label), label_address(&label));
        }
    }
}
