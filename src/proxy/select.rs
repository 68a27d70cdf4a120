//! Step 3: which server of the route's backend gets the request.
//!
//! Called by `forward` for the first try and for each further one. Pure but for the counters it
//! reads.

use super::queue;
use crate::{model::reason::Reason, snapshot::Backend};

/// Most tries of one request: the first and three more [RETRY-1].
pub const MAX_TRIES: usize = 4;

/// The servers that were tried in this round.
#[derive(Debug, Default)]
pub struct Tried {
    indexes: [usize; MAX_TRIES],
    len: usize,
}

impl Tried {
    /// Notes a failed server.
    pub fn push(&mut self, index: usize) {
        if self.len < MAX_TRIES {
            self.indexes[self.len] = index;
            self.len += 1;
        }
    }

    /// Starts another round.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// True when nothing was tried in this round.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when `index` failed in this round.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.as_slice().contains(&index)
    }

    fn as_slice(&self) -> &[usize] {
        &self.indexes[..self.len]
    }
}

/// The tries of one request, or of one connection that is passed through.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The servers that failed in this round.
    pub(super) tried: Tried,
    /// Why the last of them did.
    pub(super) failed: Option<Reason>,
    /// The server that was tried last.
    pub(super) last: Option<usize>,
    count: usize,
}

impl Tries {
    /// Server `index` took nothing: another one is to be tried.
    pub(super) fn exclude(&mut self, index: usize, reason: Reason) {
        self.failed = Some(reason);
        self.tried.push(index);
    }

    /// True when there may be one more try after one that ended with nothing.
    pub(super) const fn another(&mut self) -> bool {
        self.count += 1;
        self.count < MAX_TRIES
    }
}

/// A server that is up, has weight, and was not tried in this round.
#[must_use]
pub fn choose(backend: &Backend, tried: &Tried, draw: u64) -> Option<usize> {
    let servers = &backend.servers;
    if servers.first().is_some_and(|server| server.gate.is_some()) {
        return queue::choose(backend, tried.as_slice(), draw);
    }
    backend.balancer.pick_excluding(
        draw,
        tried.as_slice(),
        |index| !backend.checked || servers[index].peer.is_up(),
        |index| servers[index].peer.in_flight.load(),
    )
}

/// Why there is nothing to choose [NOMATCH-2].
#[must_use]
pub fn nothing(backend: &Backend) -> Reason {
    if backend.servers.iter().any(|server| server.weight > 0) {
        Reason::AllUnhealthy
    } else {
        Reason::NoEndpoints
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        balance::{Algorithm, Balancer},
        snapshot::Server,
        stats::UpstreamStats,
        upstream::peer::{Peer, PeerKey, Protocol},
    };

    #[test]
    fn hc_3_only_where_checks_count_a_server_can_be_down() {
        let key = PeerKey {
            address: ([10, 0, 0, 1], 80).into(),
            protocol: Protocol::Http1,
            tls: None,
            pod: "".into(),
        };
        let peer = Arc::new(Peer::new(key));
        peer.set_up(false);
        let chosen = |checked| {
            let server = Server {
                peer: Arc::clone(&peer),
                weight: 1,
                service: "web".into(),
                pod: "".into(),
                label: "10.0.0.1:80".into(),
                stats: Arc::new(UpstreamStats::new(1)),
                gate: None,
            };
            let backend = Backend {
                name: "be_http:app:web".into(),
                servers: Box::new([server]),
                balancer: Balancer::new(Algorithm::Random, &[1], Arc::default()),
                checked,
                sticky: None,
                stats: Arc::new(UpstreamStats::new(1)),
            };
            choose(&backend, &Tried::default(), 7)
        };
        assert_eq!([chosen(true), chosen(false)], [None, Some(0)]);
    }
}
