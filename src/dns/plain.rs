//! Plain questions, answered in place: from the bytes of the packet to the bytes of the answer, without an
//! allocation.
//!
//! Called by `dns::server` for every datagram, before `wire` and `answer` are. Pure. Always holds: what this
//! answers, it answers with the very bytes that `answer` and `wire` would give; whatever it is not sure of it
//! leaves to them. That is: several questions, records other than an OPT without options, classes other than
//! IN, names beyond `MAX_NAME` bytes, `MAX_LABELS` labels or letters, digits and marks, the names of the
//! zone's own apex, of pods, ports and external names, SRV records, and every name outside the zone.

mod reply;

use std::net::IpAddr;

use hickory_proto::{op::ResponseCode, rr::RecordType};

use self::reply::Writer;
use super::wire::{HEADER, MAX_UDP, PLAIN_UDP, Recursion, Size};
use crate::zone::{EndpointEntry, ServiceEntry, Zone, names};

/// Longest name that is read here, in bytes on the wire.
const MAX_NAME: usize = 240;

/// Most labels of a name that is read here: the encoder of `wire` remembers up to 64 places.
const MAX_LABELS: usize = 32;

/// Bytes of type and class behind a name.
const TYPE_AND_CLASS: usize = 4;

/// Bytes of an OPT record without options.
const OPT: usize = 11;

/// A question that needs no decoder.
#[derive(Debug)]
pub struct Plain<'a> {
    packet: &'a [u8],
    /// The name in lower case with dots, without the last one.
    name: [u8; MAX_NAME],
    /// Length of `name`.
    length: usize,
    /// Where each label starts in `name`.
    labels: [u8; MAX_LABELS],
    count: usize,
    record_type: RecordType,
    edns: bool,
    limit: u16,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the answer.
    pub length: usize,
    /// Its code.
    pub rcode: ResponseCode,
    /// Whether it is whole.
    pub size: Size,
}

/// What a name comes to.
enum Verdict<'z> {
    /// These addresses, as far as they are of the wanted family.
    Found(Addresses<'z>),
    /// The name does not exist, or not with this type.
    Nothing(ResponseCode),
}

/// Addresses that a name of a Service stands for.
#[derive(Clone, Copy)]
enum Addresses<'z> {
    Virtual(&'z [IpAddr]),
    Endpoints(&'z ServiceEntry, Wanted<'z>),
}

/// Which endpoints of a Service are meant.
#[derive(Clone, Copy)]
enum Wanted<'z> {
    All,
    Labelled { label: &'z str, address: Option<IpAddr>, pod_names: bool },
}

