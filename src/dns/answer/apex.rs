//! What the top of a zone answers: SOA, NS and the names of the name servers; and the version of the
//! specification that the zone follows.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{NS, SOA, TXT},
    },
};

use super::{Answer, Asked, absolute, address_record, address_type};
use crate::zone::{ServiceEntry, names};

/// TTL of `dns-version`, which never changes.
const VERSION_TTL: u32 = 28_800;

/// Version of the Kubernetes DNS specification that the answers follow.
const VERSION: &str = "1.1.0";

impl Asked<'_> {
    pub(super) fn apex(&self) -> Answer {
        match self.record_type {
            RecordType::SOA => {
                let data = RData::SOA(soa(self.name, self.zone.serial, self.ttl()));
                Answer::found(vec![self.record(data)])
            },
            RecordType::NS => self.name_servers(),
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    fn name_servers(&self) -> Answer {
        let servers = self.servers();
        let mut names: Vec<Name> = servers.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        if names.is_empty() {
            // Clients reach this server at an address that it does not know.
            names.extend(absolute(self.apex).and_then(|apex| default_name(&apex)));
        }
        let records = names.into_iter().map(|name| self.record(RData::NS(NS(name)))).collect();
        let glue = servers.into_iter();
        let glue = glue.map(|(name, address)| address_record(name, address, self.ttl())).collect();
        Answer { additionals: glue, ..Answer::found(records) }
    }

    /// Answers `ns.dns`, the name of the SOA record, with the addresses of the name servers.
    pub(super) fn name_server(&self) -> Answer {
        let addresses = self.servers().into_iter().map(|(_, address)| address);
        let records: Vec<Record> = addresses
            .filter(|address| address_type(*address) == self.record_type)
            .map(|address| self.record(RData::from(address)))
            .collect();
        if records.is_empty() {
            return self.nothing(ResponseCode::NoError);
        }
        Answer::found(records)
    }

    /// The name servers, as CoreDNS finds them: the names of the DNS Service with its virtual
    /// addresses, or with its endpoints when it is headless; else `ns.dns` at this server's own
    /// address (spec/l4-dns.md C.3).
    fn servers(&self) -> Vec<(Name, IpAddr)> {
        let found: Vec<_> =
            self.dns_services().into_iter().flat_map(|s| self.of_service(s)).collect();
        if !found.is_empty() {
            return found;
        }
        let name = absolute(self.apex).and_then(|apex| default_name(&apex));
        name.zip(self.local).into_iter().collect()
    }

    /// The Service that was named, or those whose virtual address or endpoint this server is.
    fn dns_services(&self) -> Vec<&ServiceEntry> {
        if let Some(key) = &self.zone.options.dns_service {
            return self.zone.shown(&self.zone.fqdn(key)).map(AsRef::as_ref).into_iter().collect();
        }
        let names = self.local.and_then(|address| self.zone.reverse.get(&address));
        // A virtual address stands for its Service, an endpoint for a label below its Service.
        let below = |name: &str| name.split_once('.').and_then(|(_, rest)| self.zone.shown(rest));
        let found = names.into_iter().flatten();
        found
            .filter_map(|name| self.zone.shown(name).or_else(|| below(name)))
            .map(AsRef::as_ref)
            .collect()
    }

    fn of_service(&self, service: &ServiceEntry) -> Vec<(Name, IpAddr)> {
        if !service.is_headless() {
            let name = absolute(&service.fqdn);
            return name.map_or_else(Vec::new, |name| {
                service.vips.iter().map(|address| (name.clone(), *address)).collect()
            });
        }
        let ready = service.endpoints.iter().filter(|endpoint| endpoint.ready);
        ready
            .filter_map(|endpoint| {
                let label = names::endpoint_label(endpoint, self.zone.options.endpoint_pod_names);
                Some((absolute(&format!("{label}.{}", service.fqdn))?, endpoint.address))
            })
            .collect()
    }

    pub(super) fn version(&self) -> Answer {
        if self.record_type != RecordType::TXT {
            return self.nothing(ResponseCode::NoError);
        }
        let data = RData::TXT(TXT::new(vec![VERSION.to_owned()]));
        Answer::found(vec![Record::from_rdata(self.name.clone(), VERSION_TTL, data)])
    }
}

pub(super) fn soa(apex: &Name, serial: u32, ttl: u32) -> SOA {
    let apex = apex.to_lowercase();
    let host = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
    let server = default_name(&apex).unwrap_or_else(|| apex.clone());
    SOA::new(server, host, serial, 7_200, 1_800, 86_400, ttl)
}

fn default_name(apex: &Name) -> Option<Name> {
    apex.to_lowercase().prepend_label("dns").ok()?.prepend_label("ns").ok()
}
