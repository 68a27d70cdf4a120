//! Where the virtual addresses of a cluster are on this machine: `10.96.0.0/16=127.96.0.0/16`.
//!
//! Given by settings of `wharf proxy` and `wharf router`. Always holds: both ranges have one family and one length, so each
//! address has one place and the host part stays.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// One range and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMap {
    from: IpNet,
    to: IpNet,
}

/// Why a text is no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Something that should be a range is not.
    #[error("{0:?} is no range such as 10.96.0.0/16")]
    Range(String),
    /// Ranges that do not fit each other.
    #[error("{from} and {to} must be of one family and one length")]
    Sizes {
        /// The first.
        from: IpNet,
        /// The second.
        to: IpNet,
    },
    /// There are no two.
    #[error("write it as CIDR=CIDR, such as 10.96.0.0/16=127.96.0.0/16")]
    Form,
}

impl FromStr for AddressMap {
    type Err = MapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('=').ok_or(MapError::Form)?;
        let range = |text: &str| {
            let range = text.trim().parse::<IpNet>();
            range.map(|range| range.trunc()).map_err(|_not_one| MapError::Range(text.to_owned()))
        };
        let (from, to) = (range(from)?, range(to)?);
        let is_v6 = |range: IpNet| range.addr().is_ipv6();
        if is_v6(from) != is_v6(to) || from.prefix_len() != to.prefix_len() {
            return Err(MapError::Sizes { from, to });
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

impl AddressMap {
    /// The place of `address`, when it is in the range.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Option<IpAddr> {
        if !self.from.contains(&address) {
            return None;
        }
        match (self.to.addr(), address, self.from.hostmask()) {
            (IpAddr::V4(to), IpAddr::V4(address), IpAddr::V4(host)) => Some(IpAddr::from(
                (u32::from(to) | (u32::from(address) & u32::from(host))).to_be_bytes(),
            )),
            (IpAddr::V6(to), IpAddr::V6(address), IpAddr::V6(host)) => Some(IpAddr::from(
                (u128::from(to) | (u128::from(address) & u128::from(host))).to_be_bytes(),
            )),
            _ => None,
        }
    }
}

/// The place of `address` by the first map that has one; itself without any.
#[must_use]
pub fn place(maps: &[AddressMap], address: IpAddr) -> IpAddr {
    maps.iter().find_map(|map| map.place(address)).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_move_and_keep_their_host_part() {
        let maps: Vec<AddressMap> =
            ["172.30.0.0/16=127.96.9.9/16", "fd00::/112=::1:0/112", "10.0.0.1/32=127.0.0.9/32"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        for (address, expected) in [
            ("172.30.1.2", "127.96.1.2"),
            ("172.31.1.2", "172.31.1.2"),
            ("fd00::7", "::1:7"),
            ("10.0.0.1", "127.0.0.9"),
            ("10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(place(&maps, address.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_map_is_refused() {
        for (text, says) in [
            ("10.0.0.0/8", "CIDR=CIDR"),
            ("10.0.0.0/8=127.0.0.0/16", "one length"),
            ("10.0.0.0/8=fd00::/8", "one family"),
            ("ten=127.0.0.0/8", "\"ten\""),
            ("10.0.0.0/33=127.0.0.0/8", "10.0.0.0/33"),
        ] {
            let error = text.parse::<AddressMap>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
