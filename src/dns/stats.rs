//! What the DNS server counts.
//!
//! Written by every task of the server, read by `metrics`. Each UDP loop has a cell of its own, so that loops
//! do not share cache lines; TCP clients and forwarded questions share the last cell. Nothing is ever reset.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::stats::PerWorker;

/// A count with any number of writers.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
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

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As CoreDNS names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Families of client addresses by CoreDNS's numbers.
pub const FAMILIES: [&str; 2] = ["1", "2"];

/// Who answered, in CoreDNS's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// The resolver for names outside.
    Forward,
    /// The zone.
    Kubernetes,
    /// None: the query was not fit to be handed to one.
    #[default]
    None,
}

impl Plugin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Kubernetes, Self::None];

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Kubernetes => "kubernetes",
            Self::None => "",
        }
    }
}

/// Query types with a count of their own, as CoreDNS has them; the last column stands for every other type.
pub const TYPES: [&str; 19] = [
    "A", "AAAA", "ANY", "AXFR", "CNAME", "DNSKEY", "DS", "HTTPS", "IXFR", "MX", "NS", "NSEC",
    "NSEC3", "PTR", "RRSIG", "SOA", "SRV", "TXT", "other",
];

/// Response codes with a count of their own; the last column stands for every other code.
pub const RCODES: [&str; 8] =
    ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other"];

/// Upper bounds of sizes in bytes, as CoreDNS has them; what is bigger is in one more bucket.
pub const SIZES: [u32; 14] =
    [0, 100, 200, 300, 400, 511, 1_023, 2_047, 4_095, 8_291, 16_000, 32_000, 48_000, 64_000];

/// Upper bounds of times in microseconds: 16 from 250 on, each the double of the one before, as CoreDNS has
/// them; what is longer is in one more bucket.
pub const MICROS: [u32; 16] = {
    let mut bounds = [250; 16];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

/// Counts by bucket, `N` of them, and their sum.
#[derive(Debug)]
pub struct Buckets<const N: usize> {
    counts: [Total; N],
    sum: Total,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Total::default()), sum: Total::default() }
    }
}

impl<const N: usize> Buckets<N> {
    /// Takes `value`, `times` times; `bounds` are one fewer than there are buckets.
    fn add(&self, bounds: &[u32], value: usize, times: u64) {
        let bucket = bounds.partition_point(|bound| (*bound as usize) < value);
        self.counts[bucket.min(N - 1)].add(times);
        self.sum.add(times * value as u64);
    }
}

/// A histogram over all cells: counts by bucket, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many up to each bound and above the one before; the last is of those above all.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

/// What one UDP loop counts, or all else together.
#[derive(Debug, Default)]
pub struct Cell {
    /// By transport, family and type.
    queries: [[[Total; TYPES.len()]; 2]; 2],
    /// By who answered, and code.
    responses: [[Total; RCODES.len()]; Plugin::ALL.len()],
    /// By transport.
    query_sizes: [Buckets<{ SIZES.len() + 1 }>; 2],
    /// By transport.
    response_sizes: [Buckets<{ SIZES.len() + 1 }>; 2],
    times: Buckets<{ MICROS.len() + 1 }>,
}

impl Cell {
    /// Counts a query of `size` bytes.
    pub fn query(
        &self,
        transport: Transport,
        client: IpAddr,
        record_type: RecordType,
        size: usize,
    ) {
        let family = usize::from(client.is_ipv6());
        let transport = transport as usize;
        self.queries[transport][family][type_index(record_type)].add_one();
        self.query_sizes[transport].add(&SIZES, size, 1);
    }

    /// Counts a response of `size` bytes.
    pub fn response(&self, transport: Transport, plugin: Plugin, rcode: ResponseCode, size: usize) {
        self.responses[plugin as usize][rcode_index(rcode)].add_one();
        self.response_sizes[transport as usize].add(&SIZES, size, 1);
    }

    /// Counts how long `queries` questions took that were answered together.
    pub fn took(&self, time: Duration, queries: u64) {
        if queries > 0 {
            let micros = usize::try_from(time.as_micros()).unwrap_or(usize::MAX);
            self.times.add(&MICROS, micros.min(u32::MAX as usize), queries);
        }
    }
}

/// Counters of one DNS server.
#[derive(Debug)]
pub struct DnsStats {
    cells: PerWorker<Cell>,
    /// UDP loops that have a cell of their own.
    loops: usize,
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
    /// Queries whose handling panicked.
    pub panics: Total,
    /// Zones that were put in force.
    pub zones: Total,
}

impl Default for DnsStats {
    fn default() -> Self {
        Self::new(1)
    }
}

