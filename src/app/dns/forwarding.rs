//! From flags to the resolver of names outside the zone.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use hickory_proto::rr::Name;

use crate::dns::{
    resolver::{ForwardOptions, ForwardZone, Resolver},
    server::Settings,
};

/// Port of a name server.
const PORT: u16 = 53;

/// How a DNS server asks for the names that it does not have.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// Name servers; those of one apex are taken together.
    pub servers: Vec<ForwardZone>,
    /// Asks the system's name servers for names that nothing in `servers` is for.
    pub system: bool,
    /// How they are asked.
    pub asking: ForwardOptions,
    /// Limits of the server, how many questions it forwards at once among them.
    pub settings: Settings,
}

/// The resolver of a server at `listen` that `options` ask for, if they do.
///
/// # Errors
/// When it cannot be made, or when it would ask this very server.
pub fn forwarder(
    options: &Forwarding,
    listen: SocketAddr,
) -> anyhow::Result<Option<Arc<Resolver>>> {
    let zones = together(&options.servers);
    let resolver = match (zones.is_empty(), options.system) {
        (true, false) => return Ok(None),
        (false, false) => Resolver::with(zones, options.asking.clone())
            .context("setting up the name servers of --forward")?,
        (_, true) => Resolver::with_system(zones, options.asking.clone())
            .context("reading the system's resolver configuration")?,
    };
    if let Some(own) = resolver.servers().iter().find(|server| is_own(listen, **server)) {
        anyhow::bail!(
            "cannot forward to {own}: it is the address of this server; name another one"
        );
    }
    Ok(Some(Arc::new(resolver)))
}

/// `zones` with those of one apex made one, servers in the order in which they came.
fn together(zones: &[ForwardZone]) -> Vec<ForwardZone> {
    let mut all: Vec<ForwardZone> = Vec::new();
    for zone in zones {
        match all.iter_mut().find(|known| known.apex == zone.apex) {
            Some(known) => known.servers.extend(&zone.servers),
            None => all.push(zone.clone()),
        }
    }
    all
}

/// `[ZONE=]ADDR[,ADDR...]`; an address without a port has port 53.
///
/// # Errors
/// Says which part is wrong and what would do.
pub fn parse_forward(text: &str) -> Result<ForwardZone, String> {
    let (zone, servers) = text.split_once('=').unwrap_or((".", text));
    let mut apex = Name::from_ascii(zone).map_err(|error| {
        format!("{zone} is no zone: {error}; write ZONE=ADDR, such as corp.example=10.0.0.2")
    })?;
    apex.set_fqdn(true);
    let address = |text: &str| {
        let with_port = text.parse::<SocketAddr>().ok();
        let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
        with_port.or_else(alone).ok_or_else(|| {
            format!("{text} is no address of a name server; write 10.0.0.2, 10.0.0.2:5353 or [fd00::2]:53")
        })
    };
    let servers = servers.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
    Ok(ForwardZone { apex: apex.to_lowercase(), servers })
}

/// True when a packet to `server` would arrive at a socket bound to `listen`, as far as addresses
/// tell.
fn is_own(listen: SocketAddr, server: SocketAddr) -> bool {
    let any = listen.ip().is_unspecified();
    listen.port() != 0
        && listen.port() == server.port()
        && (server.ip() == listen.ip() || (any && server.ip().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(forward: &[&str]) -> Forwarding {
        let servers = forward.iter().map(|text| parse_forward(text).unwrap()).collect();
        Forwarding { servers, ..Forwarding::default() }
    }

    fn made(listen: &str, forward: &[&str]) -> anyhow::Result<Option<Arc<Resolver>>> {
        forwarder(&options(forward), listen.parse().unwrap())
    }

    #[test]
    fn zones_and_servers_are_read() {
        let read = |text: &str| {
            let zone = parse_forward(text).unwrap();
            let servers: Vec<String> = zone.servers.iter().map(ToString::to_string).collect();
            (zone.apex.to_ascii(), servers)
        };
        let root =
            |servers: &[&str]| (".".to_owned(), servers.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(read("10.0.0.2"), root(&["10.0.0.2:53"]));
        assert_eq!(read("fd00::2,[fd00::3]:54"), root(&["[fd00::2]:53", "[fd00::3]:54"]));
        let servers = vec!["10.0.0.2:5353".to_owned(), "10.0.0.3:53".to_owned()];
        assert_eq!(
            read("Corp.Example=10.0.0.2:5353,10.0.0.3"),
            ("corp.example.".to_owned(), servers)
        );
        for bad in ["", "a.b", "corp.example=", "corp..example=10.0.0.2", "x=10.0.0.2,,10.0.0.3"] {
            assert!(parse_forward(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_of_one_zone_are_taken_together() {
        let some = ["10.0.0.2", "a.test=10.0.0.3", "10.0.0.4", "A.test.=10.0.0.5"];
        let zones = together(&options(&some).servers);
        let counts: Vec<usize> = zones.iter().map(|zone| zone.servers.len()).collect();
        assert_eq!(counts, [2, 2]);
        assert_eq!(made("127.0.0.1:0", &some).unwrap().unwrap().servers().len(), 4);
        let many: Vec<String> = (0..16).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = made("127.0.0.1:0", &many).unwrap_err();
        assert!(format!("{error:#}").contains("16 name servers"), "{error:#}");
    }

    #[test]
    fn forwarding_to_oneself_is_refused() {
        for (listen, own) in [
            ("0.0.0.0:8053", "127.0.0.1:8053"),
            ("10.0.0.1:53", "a.test=10.0.0.1"),
            ("[::]:53", "[::1]:53"),
        ] {
            let error = made(listen, &[own]).unwrap_err();
            assert!(error.to_string().contains("address of this server"), "{error}");
        }
        assert!(made("0.0.0.0:8053", &["127.0.0.1:53"]).unwrap().is_some());
        assert!(made("0.0.0.0:8053", &[]).unwrap().is_none());
    }
}