impl<'a> Plain<'a> {
    /// Reads `packet`; nothing if it is not as plain as it has to be.
    #[must_use]
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        let header = packet.first_chunk::<HEADER>()?;
        // A query with one question, no answer, no authority and at most one additional record.
        if header[2] & 0xf8 != 0 || header[4..10] != [0, 1, 0, 0, 0, 0] || header[10] != 0 {
            return None;
        }
        let mut plain = Self {
            packet,
            name: [0; MAX_NAME],
            length: 0,
            labels: [0; MAX_LABELS],
            count: 0,
            record_type: RecordType::ZERO,
            edns: false,
            limit: PLAIN_UDP,
        };
        let name_end = plain.read_name()?;
        let (fixed, rest) = packet.get(name_end..)?.split_first_chunk::<TYPE_AND_CLASS>()?;
        let [type_high, type_low, 0, 1] = *fixed else { return None };
        plain.record_type = supported(u16::from_be_bytes([type_high, type_low]))?;
        match (header[11], rest) {
            (0, []) => {},
            // Root, type 41, size, extended code, version 0, flags, no options (RFC 6891 6.1.2).
            (1, [0, 0, 41, high, low, _, 0, _, _, 0, 0]) => {
                plain.edns = true;
                plain.limit = u16::from_be_bytes([*high, *low]).clamp(PLAIN_UDP, MAX_UDP);
            },
            _ => return None,
        }
        Some(plain)
    }

    /// Takes the name out of the packet; where it ends there.
    fn read_name(&mut self) -> Option<usize> {
        let mut at = HEADER;
        loop {
            let length = usize::from(*self.packet.get(at)?);
            let text = self.packet.get(at + 1..at + 1 + length)?;
            if length == 0 {
                return (self.count > 0).then_some(at + 1);
            }
            // Also refuses a pointer, whose length would be above 63.
            if length > 63 || at + 2 + length - HEADER > MAX_NAME {
                return None;
            }
            if self.count > 0 {
                self.name[self.length] = b'.';
                self.length += 1;
            }
            *self.labels.get_mut(self.count)? = u8::try_from(self.length).ok()?;
            self.count += 1;
            for byte in text {
                if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                    return None;
                }
                self.name[self.length] = byte.to_ascii_lowercase();
                self.length += 1;
            }
            at += 1 + length;
        }
    }

    /// The type that is asked for.
    #[must_use]
    pub const fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// Writes the answer of `zone` into `out`, which has room for [`MAX_UDP`] bytes; nothing if it is for
    /// the decoder to answer.
    #[must_use]
    pub fn answer(&self, zone: &Zone, recursion: Recursion, out: &mut [u8]) -> Option<Written> {
        let below = self.labels_below(&zone.domain)?;
        let mut writer = Writer::new(self, recursion, out)?;
        let (rcode, fits) = match self.verdict(zone, below)? {
            Verdict::Found(addresses) => match self.addresses(addresses, zone, &mut writer) {
                Some(fits) => (ResponseCode::NoError, fits),
                // No address of the family.
                None => (ResponseCode::NoError, self.soa(zone, &mut writer)?),
            },
            Verdict::Nothing(rcode) => (rcode, self.soa(zone, &mut writer)?),
        };
        let (length, size) = writer.finish(rcode, fits)?;
        Some(Written { length, rcode, size })
    }

    /// How many labels stand left of `domain`; nothing if none does, or the name is not in `domain`.
    fn labels_below(&self, domain: &str) -> Option<usize> {
        let name = &self.name[..self.length];
        let left = name.strip_suffix(domain.as_bytes())?.strip_suffix(b".")?;
        (!domain.is_empty()).then_some(())?;
        Some(self.labels[..self.count].partition_point(|start| usize::from(*start) < left.len()))
    }

    /// The label `index`, in lower case.
    fn label(&self, index: usize) -> &str {
        let start = usize::from(self.labels[index]);
        let end = self.labels[..self.count].get(index + 1);
        let end = end.map_or(self.length, |next| usize::from(*next) - 1);
        self.text(start, end)
    }

    /// The name from label `index` on, in lower case.
    fn name_from(&self, index: usize) -> &str {
        self.text(usize::from(self.labels[index]), self.length)
    }

    /// A part of the name; all of it is ASCII.
    fn text(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(&self.name[start..end]).unwrap_or_default()
    }

    /// What the name comes to, of which `below` labels stand left of the domain. As `answer` has it.
    fn verdict<'z>(&'z self, zone: &'z Zone, below: usize) -> Option<Verdict<'z>> {
        let nothing = |exists: bool| {
            let rcode = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
            Some(Verdict::Nothing(rcode))
        };
        match self.label(below - 1) {
            "svc" if below == 1 => nothing(true),
            "svc" if below == 2 => nothing(zone.has_namespace(self.label(0))),
            "svc" => match zone.shown(self.name_from(below - 3)) {
                None => nothing(false),
                Some(entry) => self.service(zone, entry, below - 3),
            },
            // Names with an answer of their own, and those that the SOA record shares labels with.
            "pod" | "dns-version" | "dns" | "hostmaster" => None,
            _ => nothing(false),
        }
    }

    /// What a name of the Service `entry` comes to, with `left` labels left of the Service's.
    fn service<'z>(
        &'z self,
        zone: &Zone,
        entry: &'z ServiceEntry,
        left: usize,
    ) -> Option<Verdict<'z>> {
        if left > 2 || (left > 0 && entry.external_name.is_some()) {
            return Some(Verdict::Nothing(ResponseCode::NXDomain));
        }
        if left == 2 || entry.external_name.is_some() {
            return None;
        }
        let addresses = if left == 1 {
            let pod_names = zone.options.endpoint_pod_names;
            let label = self.label(0);
            let address = names::label_address(label);
            Addresses::Endpoints(entry, Wanted::Labelled { label, address, pod_names })
        } else if entry.vips.is_empty() {
            Addresses::Endpoints(entry, Wanted::All)
        } else if zone.options.ignore_empty_service && !entry.endpoints.iter().any(|one| one.ready)
        {
            return Some(Verdict::Nothing(ResponseCode::NXDomain));
        } else {
            Addresses::Virtual(&entry.vips)
        };
        if addresses.iter().next().is_none() {
            return Some(Verdict::Nothing(ResponseCode::NXDomain));
        }
        match self.record_type {
            RecordType::A | RecordType::AAAA => Some(Verdict::Found(addresses)),
            RecordType::SRV => None,
            _ => Some(Verdict::Nothing(ResponseCode::NoError)),
        }
    }

    /// Writes the addresses of the wanted family, each once; whether they fit. Nothing if there are none.
    fn addresses(
        &self,
        addresses: Addresses<'_>,
        zone: &Zone,
        writer: &mut Writer<'_>,
    ) -> Option<bool> {
        let v6 = self.record_type == RecordType::AAAA;
        let mut last = None;
        for address in addresses.iter().filter(|address| address.is_ipv6() == v6) {
            // Equal ones stand side by side.
            if last.replace(address) == Some(address) {
                continue;
            }
            if !writer.address(address, zone.options.ttl) {
                return Some(false);
            }
        }
        last.map(|_| true)
    }

    /// Writes the SOA record of a negative answer; whether it fits. Nothing if the client's spelling of the
    /// domain is not ours, so that less of it can be pointed at.
    fn soa(&self, zone: &Zone, writer: &mut Writer<'_>) -> Option<bool> {
        let start = self.length - zone.domain.len();
        let spelled = &self.packet[HEADER + 1 + start..HEADER + 1 + self.length];
        // Lengths of labels are below the letters.
        if spelled.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        Some(writer.soa(HEADER + start, zone))
    }
}

