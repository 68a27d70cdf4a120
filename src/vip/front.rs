//! One virtual address and port: what it stands for now, and where its next connection goes.
//!
//! Made and updated by `vip` at every change, asked by `listener` for every connection. Always holds:
//! the lock is held for a choice and never across an await.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ipnet::IpNet;

use super::pool::{Carried, Pool};
use crate::services::{
    Service, TrafficPolicy, Via,
    affinity::Affinity,
    choose::{Categories, Usable, Verdict},
    schedulers::{Flow, Kind},
};

/// What the clients of one port of a Service had last; shared by all its addresses.
pub(super) type Clients = Arc<Mutex<Affinity>>;

/// What an address stands for.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    pub(super) service: Arc<Service>,
    pub(super) via: Via,
    /// The address as the cluster knows it.
    pub(super) address: IpAddr,
    pub(super) clients: Option<Clients>,
}

/// How the port answers before anything is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It listens; each client may have another verdict.
    Listen,
    /// Nobody can have anything: it refuses.
    Refuse,
    /// Nobody can have anything: it is silent.
    Silent,
}

impl Meaning {
    /// How the port answers when the sets are so.
    pub(super) fn answer(&self, usable: Usable) -> Answer {
        match [false, true].map(|inside| self.service.choice(usable, self.via, inside)) {
            [Verdict::From(_), _] | [_, Verdict::From(_)] => Answer::Listen,
            [Verdict::Reject, _] => Answer::Refuse,
            [Verdict::Drop, _] => Answer::Silent,
        }
    }
}

/// An address with its servers.
#[derive(Debug)]
pub(super) struct Front {
    /// Sources inside the cluster, beside those of this machine.
    cluster: Vec<IpNet>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    meaning: Meaning,
    all: Pool,
    local: Pool,
}

impl Front {
    pub(super) fn new(kind: Kind, cluster: Vec<IpNet>, meaning: Meaning) -> Self {
        let state = State { meaning, all: Pool::new(kind), local: Pool::new(kind) };
        Self { cluster, state: Mutex::new(state) }
    }

    pub(super) fn update(&self, meaning: Meaning, sets: &Categories<'_>) {
        let mut state = self.state();
        state.meaning = meaning;
        state.all.update(sets.cluster.iter().map(|endpoint| endpoint.address));
        state.local.update(sets.local.iter().map(|endpoint| endpoint.address));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when `endpoint` may have connections of somebody.
    pub(super) fn has(&self, endpoint: SocketAddr) -> bool {
        let state = self.state();
        state.all.has(endpoint) || state.local.has(endpoint)
    }

    /// The endpoint of a new connection from `source`; none when it may have none.
    pub(super) fn pick(&self, source: SocketAddr, local: IpAddr) -> Option<(SocketAddr, Carried)> {
        let client = source.ip();
        let inside = client.is_loopback()
            || client == local
            || self.cluster.iter().any(|range| range.contains(&client));
        let mut state = self.state();
        let State { meaning, all, local } = &mut *state;
        let usable = Usable { cluster: !all.is_empty(), local: !local.is_empty() };
        let pool = match meaning.service.verdict(usable, meaning.via, client, inside) {
            Verdict::From(TrafficPolicy::Cluster) => all,
            Verdict::From(TrafficPolicy::Local) => local,
            Verdict::Reject | Verdict::Drop => return None,
        };
        let flow = Flow { source, destination: meaning.address };
        let now = Instant::now();
        let Some(clients) = &meaning.clients else { return pool.pick(&flow, None, now) };
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let picked = pool.pick(&flow, clients.get(client, now), now)?;
        clients.put(client, picked.0, now);
        Some(picked)
    }
}
