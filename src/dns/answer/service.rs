//! Answers for the names of a Service: its virtual addresses, its endpoints, its ports, or its
//! external name.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SRV},
    },
};

use super::{Answer, Asked, Outside, absolute, address_record, address_type, labels_below};
use crate::zone::{EndpointEntry, Port, Protocol, ServiceEntry, ZoneOptions, names};

/// CNAMEs that are followed inside the zone for one question.
const CHAIN_LIMIT: usize = 10;

/// Which part of a Service a name means.
enum Part<'a> {
    Endpoint(&'a str),
    Port { name: &'a str, protocol: &'a str },
    Whole,
}

impl<'a> Part<'a> {
    /// From the labels left of the Service's name.
    fn of(labels: &[&'a str]) -> Option<Self> {
        let bare = |label: &'a str| label.strip_prefix('_').unwrap_or(label);
        match labels {
            [] => Some(Part::Whole),
            [label] => Some(Part::Endpoint(label)),
            [name, protocol] => Some(Part::Port { name: bare(name), protocol: bare(protocol) }),
            _ => None,
        }
    }

    fn has(&self, port: &Port) -> bool {
        match self {
            Part::Port { name, protocol } => {
                *port.name == **name && protocol_label(port.protocol) == *protocol
            },
            Part::Endpoint(_) | Part::Whole => true,
        }
    }
}

const fn protocol_label(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// One (address, port) that a name stands for. Port 0 is none: it has an address and no SRV.
struct Row<'a> {
    address: IpAddr,
    port: u16,
    /// The endpoint behind the address; none for a virtual address.
    endpoint: Option<&'a EndpointEntry>,
}

/// All rows of `part`; empty means that the name does not exist.
fn rows<'a>(entry: &'a ServiceEntry, part: &Part<'_>, options: &ZoneOptions) -> Vec<Row<'a>> {
    if let (false, Part::Port { .. } | Part::Whole) = (entry.vips.is_empty(), part) {
        let empty = !entry.endpoints.iter().any(|endpoint| endpoint.ready);
        if options.ignore_empty_service && empty {
            return Vec::new();
        }
        return virtual_rows(entry, part);
    }
    let by_address = match part {
        Part::Endpoint(label) => names::label_address(label),
        Part::Port { .. } | Part::Whole => None,
    };
    let wanted = |endpoint: &&EndpointEntry| match part {
        Part::Endpoint(label) => match names::own_label(endpoint, options.endpoint_pod_names) {
            Some(own) => own == *label,
            None => by_address == Some(endpoint.address),
        },
        Part::Port { .. } | Part::Whole => true,
    };
    let ready = entry.endpoints.iter().filter(|endpoint| endpoint.ready).filter(wanted);
    ready
        .flat_map(|endpoint| endpoint.ports.iter().map(move |port| (endpoint, port)))
        .filter(|(_, port)| part.has(port))
        .map(|(endpoint, port)| Row {
            address: endpoint.address,
            port: port.number,
            endpoint: Some(endpoint),
        })
        .collect()
}

fn virtual_rows<'a>(entry: &'a ServiceEntry, part: &Part<'_>) -> Vec<Row<'a>> {
    let row = |address: &IpAddr, port| Row { address: *address, port, endpoint: None };
    if entry.ports.is_empty() && matches!(part, Part::Whole) {
        return entry.vips.iter().map(|address| row(address, 0)).collect();
    }
    let ports = entry.ports.iter().filter(|port| part.has(port));
    ports.flat_map(|port| entry.vips.iter().map(|address| row(address, port.number))).collect()
}

impl Asked<'_> {
    pub(super) fn service(&self, labels: &[&str], service: &str, namespace: &str) -> Answer {
        let fqdn = format!("{service}.{namespace}.svc.{}", self.zone.domain);
        let Some((entry, part)) = self.zone.shown(&fqdn).zip(Part::of(labels)) else {
            return self.nothing(ResponseCode::NXDomain);
        };
        if let Some(target) = &entry.external_name {
            return match part {
                Part::Whole => self.external(target),
                Part::Endpoint(_) | Part::Port { .. } => self.nothing(ResponseCode::NXDomain),
            };
        }
        let rows = rows(entry, &part, &self.zone.options);
        if rows.is_empty() {
            return self.nothing(ResponseCode::NXDomain);
        }
        match self.record_type {
            RecordType::A | RecordType::AAAA => self.addresses(&rows),
            RecordType::SRV => self.ports(entry, &rows),
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    fn addresses(&self, rows: &[Row<'_>]) -> Answer {
        let family = rows.iter().filter(|row| address_type(row.address) == self.record_type);
        let mut addresses: Vec<IpAddr> = family.map(|row| row.address).collect();
        once_each(&mut addresses);
        if addresses.is_empty() {
            return self.nothing(ResponseCode::NoError);
        }
        let records = addresses.into_iter().map(|address| self.record(RData::from(address)));
        Answer::found(records.collect())
    }

    /// One SRV for each distinct target and port; the addresses of all targets are additional.
    fn ports(&self, entry: &ServiceEntry, rows: &[Row<'_>]) -> Answer {
        let weight = u16::try_from(100 / rows.len()).unwrap_or(1).max(1);
        let mut records = Vec::new();
        let mut glue = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut seen_glue = std::collections::HashSet::new();
        for row in rows.iter().filter(|row| row.port != 0) {
            let Some(target) = self.target(entry, row) else { continue };
            if seen_glue.insert((target.clone(), row.address)) {
                glue.push(address_record(target.clone(), row.address, self.ttl()));
            }
            if seen.insert((target.clone(), row.port)) {
                records.push(self.record(RData::SRV(SRV::new(0, weight, row.port, target))));
            }
        }
        if records.is_empty() {
            return self.nothing(ResponseCode::NoError);
        }
        Answer { additionals: glue, ..Answer::found(records) }
    }

    /// The CNAME of an ExternalName Service and, inside the zone, what it leads to.
    fn external(&self, first: &Arc<str>) -> Answer {
        let mut owner = self.name.clone();
        let mut target_name = Arc::clone(first);
        let mut chain = Vec::new();
        while chain.len() < CHAIN_LIMIT {
            let target = names::host_name(&target_name).and_then(|name| absolute(&name));
            // An address, or anything else that is no name, has no record.
            let Some(target) = target else { return self.nothing(ResponseCode::NXDomain) };
            let data = RData::CNAME(CNAME(target.clone()));
            chain.push(Record::from_rdata(owner, self.ttl(), data));
            if self.record_type == RecordType::CNAME {
                return Answer::found(chain);
            }
            let Some(labels) = labels_below(&target, &self.zone.domain) else {
                let outside = Some(Outside::Target(target));
                return Answer { outside, ..Answer::found(chain) };
            };
            match self.zone.shown(&target_name).and_then(|entry| entry.external_name.as_ref()) {
                Some(next) => target_name = Arc::clone(next),
                None => return self.chained(chain, &target, &labels),
            }
            owner = target;
        }
        Answer::code(ResponseCode::ServFail)
    }

    /// `chain` and behind it the answer for its last target, which is no ExternalName.
    fn chained(&self, mut chain: Vec<Record>, target: &Name, labels: &[String]) -> Answer {
        let last = Asked { name: target, ..*self }.in_zone(labels);
        chain.extend(last.answers);
        Answer { answers: chain, ..last }
    }

    /// The name that an SRV record of `row` points to.
    fn target(&self, entry: &ServiceEntry, row: &Row<'_>) -> Option<Name> {
        let Some(endpoint) = row.endpoint else { return absolute(&entry.fqdn) };
        let label = names::endpoint_label(endpoint, self.zone.options.endpoint_pod_names);
        absolute(&format!("{label}.{}", entry.fqdn))
    }
}

/// Keeps the first of equal addresses. Endpoints of one address stand side by side; virtual
/// addresses repeat for each port.
fn once_each(addresses: &mut Vec<IpAddr>) {
    let mut seen = std::collections::HashSet::with_capacity(addresses.len());
    addresses.retain(|address| seen.insert(*address));
}
