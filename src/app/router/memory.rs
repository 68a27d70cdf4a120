//! Fits the limit on connections to the memory limit of the control group.
//!
//! Called once, when a router starts. A router that the kernel kills for its memory fails every request
//! in it; one that takes fewer connections lets the others wait in the kernel's queue.

use crate::{
    net::cgroup,
    settings::{NO_LIMIT, RouterSettings},
};

/// What a connection in use takes with its share of a pod connection: measured 45 to 50 KiB on TLS with
/// all buffers in use, and a part of the kernel's buffers is counted too. An idle one is parked and
/// takes half of it, a client that reads slowly up to four times as much.
const PER_CONNECTION: u64 = 64 << 10;

/// The buffer of heads that this was measured with.
const BUFFER: u64 = 32 << 10;

/// Most that is kept back for the configuration and the process; of a small limit, half.
const MOST_RESERVE: u64 = 512 << 20;

/// Lowers `max_connections` to what the memory limit allows, unless a number was asked for; says so.
pub(super) fn fit(settings: &mut RouterSettings) {
    let Some(limit) = cgroup::memory_limit() else { return };
    let allowed = allowed(limit, settings.limits.buffer);
    if allowed >= settings.max_connections {
        return;
    }
    if settings.fit_memory {
        tracing::info!(
            allowed,
            memory_limit = limit,
            "the memory limit of the control group limits the connections at once: raise it, or set \
             ROUTER_MAX_CONNECTIONS or --max-connections"
        );
        settings.max_connections = allowed;
    } else {
        tracing::warn!(
            wanted = settings.max_connections,
            advised = allowed,
            memory_limit = limit,
            "more connections at once than the memory limit of the control group is enough for: the \
             kernel may kill this process"
        );
    }
}

/// Connections at once that `limit` bytes are enough for, at least one. What the buffer of heads is larger
/// than usual, a connection may hold twice: before the head is whole, and where it is read.
fn allowed(limit: u64, buffer: usize) -> usize {
    let more = 2 * (buffer as u64).saturating_sub(BUFFER);
    let allowed = (limit - MOST_RESERVE.min(limit / 2)) / (PER_CONNECTION + more);
    usize::try_from(allowed).unwrap_or(NO_LIMIT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_36_connections_get_half_of_a_small_limit_and_most_of_a_large_one() {
        for (limit, expected) in [
            (0, 1),
            (64 << 10, 1),
            (1 << 20, 8),
            (256 << 20, 2048),
            (1 << 30, 8192),
            (2 << 30, 24_576),
            (4 << 30, 57_344),
        ] {
            assert_eq!(allowed(limit, 16 << 10), expected, "{limit}");
            assert_eq!(allowed(limit, 64 << 10), (expected / 2).max(1), "{limit}");
        }
        assert!(allowed(u64::MAX, 32 << 10) > 50_000);
    }
}
