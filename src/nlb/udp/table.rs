//! Which flow a datagram belongs to (spec/l4-dns.md A.3, A.4).
//!
//! Pure: the time is an argument. Used by `udp` for one listener. Always holds: a flow that was silent
//! for the limit is never found again; there are never more flows than the limit, where those that are
//! over count until the next sweep; sweeps are an eighth of the idle limit apart at least, so that a
//! flood of new clients costs no more than looking.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hashbrown::HashMap;
use tokio::time::Instant;

/// What tells two flows of one listener apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) client: SocketAddr,
    /// The address of the listener that the client wrote to.
    pub(super) address: IpAddr,
}

/// Something that is used now and then.
pub(super) trait Used {
    /// When a datagram passed last, in either direction.
    fn used(&self) -> Instant;
}

/// The flows of a listener.
#[derive(Debug)]
pub(super) struct Table<F> {
    flows: HashMap<Key, F>,
    idle: Duration,
    swept: Instant,
}

impl<F: Used> Table<F> {
    /// A table whose flows end after `idle` without a datagram.
    pub(super) fn new(idle: Duration, now: Instant) -> Self {
        Self { flows: HashMap::new(), idle, swept: now }
    }

    /// Another limit, for the flows that are there as well.
    pub(super) fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// The flow of `key`, unless it is over.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<&F> {
        self.flows.get(key).filter(|flow| !self.is_over(*flow, now))
    }

    /// True if a flow for `key` would be one too many. One that is over has its place kept for `key`.
    pub(super) fn is_full(&self, key: &Key, most: usize) -> bool {
        self.flows.len() >= most && !self.flows.contains_key(key)
    }

    /// Puts a flow in; what it takes the place of.
    pub(super) fn insert(&mut self, key: Key, flow: F) -> Option<F> {
        self.flows.insert(key, flow)
    }

    /// Takes the flow of `key` out if it is the one that is meant.
    pub(super) fn remove(&mut self, key: &Key, is_meant: impl FnOnce(&F) -> bool) {
        if self.flows.get(key).is_some_and(is_meant) {
            self.flows.remove(key);
        }
    }

    /// When the next sweep is due.
    pub(super) fn next_sweep(&self) -> Instant {
        self.swept + self.idle / 8
    }

    /// Takes out the flows that are over, if a sweep is due.
    pub(super) fn sweep(&mut self, now: Instant, mut over: impl FnMut(F)) {
        if now < self.next_sweep() {
            return;
        }
        self.swept = now;
        let idle = self.idle;
        let gone = self.flows.extract_if(|_, flow| now >= flow.used() + idle);
        gone.for_each(|(_, flow)| over(flow));
    }

    /// Takes all flows out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = F> + '_ {
        self.flows.drain().map(|(_, flow)| flow)
    }

    /// How many there are, those that are over and not yet swept among them.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    fn is_over(&self, flow: &F, now: Instant) -> bool {
        now >= flow.used() + self.idle
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use proptest::prelude::*;

    use super::*;

    const IDLE: Duration = Duration::from_secs(120);
    const MOST: usize = 3;

    #[derive(Clone)]
    struct Flow {
        number: usize,
        used: Rc<Cell<Instant>>,
    }

    impl Used for Flow {
        fn used(&self) -> Instant {
            self.used.get()
        }
    }

    fn key(client: u8) -> Key {
        Key { client: ([127, 0, 0, 1], u16::from(client)).into(), address: [127, 0, 0, 2].into() }
    }

    /// A datagram of a client, after a pause; or one of its target.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        FromClient(u8, u64),
        FromTarget(u8, u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let one = (0..6_u8, prop_oneof![0..3_u64, 100..140_u64], any::<bool>());
        let event = one.prop_map(|(client, pause, up)| match up {
            true => Event::FromClient(client, pause),
            false => Event::FromTarget(client, pause),
        });
        prop::collection::vec(event, 1..60)
    }

    proptest! {
        /// [NLB-06] The table and a list that forgets at once agree on which flow a datagram has, but
        /// for clients that come while places wait for the sweep; and no flow is lost before its time.
        #[test]
        fn nlb_06_a_flow_lasts_until_it_was_silent_for_the_limit(events in events()) {
            let begin = Instant::now();
            let mut now = begin;
            let mut table = Table::new(IDLE, begin);
            let mut list: Vec<(u8, usize, Instant)> = Vec::new();
            for (number, event) in events.into_iter().enumerate() {
                let (Event::FromClient(client, pause) | Event::FromTarget(client, pause)) = event;
                now += Duration::from_secs(pause);
                list.retain(|(_, _, used)| now < *used + IDLE);
                let known = list.iter_mut().find(|(other, ..)| *other == client);
                table.sweep(now, |flow: Flow| assert!(now >= flow.used() + IDLE));
                let found = table.find(&key(client), now).cloned();
                prop_assert_eq!(found.as_ref().map(|it| it.number), known.as_ref().map(|it| it.1));
                match (found, known, event) {
                    (Some(flow), Some(known), _) => {
                        flow.used.set(now);
                        known.2 = now;
                    },
                    (_, _, Event::FromClient(..)) if !table.is_full(&key(client), MOST) => {
                        let flow = Flow { number, used: Rc::new(Cell::new(now)) };
                        let before = table.insert(key(client), flow);
                        prop_assert!(before.is_none_or(|flow| now >= flow.used() + IDLE));
                        list.push((client, number, now));
                    },
                    (_, _, Event::FromClient(..)) => {
                        // Full: of flows that last, or that were over since the last sweep only.
                        prop_assert!(list.len() == MOST || now < table.next_sweep());
                    },
                    (_, _, Event::FromTarget(..)) => {},
                }
                prop_assert!(table.len() <= MOST && list.len() <= table.len());
            }
        }
    }

    #[test]
    fn another_limit_counts_for_flows_that_are_there() {
        let now = Instant::now();
        let mut table = Table::new(IDLE, now);
        table.insert(key(1), Flow { number: 1, used: Rc::new(Cell::new(now)) });
        table.set_idle(IDLE / 2);
        assert!(table.find(&key(1), now + IDLE / 2).is_none());
        table.set_idle(IDLE);
        assert!(table.find(&key(1), now + IDLE / 2).is_some());
    }

    #[test]
    fn a_flow_is_removed_by_whoever_means_it() {
        let now = Instant::now();
        let flow = |number| Flow { number, used: Rc::new(Cell::new(now)) };
        let mut table = Table::new(IDLE, now);
        assert!(table.insert(key(1), flow(1)).is_none());
        assert_eq!(table.insert(key(1), flow(2)).unwrap().number, 1);
        table.remove(&key(1), |flow| flow.number == 1);
        assert_eq!(table.find(&key(1), now).unwrap().number, 2);
        table.remove(&key(1), |flow| flow.number == 2);
        assert!(table.find(&key(1), now).is_none());
        table.insert(key(1), flow(3));
        assert_eq!((table.drain().count(), table.len()), (1, 0));
    }
}
