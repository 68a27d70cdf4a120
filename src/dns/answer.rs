//! Question and zone to answer (spec/l4-dns.md C.1 to C.4).
//!
//! Called by `dns::server` for every query. Pure: no sockets, no clock. Always holds: a name that
//! does not exist is NXDOMAIN, a name without the wanted type is NODATA, and both carry the SOA.

mod service;

use std::net::IpAddr;

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{NS, PTR, SOA, TXT},
    },
};

use crate::zone::{PodMode, Zone, names};

/// TTL of `dns-version`, which never changes.
const VERSION_TTL: u32 = 28_800;

/// Version of the Kubernetes DNS specification that the answers follow.
const VERSION: &str = "1.1.0";

/// What is left to a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The whole question. The answer beside it is for a client that may not ask further.
    Question,
    /// The target of the last CNAME in `answers`.
    Target(Name),
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
    if question.query_class() != DNSClass::IN {
        return Answer::code(ResponseCode::Refused);
    }
    if matches!(question.query_type(), RecordType::ANY | RecordType::AXFR | RecordType::IXFR) {
        return Answer::code(ResponseCode::Refused);
    }
    if zone.domain.is_empty() && zone.serial == 0 {
        return Answer::code(ResponseCode::ServFail);
    }
    let asked = Asked { zone, name: question.name(), record_type: question.query_type(), local };
    match labels_below(asked.name, &zone.domain) {
        Some(labels) => asked.in_zone(&labels),
        None if is_arpa(asked.name) => asked.reverse(),
        None => Answer { outside: Some(Outside::Question), ..Answer::code(ResponseCode::Refused) },
    }
}

/// One question and where it is answered.
struct Asked<'a> {
    zone: &'a Zone,
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

    fn apex(&self) -> Answer {
        let data = match self.record_type {
            RecordType::SOA => RData::SOA(soa(self.name, self.zone.serial, self.ttl())),
            RecordType::NS => match ns_name(self.name) {
                Some(target) => RData::NS(NS(target)),
                None => return self.nothing(ResponseCode::NoError),
            },
            _ => return self.nothing(ResponseCode::NoError),
        };
        let mut answer = Answer::found(vec![self.record(data)]);
        if self.record_type == RecordType::NS {
            let target = ns_name(self.name).into_iter();
            let glue =
                target.filter_map(|name| Some(address_record(name, self.local?, self.ttl())));
            answer.additionals = glue.collect();
        }
        answer
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

    fn version(&self) -> Answer {
        if self.record_type != RecordType::TXT {
            return self.nothing(ResponseCode::NoError);
        }
        let data = RData::TXT(TXT::new(vec![VERSION.to_owned()]));
        Answer::found(vec![Record::from_rdata(self.name.clone(), VERSION_TTL, data)])
    }

    fn name_server(&self) -> Answer {
        match self.local {
            Some(address) if self.record_type == address_type(address) => {
                Answer::found(vec![address_record(self.name.clone(), address, self.ttl())])
            },
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    /// Answers a name under in-addr.arpa or ip6.arpa. What this zone does not know may be known
    /// outside.
    fn reverse(&self) -> Answer {
        let names = reverse_address(self.name).and_then(|address| self.zone.reverse.get(&address));
        let Some(names) = names else {
            let outside = Some(Outside::Question);
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
        let apex = if is_arpa(self.name) {
            Some(self.name.trim_to(2).to_lowercase())
        } else {
            absolute(&self.zone.domain)
        };
        let soa = apex.map(|apex| {
            let data = RData::SOA(soa(&apex, self.zone.serial, self.ttl()));
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

fn soa(apex: &Name, serial: u32, ttl: u32) -> SOA {
    let apex = apex.to_lowercase();
    let host = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
    let server = ns_name(&apex).unwrap_or_else(|| apex.clone());
    SOA::new(server, host, serial, 7_200, 1_800, 86_400, ttl)
}

fn ns_name(apex: &Name) -> Option<Name> {
    apex.to_lowercase().prepend_label("dns").ok()?.prepend_label("ns").ok()
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

/// The labels of `name` left of `domain`, lower case; `None` when `name` is not in `domain`. They
/// stay apart: a dot inside a label is no separator, and no name of the map has one.
fn labels_below(name: &Name, domain: &str) -> Option<Vec<String>> {
    let mut labels = name.iter();
    for wanted in domain.rsplit('.') {
        if !labels.next_back()?.eq_ignore_ascii_case(wanted.as_bytes()) {
            return None;
        }
    }
    // Each byte becomes one character, so bytes that are no text stay distinct labels.
    let lower = |byte: &u8| char::from(byte.to_ascii_lowercase());
    Some(labels.map(|label| label.iter().map(lower).collect()).collect())
}

fn is_arpa(name: &Name) -> bool {
    let mut labels = name.iter().rev();
    let last = labels.next().is_some_and(|label| label.eq_ignore_ascii_case(b"arpa"));
    last && labels.next().is_some_and(|label| {
        label.eq_ignore_ascii_case(b"in-addr") || label.eq_ignore_ascii_case(b"ip6")
    })
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
