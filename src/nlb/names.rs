//! The DNS view of a load balancer: its regional name, the zonal names and its aliases
//! (spec/l4-dns.md A.2).
//!
//! Pure. Asked by the DNS server of `app` for every query. Always holds: the regional name answers
//! with the nodes of zones that are in DNS, a zonal name with the node of its zone, failed or not.

use std::{
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::Arc,
};

use foldhash::quality::FixedState;
use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::SOA},
};
use ipnet::IpNet;

use super::nodes::ZoneState;
use crate::dns::answer::Answer;

/// TTL of every record, seconds (A.2).
pub const TTL: u32 = 60;
/// Region of the names, unless configured.
pub const DEFAULT_REGION: &str = "us-east-1";

/// What the names of a load balancer are made of. Extension: AWS chooses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesConfig {
    /// Region in the names.
    pub region: Arc<str>,
    /// The 16 hex digits after the name; a hash of the name by default.
    pub id: Option<Arc<str>>,
    /// Further names that answer like the regional one; `*.DOMAIN` is every name below `DOMAIN`.
    pub aliases: Vec<Arc<str>>,
    /// `dns_record.client_routing_policy`.
    pub routing: ClientRouting,
    /// Which zone clients are in: the first network that has the address that asks, which is that of
    /// the client's resolver. Those in none are in no zone.
    pub clients: Vec<(IpNet, Arc<str>)>,
}

/// Which zones the regional name answers with to a client of a zone (A.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientRouting {
    /// Any.
    #[default]
    Any,
    /// The client's own, as long as that is in DNS.
    Own,
    /// The client's own to 85 % of the questions, any to the rest.
    Partial,
}

/// Share of [`ClientRouting::Partial`], percent.
const PARTIAL: u64 = 85;

impl Default for NamesConfig {
    fn default() -> Self {
        Self {
            region: DEFAULT_REGION.into(),
            id: None,
            aliases: Vec::new(),
            routing: ClientRouting::default(),
            clients: Vec::new(),
        }
    }
}

/// The same number for a name in every process.
pub(super) fn stable(name: &str) -> u64 {
    // FNV-1a: a published function, so that the id outlives changes of libraries.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The id that stands for `name` where AWS has 16 hex digits.
pub(super) fn id(name: &str) -> String {
    format!("{:016x}", stable(name))
}

/// The names of a load balancer, made once for each configuration.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The regional name, lower case, without a dot at the end.
    pub regional: String,
    /// What stands for the load balancer in metrics: `net/NAME/ID` (A.12).
    pub label: String,
    /// See [`NamesConfig::aliases`].
    aliases: Vec<Arc<str>>,
    routing: ClientRouting,
    clients: Vec<(IpNet, Arc<str>)>,
}

/// Where a name stands.
enum Place {
    /// At the name of all nodes in DNS.
    Regional,
    /// At the name of one node.
    Zonal(IpAddr),
    /// It has names below it and no addresses.
    Empty,
    /// Nowhere.
    Unknown,
}

impl Names {
    /// The names of the load balancer `name`.
    #[must_use]
    pub fn new(name: &str, config: &NamesConfig) -> Self {
        let lower = name.to_ascii_lowercase();
        let id = match &config.id {
            Some(id) => id.to_string(),
            None => id(&lower),
        };
        Self {
            regional: format!("{lower}-{id}.elb.{}.amazonaws.com", config.region),
            label: format!("net/{name}/{id}"),
            aliases: config.aliases.clone(),
            routing: config.routing,
            clients: config.clients.clone(),
        }
    }

    /// True if the name of `question` is of this load balancer, whatever the state of its zones.
    #[must_use]
    pub fn holds(&self, question: &Query) -> bool {
        self.place(&asked(question), &[]).is_some()
    }

