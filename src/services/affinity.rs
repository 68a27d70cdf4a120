//! Session affinity by client address: which endpoint a client had last (spec/l4-dns.md B.1).
//!
//! One table for each port of a Service. Always holds: at most `capacity` clients, and the one that
//! was idle longest makes room; an entry counts until it was idle for longer than the timeout, and
//! every connection starts its time anew.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Clients and their endpoints.
#[derive(Debug)]
pub struct Affinity {
    timeout: Duration,
    capacity: usize,
    clients: HashMap<IpAddr, Entry>,
    /// Clients in the order of their last connection.
    order: BTreeMap<u64, IpAddr>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    endpoint: SocketAddr,
    used: Instant,
    turn: u64,
}

impl Affinity {
    /// An empty table. `capacity` is at least 1.
    #[must_use]
    pub fn new(timeout: Duration, capacity: usize) -> Self {
        let (clients, order) = (HashMap::new(), BTreeMap::new());
        Self { timeout, capacity: capacity.max(1), clients, order, next: 0 }
    }

    /// Takes over another timeout; it holds for known clients too.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The endpoint of `client`, when it still counts at `now`.
    #[must_use]
    pub fn get(&self, client: IpAddr, now: Instant) -> Option<SocketAddr> {
        let entry = self.clients.get(&client)?;
        let idle = now.saturating_duration_since(entry.used);
        (idle <= self.timeout).then_some(entry.endpoint)
    }

    /// Notes that `client` has a new connection to `endpoint`.
    pub fn put(&mut self, client: IpAddr, endpoint: SocketAddr, now: Instant) {
        let turn = self.next;
        self.next += 1;
        if let Some(old) = self.clients.insert(client, Entry { endpoint, used: now, turn }) {
            self.order.remove(&old.turn);
        }
        self.order.insert(turn, client);
        while self.clients.len() > self.capacity || self.oldest_is_over(now) {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.clients.remove(&oldest);
        }
    }

    fn oldest_is_over(&self, now: Instant) -> bool {
        let oldest = self.order.first_key_value().and_then(|(_, client)| self.clients.get(client));
        oldest.is_some_and(|entry| now.saturating_duration_since(entry.used) > self.timeout)
    }

    /// Number of clients that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// True when no client is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10_800);

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn endpoint(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8080))
    }

    /// [SVC-04]
    #[test]
    fn svc_4_a_client_keeps_its_endpoint_until_it_was_idle_for_longer_than_the_timeout() {
        let mut table = Affinity::new(TIMEOUT, 100);
        let start = Instant::now();
        assert_eq!(table.get(client(1), start), None);
        table.put(client(1), endpoint(1), start);
        let later = start + TIMEOUT;
        assert_eq!(table.get(client(1), later), Some(endpoint(1)));
        assert_eq!(table.get(client(1), later + Duration::from_secs(1)), None);
        assert_eq!(table.get(client(2), later), None, "another client has nothing");
        // Each connection starts the time anew.
        table.put(client(1), endpoint(1), later);
        assert_eq!(table.get(client(1), later + TIMEOUT), Some(endpoint(1)));
        table.set_timeout(Duration::from_secs(1));
        assert_eq!(table.get(client(1), later + TIMEOUT), None);
    }

    #[test]
    fn a_full_table_forgets_who_was_idle_longest() {
        let mut table = Affinity::new(TIMEOUT, 2);
        let now = Instant::now();
        table.put(client(1), endpoint(1), now);
        table.put(client(2), endpoint(2), now);
        table.put(client(1), endpoint(1), now);
        table.put(client(3), endpoint(3), now);
        assert_eq!(table.len(), 2);
        assert_eq!(table.get(client(2), now), None);
        assert_eq!(table.get(client(1), now), Some(endpoint(1)));
    }

    #[test]
    fn what_is_over_goes_with_the_next_connection() {
        let mut table = Affinity::new(TIMEOUT, 100);
        let now = Instant::now();
        for last in 0..50 {
            table.put(client(last), endpoint(1), now);
        }
        table.put(client(99), endpoint(1), now + TIMEOUT + Duration::from_secs(1));
        assert_eq!((table.len(), table.order.len(), table.is_empty()), (1, 1, false));
    }
}
