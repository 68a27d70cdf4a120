//! The bytes of an answer to a plain question.
//!
//! Called by `plain`. Always holds: the bytes are those that the encoder of `wire` gives, its compression
//! included. That one writes a name in full before it looks for an earlier one to point at, and finds no
//! room where the full name has none; so this counts the same way.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;

use super::{OPT, Plain, TYPE_AND_CLASS};
use crate::{
    dns::wire::{HEADER, MAX_UDP, Recursion, Size},
    zone::Zone,
};

/// A pointer to the name of the question.
const TO_QUESTION: [u8; 2] = [0xc0, 0x0c];

/// Type, class, TTL and length of a record's data.
const RECORD: usize = 10;

/// Refresh, retry and expire of a SOA record (RFC 1035 3.3.13), as `answer` has them.
const SOA_TIMES: [u32; 3] = [7_200, 1_800, 86_400];

/// Writes one answer.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    limit: usize,
    /// Length of the question's name on the wire.
    name: usize,
    edns: bool,
    answers: u16,
    authorities: u16,
}

impl<'a> Writer<'a> {
    /// With the header and the question in `out`; nothing if that has not the room for any answer.
    pub(super) fn new(plain: &Plain<'_>, recursion: Recursion, out: &'a mut [u8]) -> Option<Self> {
        let out = out.get_mut(..usize::from(MAX_UDP))?;
        // One byte for each label's length or dot, the first label's and the root's.
        let name = plain.length + 2;
        let question = HEADER + name + TYPE_AND_CLASS;
        out[..question].copy_from_slice(&plain.packet[..question]);
        // A response with authority; of the question's flags, those for recursion and checking stay.
        out[2] = 0x84 | (plain.packet[2] & 0x01);
        let available = if recursion == Recursion::Available { 0x80 } else { 0 };
        out[3] = available | (plain.packet[3] & 0x10);
        let limit = usize::from(plain.limit);
        Some(Self { out, at: question, limit, name, edns: plain.edns, answers: 0, authorities: 0 })
    }

    /// Writes an address of the question's name; whether there was room.
    pub(super) fn address(&mut self, address: IpAddr, ttl: u32) -> bool {
        match address {
            IpAddr::V4(v4) => self.record_of_question(1, ttl, &v4.octets()),
            IpAddr::V6(v6) => self.record_of_question(28, ttl, &v6.octets()),
        }
    }

    fn record_of_question(&mut self, record_type: u16, ttl: u32, data: &[u8]) -> bool {
        let end = self.at + TO_QUESTION.len() + RECORD + data.len();
        // The root's byte is not written before the pointer is found.
        if end.max(self.at + self.name - 1) > self.limit {
            return false;
        }
        self.put(&TO_QUESTION);
        self.fixed(record_type, ttl, data.len());
        self.put(data);
        self.answers += 1;
        true
    }

    /// Writes the SOA record of the zone, whose domain stands at `domain` in the question; whether there
    /// was room.
    pub(super) fn soa(&mut self, domain: usize, zone: &Zone) -> bool {
        const SERVER: &[u8] = b"\x02ns\x03dns";
        const PERSON: &[u8] = b"\x0ahostmaster";
        const DATA: usize = SERVER.len() + 2 + PERSON.len() + 2 + 20;
        // A length and the text, without the root's byte.
        let in_full = zone.domain.len() + 1;
        let server = self.at + 2 + RECORD;
        let person = server + SERVER.len() + 2;
        let most = [
            self.at + in_full,
            server + SERVER.len() + in_full,
            person + PERSON.len() + in_full,
            server + DATA,
        ];
        if most.into_iter().any(|end| end > self.limit) {
            return false;
        }
        let [high, low] = u16::try_from(domain).unwrap_or_default().to_be_bytes();
        let pointer = [0xc0 | high, low];
        let ttl = zone.options.ttl;
        self.put(&pointer);
        self.fixed(6, ttl.min(300), DATA);
        self.put(SERVER);
        self.put(&pointer);
        self.put(PERSON);
        self.put(&pointer);
        self.put(&zone.serial.to_be_bytes());
        for time in SOA_TIMES {
            self.put(&time.to_be_bytes());
        }
        self.put(&ttl.to_be_bytes());
        self.authorities = 1;
        true
    }

    /// Type, class IN, TTL and length of a record.
    fn fixed(&mut self, record_type: u16, ttl: u32, length: usize) {
        self.put(&record_type.to_be_bytes());
        self.put(&[0, 1]);
        self.put(&ttl.to_be_bytes());
        self.put(&u16::try_from(length).unwrap_or_default().to_be_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Ends the answer, which is cut if its records did not fit. Its length; nothing if even the cut one has
    /// no room.
    pub(super) fn finish(mut self, rcode: ResponseCode, fits: bool) -> Option<(usize, Size)> {
        let end = if self.edns { OPT } else { 0 };
        let size = if fits && self.at + end <= self.limit { Size::Whole } else { Size::Truncated };
        if size == Size::Truncated {
            self.at = HEADER + self.name + TYPE_AND_CLASS;
            (self.answers, self.authorities) = (0, 0);
            self.out[2] |= 0x02;
        }
        if self.at + end > self.limit {
            return None;
        }
        if self.edns {
            let [high, low] = MAX_UDP.to_be_bytes();
            self.put(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        }
        self.out[3] |= rcode.low();
        self.out[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.out[8..10].copy_from_slice(&self.authorities.to_be_bytes());
        self.out[10..12].copy_from_slice(&u16::from(self.edns).to_be_bytes());
        Some((self.at, size))
    }
}