    /// The answer to `question` of `client` while the zones are in these states; nothing if its name is
    /// not of this load balancer. `turn` says which address stands first: clients that take the first
    /// spread over the nodes if it differs from one question to the next.
    #[must_use]
    pub fn answer(
        &self,
        question: &Query,
        client: IpAddr,
        zones: &[ZoneState],
        turn: usize,
    ) -> Option<Answer> {
        let name = asked(question);
        let (apex, place) = self.place(&name, zones)?;
        let kind = question.query_type();
        if question.query_class() != DNSClass::IN
            || matches!(kind, RecordType::ANY | RecordType::AXFR | RecordType::IXFR)
        {
            return Some(Answer::code(ResponseCode::Refused));
        }
        let apex = Name::from_ascii(format!("{apex}.")).ok()?;
        let addresses = match place {
            Place::Regional => match self.own_zone(client, zones, turn) {
                Some(own) => own.address.into_iter().collect(),
                None => in_dns(zones).collect(),
            },
            Place::Zonal(address) => vec![address],
            Place::Empty | Place::Unknown => Vec::new(),
        };
        let mut answers: Vec<_> = addresses
            .into_iter()
            .filter_map(|address| match (kind, address) {
                (RecordType::A, IpAddr::V4(address)) => Some(RData::A(address.into())),
                (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(address.into())),
                _ => None,
            })
            .map(|data| Record::from_rdata(question.name().clone(), TTL, data))
            .collect();
        let first = turn.checked_rem(answers.len()).unwrap_or(0);
        answers.rotate_left(first);
        let soa = soa(&apex, zones);
        if kind == RecordType::SOA && question.name().to_lowercase() == apex {
            answers.extend(soa.clone());
        }
        let rcode = match place {
            Place::Unknown => ResponseCode::NXDomain,
            _ => ResponseCode::NoError,
        };
        let authorities = if answers.is_empty() { soa.into_iter().collect() } else { Vec::new() };
        Some(Answer { rcode, authoritative: true, answers, authorities, ..Answer::default() })
    }

    /// The one zone that `client` is to use, if there is one.
    fn own_zone<'a>(
        &self,
        client: IpAddr,
        zones: &'a [ZoneState],
        turn: usize,
    ) -> Option<&'a ZoneState> {
        let own = match self.routing {
            ClientRouting::Any => false,
            ClientRouting::Own => true,
            // A hash: turns in a row may be the questions of one client for its two families.
            ClientRouting::Partial => FixedState::default().hash_one(turn) % 100 < PARTIAL,
        };
        let client = client.to_canonical();
        let mut networks = self.clients.iter().filter(|_| own);
        let (_, name) = networks.find(|(network, _)| network.contains(&client))?;
        zones.iter().find(|zone| zone.zone == *name && zone.in_dns)
    }

    /// The apex of the zone that holds `name`, and where in it the name stands. Lower case.
    fn place<'a>(&'a self, name: &str, zones: &[ZoneState]) -> Option<(&'a str, Place)> {
        if name == self.regional {
            return Some((&self.regional, Place::Regional));
        }
        if let Some(label) = below(name, &self.regional) {
            let zone = zones.iter().find(|zone| zone.zone.eq_ignore_ascii_case(label));
            let place = match zone {
                Some(ZoneState { address: Some(address), .. }) => Place::Zonal(*address),
                _ => Place::Unknown,
            };
            return Some((&self.regional, place));
        }
        self.aliases.iter().find_map(|alias| match alias.strip_prefix("*.") {
            Some(domain) if name == domain => Some((domain, Place::Empty)),
            Some(domain) => below(name, domain).map(|_| (domain, Place::Regional)),
            None => (name == &**alias).then_some((&**alias, Place::Regional)),
        })
    }
}

/// The name of a question, lower case, without a dot at the end.
fn asked(question: &Query) -> String {
    let mut name = question.name().to_lowercase().to_ascii();
    name.truncate(name.trim_end_matches('.').len());
    name
}

fn in_dns(zones: &[ZoneState]) -> impl Iterator<Item = IpAddr> {
    zones.iter().filter(|zone| zone.in_dns).filter_map(|zone| zone.address)
}

fn soa(apex: &Name, zones: &[ZoneState]) -> Option<Record> {
    let host = |label: &str| Name::from_ascii(label).ok()?.append_domain(apex).ok();
    // Answers change with the zones, so the serial is a hash of what is in DNS.
    let mut hasher = FixedState::default().build_hasher();
    in_dns(zones).for_each(|address| address.hash(&mut hasher));
    let serial = (std::hash::Hasher::finish(&hasher) & 0xffff_ffff) as u32;
    let data = SOA::new(host("ns")?, host("hostmaster")?, serial, 7200, 900, 1_209_600, TTL);
    Some(Record::from_rdata(apex.clone(), TTL, RData::SOA(data)))
}

/// What stands left of `domain` in `name`, without the dot.
fn below<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.').filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests;