impl DnsStats {
    /// Counters of a server with `loops` UDP loops.
    #[must_use]
    pub fn new(loops: usize) -> Self {
        Self {
            cells: PerWorker::new(loops + 1),
            loops,
            truncated: Total::default(),
            tcp_clients: Total::default(),
            tcp_clients_refused: Total::default(),
            forwards: Total::default(),
            forward_failures: Total::default(),
            forwards_refused: Total::default(),
            dropped: Total::default(),
            socket_errors: Total::default(),
            panics: Total::default(),
            zones: Total::default(),
        }
    }

    /// The cell of the UDP loop `index`.
    #[must_use]
    pub fn of_loop(&self, index: usize) -> &Cell {
        self.cells.cell(index % self.loops.max(1))
    }

    /// The cell of all but UDP loops.
    #[must_use]
    pub fn shared(&self) -> &Cell {
        self.cells.cell(self.loops)
    }

    /// Queries by transport, index of family and index of type.
    #[must_use]
    pub fn queries(&self, transport: Transport, family: usize, record_type: usize) -> u64 {
        let count = |cell: &Cell| cell.queries[transport as usize][family][record_type].load();
        self.cells.cells().map(count).sum()
    }

    /// Responses by who answered, and index of code.
    #[must_use]
    pub fn responses(&self, plugin: Plugin, rcode: usize) -> u64 {
        self.cells.cells().map(|cell| cell.responses[plugin as usize][rcode].load()).sum()
    }

    /// Sizes of queries, with the bounds of [`SIZES`].
    #[must_use]
    pub fn query_sizes(&self, transport: Transport) -> Distribution {
        self.distribution(|cell| &cell.query_sizes[transport as usize])
    }

    /// Sizes of responses, with the bounds of [`SIZES`].
    #[must_use]
    pub fn response_sizes(&self, transport: Transport) -> Distribution {
        self.distribution(|cell| &cell.response_sizes[transport as usize])
    }

    /// Times from a query to its answer in microseconds, with the bounds of [`MICROS`].
    #[must_use]
    pub fn times(&self) -> Distribution {
        self.distribution(|cell| &cell.times)
    }

    fn distribution<const N: usize>(&self, of: impl Fn(&Cell) -> &Buckets<N>) -> Distribution {
        let mut all = Distribution { counts: vec![0; N], sum: 0 };
        for buckets in self.cells.cells().map(of) {
            for (sum, count) in all.counts.iter_mut().zip(&buckets.counts) {
                *sum += count.load();
            }
            all.sum += buckets.sum.load();
        }
        all
    }
}

/// Index into [`TYPES`].
#[must_use]
pub fn type_index(record_type: RecordType) -> usize {
    match u16::from(record_type) {
        1 => 0,
        28 => 1,
        255 => 2,
        252 => 3,
        5 => 4,
        48 => 5,
        43 => 6,
        65 => 7,
        251 => 8,
        15 => 9,
        2 => 10,
        47 => 11,
        50 => 12,
        12 => 13,
        46 => 14,
        6 => 15,
        33 => 16,
        16 => 17,
        _ => 18,
    }
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
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn every_type_and_code_has_its_column() {
        for (index, name) in TYPES.iter().enumerate().take(TYPES.len() - 1) {
            // The library does not read its own name of this one.
            let read = |name: &str| name.parse().unwrap();
            let record_type = if *name == "IXFR" { RecordType::IXFR } else { read(name) };
            assert_eq!(type_index(record_type), index, "{name}");
        }
        assert_eq!(TYPES[type_index(RecordType::NAPTR)], "other");
        assert_eq!(RCODES[rcode_index(ResponseCode::NXDomain)], "NXDOMAIN");
        assert_eq!(RCODES[rcode_index(ResponseCode::BADKEY)], "other");
    }

    #[test]
    fn a_value_is_in_the_bucket_of_its_bound_and_cells_add_up() {
        let stats = DnsStats::new(2);
        assert_eq!((MICROS[0], MICROS[15]), (250, 8_192_000));
        let client = IpAddr::from(Ipv6Addr::LOCALHOST);
        for cell in [stats.of_loop(0), stats.of_loop(1), stats.shared()] {
            cell.query(Transport::Udp, client, RecordType::A, 100);
            cell.response(Transport::Udp, Plugin::Kubernetes, ResponseCode::NoError, 65_535);
            cell.took(Duration::from_micros(251), 5);
            cell.took(Duration::from_secs(9), 1);
        }
        assert_eq!(stats.queries(Transport::Udp, 1, 0), 3);
        assert_eq!(stats.responses(Plugin::Kubernetes, 0), 3);
        let sizes = stats.query_sizes(Transport::Udp);
        assert_eq!((sizes.counts[1], sizes.sum), (3, 300));
        assert_eq!(stats.response_sizes(Transport::Udp).counts[SIZES.len()], 3);
        let times = stats.times();
        assert_eq!((times.counts[1], times.counts[MICROS.len()]), (15, 3));
        assert_eq!(times.sum, 15 * 251 + 3 * 9_000_000);
    }
}
