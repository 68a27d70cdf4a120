//! Allow lists: which clients may use a route [IPL-1..5].
//!
//! Made by compile from the annotation, asked by `proxy` for each request. Networks are merged into
//! ranges and sorted once, so that a list of thousands costs a handful of comparisons.

use std::net::IpAddr;

use ipnet::IpNet;

/// The clients that may use a route: everybody who is in one of its networks, nobody when there are
/// none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// First and last address of each range, as IPv6 addresses: those of IPv4 are inside
    /// `::ffff:0:0/96`, so that `::/0` means everybody, as in HAProxy. In order, with a gap between
    /// any two.
    ranges: Box<[(u128, u128)]>,
    networks: Box<[IpNet]>,
}

impl AllowList {
    /// The networks as they were given, to be shown.
    #[must_use]
    pub const fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// True for a client at `address`.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let wanted = number(address);
        let at = self.ranges.partition_point(|(_, last)| *last < wanted);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= wanted)
    }
}

impl FromIterator<IpNet> for AllowList {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let range = |net: &IpNet| (number(net.network()), number(net.broadcast()));
        let networks: Box<[IpNet]> = networks.into_iter().collect();
        let mut all: Vec<(u128, u128)> = networks.iter().map(range).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                },
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges: ranges.into(), networks }
    }
}

/// An address as a number, an IPv4 one as its IPv6 form.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> AllowList {
        text.split_whitespace().map(|net| net.parse::<IpNet>().unwrap()).collect()
    }

    #[test]
    fn ipl_4_both_families_are_known_and_edges_count() {
        let list = list("10.0.0.0/8 10.255.0.0/16 11.0.0.0/32 2001:db8::/64 192.0.2.9/32");
        assert_eq!(list.ranges.len(), 3, "{list:?}");
        for (address, allowed) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("11.0.0.0", true),
            ("11.0.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.9", true),
            ("192.0.2.10", false),
            ("2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::", false),
            ("::", false),
        ] {
            assert_eq!(list.allows(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn an_empty_list_allows_nobody_and_the_widest_everybody() {
        let ends: [IpAddr; 4] = [[0; 4].into(), [255; 4].into(), [0; 16].into(), [255; 16].into()];
        for address in ends {
            assert!(!AllowList::default().allows(address), "{address}");
            assert!(list("::/0").allows(address), "{address}");
            assert_eq!(list("0.0.0.0/0").allows(address), address.is_ipv4(), "{address}");
        }
    }

    /// Networks and addresses that are near each other, so that they often meet.
    fn network() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u8..4, 0_u8..4, 8_u8..=32).prop_map(|(b, d, length)| {
            IpNet::new(IpAddr::from([10, b, 0, d]), length).unwrap().trunc()
        });
        let v6 = (0_u16..4, 0_u16..4, 0_u8..=128).prop_map(|(b, d, length)| {
            IpNet::new(IpAddr::from([0x2001, b, 0, 0, 0, 0, 0, d]), length).unwrap().trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        /// [IPL-5]: one network after the other says the same.
        #[test]
        fn lookup_agrees_with_a_scan(
            networks in prop::collection::vec(network(), 0..40),
            near in prop::collection::vec(network(), 1..20),
        ) {
            let list: AllowList = networks.iter().copied().collect();
            for net in networks.iter().chain(&near) {
                for address in [net.network(), net.broadcast(), net.addr()] {
                    let mapped = match address {
                        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
                        IpAddr::V6(_) => address,
                    };
                    let scan = networks.iter().any(|n| n.contains(&address) || n.contains(&mapped));
                    prop_assert_eq!(list.allows(address), scan, "{} in {:?}", address, &networks);
                }
            }
        }
    }
}
