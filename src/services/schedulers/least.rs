//! `lc`, `wlc`, `sed`, `nq`: the server with the least of something.
//!
//! Always holds: servers of weight 0 do not count, and of equals the first has it. Fractions are
//! compared by cross-multiplication, so nothing is rounded.

use super::Server;

/// What a server carries: an established connection weighs as much as 256 others.
pub(super) fn overhead(server: &Server) -> u64 {
    (u64::from(server.active) << 8) + u64::from(server.inactive)
}

/// True when `load(a) / weight(a) < load(b) / weight(b)`.
pub(super) fn lighter(load: impl Fn(&Server) -> u64, a: &Server, b: &Server) -> bool {
    let product = |load: u64, weight: u32| u128::from(load) * u128::from(weight);
    product(load(a), b.weight) < product(load(b), a.weight)
}

/// The first server that none is less than.
fn least(servers: &[Server], less: impl Fn(&Server, &Server) -> bool) -> Option<usize> {
    let mut takers = servers.iter().enumerate().filter(|(_, server)| server.weight > 0);
    let first = takers.next()?;
    let least = takers.fold(first, |least, one| if less(one.1, least.1) { one } else { least });
    Some(least.0)
}

/// `lc`.
pub(super) fn connections(servers: &[Server]) -> Option<usize> {
    least(servers, |a, b| overhead(a) < overhead(b))
}

/// `wlc`.
pub(super) fn weighted_connections(servers: &[Server]) -> Option<usize> {
    least(servers, |a, b| lighter(overhead, a, b))
}

/// `sed`: the delay that the new connection itself will find.
pub(super) fn delay(servers: &[Server]) -> Option<usize> {
    least(servers, |a, b| lighter(|server| u64::from(server.active) + 1, a, b))
}

/// `nq`.
pub(super) fn never_queue(servers: &[Server]) -> Option<usize> {
    let idle = servers.iter().position(|server| server.weight > 0 && server.active == 0);
    idle.or_else(|| delay(servers))
}
