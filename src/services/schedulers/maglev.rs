//! `mh`: Maglev hashing. Each server fills the table in an order of its own, so that a server that
//! leaves moves few keys but its own.
//!
//! Always holds: the table depends on servers, their order and weights alone, and a server that is to be left (weight
//! 0) keeps the entries of the weight that it had, so that nobody else moves. Hashes are those of Linux on 64-bit
//! machines, so the same servers in the order of `ipvsadm -L` give the same table there. With 4093
//! entries the kernel's table moves some clients of others, too: 2.7 % of all, on average, when one of 50
//! servers leaves.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{Server, divisor, folded, heaviest};

/// A prime, and the kernel's default.
const SIZE: u32 = 4093;
/// Bits of the largest share of the table that a server takes in one turn.
const TURN_BITS: u32 = 6;
const FIRST: u64 = 2_654_435_761;
const SECOND: u64 = 2_654_446_892;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Maglev {
    /// Index of the server of each entry; empty when no server has had a weight.
    entries: Vec<usize>,
    /// The weights that servers had before they had 0 (the kernel's `last_weight`).
    weights: HashMap<SocketAddr, u32>,
}

/// One server's way through the table.
struct Walk {
    server: usize,
    at: u32,
    skip: u32,
    /// Entries that it takes in one turn.
    turns: u32,
}

impl Maglev {
    pub(super) fn fill(&mut self, servers: &[Server]) {
        self.entries.clear();
        let weight = |server: &Server| match server.weight {
            0 => self.weights.get(&server.address).copied().unwrap_or(0),
            weight => weight,
        };
        let servers: Vec<Server> =
            servers.iter().map(|server| Server { weight: weight(server), ..*server }).collect();
        let servers = &servers[..];
        self.weights = servers.iter().map(|server| (server.address, server.weight)).collect();
        let divisor = divisor(servers);
        if divisor == 0 {
            return;
        }
        let used = u32::BITS - (heaviest(servers) / divisor).leading_zeros();
        let shift = used.saturating_sub(TURN_BITS);
        let takers = servers.iter().enumerate().filter(|(_, server)| server.weight > 0);
        let mut walks: Vec<Walk> = takers
            .map(|(index, server)| {
                let (address, port) = (server.address.ip(), server.address.port());
                Walk {
                    server: index,
                    at: hash(address, port, FIRST) % SIZE,
                    skip: hash(address, port, SECOND) % (SIZE - 1) + 1,
                    turns: ((server.weight / divisor) >> shift).max(1),
                }
            })
            .collect();
        let mut table: Vec<Option<usize>> = vec![None; SIZE as usize];
        let mut left = SIZE;
        'full: loop {
            for walk in &mut walks {
                for _ in 0..walk.turns {
                    // The skip and the prime size have no common divisor, so a free entry is met.
                    while table[walk.at as usize].is_some() {
                        walk.at = (walk.at + walk.skip) % SIZE;
                    }
                    table[walk.at as usize] = Some(walk.server);
                    left -= 1;
                    if left == 0 {
                        break 'full;
                    }
                }
            }
        }
        self.entries.extend(table.into_iter().flatten());
    }

    /// The server of a client: of its port, too, as with the flag `mh-port`, which kube-proxy sets.
    pub(super) fn get(&self, client: SocketAddr) -> Option<usize> {
        let hash = hash(client.ip(), client.port(), FIRST);
        self.entries.get((hash % SIZE) as usize).copied()
    }
}

fn hash(address: IpAddr, port: u16, key: u64) -> u32 {
    let sum = folded(address).wrapping_add(port.into());
    let hashed = siphash_1_3(sum.to_le_bytes(), key);
    // The kernel keeps the lower half.
    u32::try_from(hashed & u64::from(u32::MAX)).unwrap_or_default()
}

/// SipHash-1-3 of four bytes, both halves of the key the same.
fn siphash_1_3(message: [u8; 4], key: u64) -> u64 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    let last = (4 << 56) | u64::from(u32::from_le_bytes(message));
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher as _};

    use super::*;

    /// What ip_vs_mh.c comes to for these servers, worked out by another program after its text: entries of each
    /// server, and the servers of the first 48 entries.
    #[test]
    fn the_table_is_that_of_the_kernel() {
        let v4 = |last| SocketAddr::from(([10, 0, 0, last], 8080));
        let v6 = |last: u8| SocketAddr::new(format!("2001:db8::{last}").parse().unwrap(), 8443);
        let of = |places: [SocketAddr; 3], weights: [u32; 3]| {
            let server = |(address, weight)| Server { address, weight, active: 0, inactive: 0 };
            places.into_iter().zip(weights).map(server).collect::<Vec<_>>()
        };
        let (first, second) = ([v4(1), v4(2), v4(3)], [v6(1), v6(2), v6(3)]);
        let by_weight = "BCCBCCCCCCBCCBACCAACBACBABCCACBABCCACCABBCACCABC";
        for (servers, counts, entries) in [
            (
                of(first, [1, 1, 1]),
                [1365, 1364, 1364],
                "BCCAACBACCBACBACBAACBACBAACCACBAABCACCAABCACCABC",
            ),
            (of(first, [1, 2, 5]), [512, 1024, 2557], by_weight),
            // Divided by 10.
            (of(first, [10, 20, 50]), [512, 1024, 2557], by_weight),
            // Ten bits are four more than the six of the largest turn: 1, 4 and 62 at a time.
            (
                of(first, [1, 64, 1000]),
                [62, 248, 3783],
                "BCCCCCCCCCBCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
            ),
            (
                of(second, [1, 1, 1]),
                [1365, 1364, 1364],
                "CBAABABACCACCCBBAABABCCCCCABAABACABBACABACAABACC",
            ),
        ] {
            let mut table = Maglev::default();
            table.fill(&servers);
            let count = |index| table.entries.iter().filter(|entry| **entry == index).count();
            assert_eq!([count(0), count(1), count(2)], counts);
            let letter = |index: &usize| ["A", "B", "C"][*index];
            assert_eq!(table.entries[..48].iter().map(letter).collect::<String>(), entries);
        }
    }

    /// The entry of a client, by address and port.
    #[test]
    fn clients_are_looked_up_as_by_the_kernel() {
        let table = Maglev { entries: (0..SIZE as usize).collect(), ..Maglev::default() };
        for (client, entry) in [
            ("10.128.0.7:40000", 2589),
            ("10.128.0.7:40001", 405),
            ("10.128.0.7:0", 2919),
            ("[2001:db8:1::5]:443", 4050),
        ] {
            assert_eq!(table.get(client.parse().unwrap()), Some(entry), "{client}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_standard_library() {
        for number in [0_u32, 1, 0x0a00_0001, u32::MAX] {
            let mut reference = DefaultHasher::new();
            reference.write(&number.to_le_bytes());
            assert_eq!(siphash_1_3(number.to_le_bytes(), 0), reference.finish(), "{number}");
        }
    }
}
