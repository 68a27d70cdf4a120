//! What the manifests do not say: where the listeners of this machine are.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, str::FromStr};

use crate::{
    model::objects::ObjectKey,
    nlb::config::{Realism, ZoneConfig},
};

/// What load balancers are made with, beside the manifests.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Enabled zones with their nodes; empty: all zones, and listeners on every address.
    pub zones: Vec<ZoneConfig>,
    /// Where listeners listen instead of on the port of the Service.
    pub listen: Vec<ListenMap>,
    /// Checks more often than AWS allows. For tests.
    pub fast_checks: bool,
    /// How they check, and how soon they change.
    pub realism: Realism,
    /// `ServiceLoadBalancerHealthProbeMode=Shared` of the cloud provider: Services with
    /// externalTrafficPolicy Cluster are checked at kube-proxy's own port (A.14).
    pub shared_probe: bool,
    /// Where Services ask for it, targets see the addresses of clients; without, nobody's targets do.
    pub keep_addresses: bool,
    /// PEM files with chain and key, by the ARN that annotations name them with.
    pub certificates: HashMap<String, PathBuf>,
    /// Directories for access logs, by the bucket that annotations name.
    pub buckets: HashMap<String, PathBuf>,
}

/// Entries such as `80=8080`, `443=127.0.0.2:443`, `NAMESPACE/NAME:80=8081` or `*=+8000`, separated
/// by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenMap {
    ports: HashMap<(Option<ObjectKey>, u16), (Option<IpAddr>, u16)>,
    offset: u16,
}

impl FromStr for ListenMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for entry in text.split(',') {
            map.add(entry).ok_or_else(|| {
                format!(
                    "`{entry}` is none of PORT=PORT, PORT=ADDRESS:PORT, *=+OFFSET, and those with \
                     NAMESPACE/NAME: in front"
                )
            })?;
        }
        Ok(map)
    }
}

impl ListenMap {
    fn add(&mut self, entry: &str) -> Option<()> {
        let (from, to) = entry.trim().split_once('=')?;
        if from == "*" {
            self.offset = to.strip_prefix('+')?.parse().ok()?;
            return Some(());
        }
        let (service, from) = match from.rsplit_once(':') {
            Some((service, port)) => {
                let (namespace, name) = service.split_once('/')?;
                (Some(ObjectKey::new(namespace, name)), port)
            },
            None => (None, from),
        };
        let (address, to) = match to.rsplit_once(':') {
            Some((address, port)) => {
                let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                (Some(bare.unwrap_or(address).parse().ok()?), port)
            },
            None => (None, to),
        };
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        self.ports.insert((service, port(from)?), (address, port(to)?));
        Some(())
    }

    /// Where port `port` of `service` listens, as far as this map says.
    fn place(&self, service: &ObjectKey, port: u16) -> Option<(Option<IpAddr>, u16)> {
        let own = self.ports.get(&(Some(service.clone()), port));
        own.or_else(|| self.ports.get(&(None, port))).copied()
    }
}

impl Options {
    /// Where port `port` of `service` listens; `None` when the offset leads past the last port.
    pub(super) fn place(&self, service: &ObjectKey, port: u16) -> Option<(Option<IpAddr>, u16)> {
        if let Some(place) = self.listen.iter().find_map(|map| map.place(service, port)) {
            return Some(place);
        }
        let offset = self.listen.iter().map(|map| map.offset).max().unwrap_or(0);
        Some((None, port.checked_add(offset)?))
    }
}

/// A zone of the command line: `NAME` or `NAME=ADDRESS`.
///
/// # Errors
/// The name is empty, or what follows is no address.
pub fn parse_zone(text: &str) -> Result<ZoneConfig, String> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => {
            let address =
                address.parse().map_err(|_not_one| format!("`{address}` is not an address"))?;
            (name, Some(address))
        },
        None => (text, None),
    };
    if name.is_empty() {
        return Err("a zone is NAME or NAME=ADDRESS".to_owned());
    }
    Ok(ZoneConfig { name: name.into(), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_map_knows_ports_addresses_services_and_an_offset() {
        let map: ListenMap =
            "80=8080,a/b:80=[::1]:81, a/b:443=127.0.0.2:444,*=+1000".parse().unwrap();
        let options = Options { listen: vec![map], ..Options::default() };
        let (own, other) = (ObjectKey::new("a", "b"), ObjectKey::new("a", "c"));
        assert_eq!(options.place(&own, 80), Some((Some("::1".parse().unwrap()), 81)));
        assert_eq!(options.place(&own, 443), Some((Some("127.0.0.2".parse().unwrap()), 444)));
        assert_eq!(options.place(&other, 80), Some((None, 8080)));
        assert_eq!(options.place(&other, 443), Some((None, 1443)));
        assert_eq!(options.place(&other, 65_000), None);
        for bad in ["", "80", "80=", "0=1", "80=0", "x=1", "80=host:1", "a:80=1", "*=1000", "80=1,"]
        {
            assert!(bad.parse::<ListenMap>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_zone_has_a_name_and_perhaps_an_address() {
        assert_eq!(parse_zone("a").unwrap(), ZoneConfig::from("a"));
        let node = parse_zone("a=127.0.0.2").unwrap();
        assert_eq!((&*node.name, node.address), ("a", "127.0.0.2".parse().ok()));
        assert!(parse_zone("=127.0.0.2").is_err());
        assert!(parse_zone("a=x").is_err());
    }
}
