//! What the DNS server counts.
//!
//! Written by every task of the server, read by metrics. Nothing is ever reset.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hickory_proto::{op::ResponseCode, rr::RecordType};

/// A count with any number of writers.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    /// Adds one.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// On a TCP connection.
    Tcp,
    /// In a datagram.
    Udp,
}

/// Query types with a count of their own; the last column stands for every other type.
pub const TYPES: [&str; 9] = ["A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT", "other"];

/// Response codes with a count of their own; the last column stands for every other code.
pub const RCODES: [&str; 8] =
    ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other"];

/// Counters of one DNS server.
#[derive(Debug, Default)]
pub struct DnsStats {
    /// Queries by UDP, in the order of [`TYPES`].
    pub udp_queries: [Total; TYPES.len()],
    /// Queries by TCP, in the order of [`TYPES`].
    pub tcp_queries: [Total; TYPES.len()],
    /// Responses, in the order of [`RCODES`].
    pub responses: [Total; RCODES.len()],
    /// Responses cut to the client's size.
    pub truncated: Total,
    /// TCP clients accepted.
    pub tcp_clients: Total,
    /// TCP clients closed because too many were connected.
    pub tcp_clients_refused: Total,
    /// Queries handed to the resolver.
    pub forwards: Total,
    /// Of these, how many found no answer in time.
    pub forward_failures: Total,
    /// Queries not forwarded because too many were in flight.
    pub forwards_refused: Total,
    /// Packets without an answer: responses, too short ones, and answers that could not be sent.
    pub dropped: Total,
    /// Errors of accept and receive.
    pub socket_errors: Total,
}

impl DnsStats {
    /// Counts a query.
    pub fn count_query(&self, transport: Transport, record_type: RecordType) {
        let index = type_index(record_type);
        match transport {
            Transport::Tcp => self.tcp_queries[index].add_one(),
            Transport::Udp => self.udp_queries[index].add_one(),
        }
    }

    /// Counts a response.
    pub fn count_response(&self, rcode: ResponseCode) {
        self.responses[rcode_index(rcode)].add_one();
    }
}

/// Index into [`TYPES`].
#[must_use]
pub fn type_index(record_type: RecordType) -> usize {
    let name: &str = record_type.into();
    TYPES.iter().position(|known| *known == name).unwrap_or(TYPES.len() - 1)
}

/// Index into [`RCODES`].
#[must_use]
pub const fn rcode_index(rcode: ResponseCode) -> usize {
    match rcode {
        ResponseCode::NoError => 0,
        ResponseCode::FormErr => 1,
        ResponseCode::ServFail => 2,
        ResponseCode::NXDomain => 3,
        ResponseCode::NotImp => 4,
        ResponseCode::Refused => 5,
        ResponseCode::BADVERS => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_code_has_its_column() {
        assert_eq!(TYPES[type_index(RecordType::AAAA)], "AAAA");
        assert_eq!(TYPES[type_index(RecordType::TXT)], "TXT");
        assert_eq!(TYPES[type_index(RecordType::MX)], "other");
        assert_eq!(RCODES[rcode_index(ResponseCode::NXDomain)], "NXDOMAIN");
        assert_eq!(RCODES[rcode_index(ResponseCode::BADKEY)], "other");
    }
}
