//! Question and zone to answer (spec/l4-dns.md C.1 to C.4).
//!
//! Called by `dns::server` for every query. Pure: no sockets, no clock. Always holds: a name that
//! does not exist is NXDOMAIN, a name without the wanted type is NODATA, and both carry the SOA.

mod apex;
mod chaos;
mod service;

use std::net::IpAddr;

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::PTR},
};

use crate::zone::{PodMode, Zone, names};

/// What is left to a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The whole question. The answer beside it is for a client that may not ask further.
    Question,
    /// The target of the last CNAME in `answers`.
    Target(Name),
}

impl Outside {
    /// The name that a resolver is asked for.
    #[must_use]
    pub fn name<'a>(&'a self, question: &'a Query) -> &'a Name {
        match self {
            Self::Question => question.name(),
            Self::Target(target) => target,
        }
    }
}

/// An answer, before it is cut to the client's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Response code.
    pub rcode: ResponseCode,
    /// Spoken for our own zone.
    pub authoritative: bool,
    /// Answer section; a CNAME stands before its target.
    pub answers: Vec<Record>,
    /// Authority section: the SOA of negative answers.
    pub authorities: Vec<Record>,
    /// Additional section, which may be left out when there is no room.
    pub additionals: Vec<Record>,
    /// What this zone does not hold.
    pub outside: Option<Outside>,
    /// The name server outside had more than it could say: the TC bit.
    pub truncated: bool,
}

impl Answer {
    /// An answer without records and without authority.
    #[must_use]
    pub fn code(rcode: ResponseCode) -> Self {
        Self { rcode, ..Self::default() }
    }

    fn found(answers: Vec<Record>) -> Self {
        Self { authoritative: true, answers, ..Self::default() }
    }
}

/// Answers `question` from `zone`. `local` is the address of this server, if it is bound to one: the
/// address of the name server's own name.
#[must_use]
pub fn answer(zone: &Zone, question: &Query, local: Option<IpAddr>) -> Answer {
    match question.query_class() {
        DNSClass::IN => {},
        DNSClass::CH => return chaos::answer(question, &zone.options.server_id),
        _ => return Answer::code(ResponseCode::Refused),
    }
    if matches!(question.query_type(), RecordType::ANY | RecordType::AXFR | RecordType::IXFR) {
        return Answer::code(ResponseCode::Refused);
    }
    if zone.domain.is_empty() && zone.serial == 0 {
        return Answer::code(ResponseCode::ServFail);
    }
    let name = question.name();
    let asked = |apex| Asked { zone, apex, name, record_type: question.query_type(), local };
    if let Some(labels) = labels_below(name, &zone.domain) {
        return asked(&zone.domain).in_zone(&labels);
    }
    let zones = zone.options.reverse_zones.iter();
    let ours = zones.filter(|apex| is_below(name, apex)).max_by_key(|apex| apex.len());
    match ours {
        Some(apex) => asked(apex).reverse(),
        None => Answer { outside: Some(Outside::Question), ..Answer::code(ResponseCode::Refused) },
    }
}

/// One question and where it is answered.
struct Asked<'a> {
    zone: &'a Zone,
    /// The cluster domain or the reverse zone that the name is in.
    apex: &'a str,
    name: &'a Name,
    record_type: RecordType,
    local: Option<IpAddr>,
}