impl Addresses<'_> {
    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (vips, entry) = match *self {
            Self::Virtual(vips) => (vips, None),
            Self::Endpoints(entry, wanted) => (&[][..], Some((entry, wanted))),
        };
        let endpoints = entry.into_iter().flat_map(|(entry, wanted)| {
            entry.endpoints.iter().filter(move |endpoint| wanted.has(endpoint))
        });
        vips.iter().copied().chain(endpoints.map(|endpoint| endpoint.address))
    }
}

impl Wanted<'_> {
    fn has(&self, endpoint: &EndpointEntry) -> bool {
        let labelled = match *self {
            Self::All => true,
            Self::Labelled { label, address, pod_names } => {
                match names::own_label(endpoint, pod_names) {
                    Some(own) => own == label,
                    None => address == Some(endpoint.address),
                }
            },
        };
        labelled && endpoint.ready && !endpoint.ports.is_empty()
    }
}

/// The types that are answered here: they have addresses, or are known to have nothing.
fn supported(number: u16) -> Option<RecordType> {
    let record_type = RecordType::from(number);
    matches!(
        record_type,
        RecordType::A
            | RecordType::AAAA
            | RecordType::CNAME
            | RecordType::HTTPS
            | RecordType::MX
            | RecordType::NS
            | RecordType::PTR
            | RecordType::SOA
            | RecordType::SRV
            | RecordType::SVCB
            | RecordType::TXT
    )
    .then_some(record_type)
}

#[cfg(test)]
mod tests;