impl Asked<'_> {
    /// Answers a name of the zone. `labels` stand left of the domain, in the order of the name.
    fn in_zone(&self, labels: &[String]) -> Answer {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(),
            ["dns-version"] => self.version(),
            ["ns", "dns"] => self.name_server(),
            ["svc" | "pod"] => self.nothing(ResponseCode::NoError),
            [namespace, "svc"] if self.zone.has_namespace(namespace) => {
                self.nothing(ResponseCode::NoError)
            },
            [rest @ .., namespace, "pod"] => self.pod(rest, namespace),
            [rest @ .., service, namespace, "svc"] => self.service(rest, service, namespace),
            _ => self.nothing(ResponseCode::NXDomain),
        }
    }

    /// Answers a name below `pod`: `rest` stands left of the namespace (spec/l4-dns.md C.3).
    fn pod(&self, rest: &[&str], namespace: &str) -> Answer {
        let mode = self.zone.options.pods;
        if mode == PodMode::Disabled || !self.zone.has_namespace(namespace) {
            return self.nothing(ResponseCode::NXDomain);
        }
        let address = match rest {
            [] => return self.nothing(ResponseCode::NoError),
            [label] => names::pod_address(label),
            _ => None,
        };
        let runs = |address: &IpAddr| {
            let pods = self.zone.pods.get(namespace);
            mode == PodMode::Insecure || pods.is_some_and(|pods| pods.contains(address))
        };
        match address.filter(runs) {
            None => self.nothing(ResponseCode::NXDomain),
            Some(address) if self.record_type == address_type(address) => {
                Answer::found(vec![self.record(RData::from(address))])
            },
            Some(_) => self.nothing(ResponseCode::NoError),
        }
    }

    const fn ttl(&self) -> u32 {
        self.zone.options.ttl
    }

    /// Answers a name of a reverse zone. What this zone does not know may be known outside.
    fn reverse(&self) -> Answer {
        let labels = labels_below(self.name, self.apex).unwrap_or_default();
        match labels.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => return self.apex(),
            ["ns", "dns"] => return self.name_server(),
            _ => {},
        }
        let names = reverse_address(self.name).and_then(|address| self.zone.reverse.get(&address));
        let Some(names) = names else {
            let outside = self.zone.options.fallthrough.then_some(Outside::Question);
            return Answer { outside, ..self.nothing(ResponseCode::NXDomain) };
        };
        if self.record_type != RecordType::PTR {
            return self.nothing(ResponseCode::NoError);
        }
        let targets = names.iter().filter_map(|name| absolute(name));
        Answer::found(targets.map(|target| self.record(RData::PTR(PTR(target)))).collect())
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), self.ttl(), data)
    }

    /// NXDOMAIN or NODATA, with the SOA of the zone that the name is in.
    fn nothing(&self, rcode: ResponseCode) -> Answer {
        let soa = absolute(self.apex).map(|apex| {
            let data = RData::SOA(apex::soa(&apex, self.zone.serial, self.ttl()));
            Record::from_rdata(apex, self.ttl().min(300), data)
        });
        Answer {
            rcode,
            authoritative: true,
            authorities: soa.into_iter().collect(),
            ..Answer::default()
        }
    }
}

/// `name` of the map as an absolute name; `None` when it is too long for the wire.
fn absolute(name: &str) -> Option<Name> {
    if name.is_empty() {
        return Some(Name::root());
    }
    // Not parsed as text: the label of an IPv6 address may begin with a hyphen.
    let mut name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

const fn address_type(address: IpAddr) -> RecordType {
    match address {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

fn address_record(name: Name, address: IpAddr, ttl: u32) -> Record {
    Record::from_rdata(name, ttl, RData::from(address))
}

/// True when `name` is `domain` or below it.
fn is_below(name: &Name, domain: &str) -> bool {
    left_of(name, domain).is_some()
}

/// The labels of `name` left of `domain`, lower case; `None` when `name` is not in `domain`. They
/// stay apart: a dot inside a label is no separator, and no name of the map has one.
fn labels_below(name: &Name, domain: &str) -> Option<Vec<String>> {
    // Each byte becomes one character, so bytes that are no text stay distinct labels.
    let lower = |byte: &u8| char::from(byte.to_ascii_lowercase());
    let labels = left_of(name, domain)?;
    Some(labels.map(|label| label.iter().map(lower).collect()).collect())
}

fn left_of<'a>(name: &'a Name, domain: &str) -> Option<impl Iterator<Item = &'a [u8]>> {
    let mut labels = name.iter();
    for wanted in domain.rsplit('.') {
        if !labels.next_back()?.eq_ignore_ascii_case(wanted.as_bytes()) {
            return None;
        }
    }
    Some(labels)
}

/// The address that a complete name under in-addr.arpa or ip6.arpa stands for.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let mut absolute = name.clone();
    absolute.set_fqdn(true);
    let net = absolute.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests;
