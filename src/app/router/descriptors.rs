//! Fits the limit on connections to the limit on open files, as HAProxy does (reliability.md 2.8).
//!
//! Called once, when a router starts. A router that took more connections than it has descriptors for
//! would fail requests of clients that it has let in; one that takes fewer lets them wait in the
//! kernel's queue instead.

use crate::{
    net::descriptors,
    settings::{NO_LIMIT, RouterSettings},
};

/// A connection and the one to its pod.
const PER_CONNECTION: u64 = 2;

/// A worker's poller and listeners, and a few idle pod connections.
const PER_WORKER: u64 = 8;

/// Everything else: the admin port's connections, DNS, health checks, manifests, logs.
const RESERVE: u64 = 128;

/// Raises the limit on open files and lowers `max_connections` to what it allows; says so if it does.
pub(super) fn fit(settings: &mut RouterSettings) {
    let files = match descriptors::raise() {
        Ok(files) => files,
        Err(error) => return tracing::warn!(%error, "the limit on open files is not known"),
    };
    let allowed = allowed(files, settings.workers);
    if allowed >= settings.max_connections {
        return;
    }
    if settings.max_connections == NO_LIMIT {
        tracing::info!(allowed, open_files = files, "open files limit the connections at once");
    } else {
        tracing::warn!(
            wanted = settings.max_connections,
            allowed,
            open_files = files,
            "fewer connections at once than wanted: raise the limit on open files (ulimit -n)"
        );
    }
    settings.max_connections = allowed;
}

/// Connections at once that `files` descriptors are enough for, at least one.
fn allowed(files: u64, workers: usize) -> usize {
    let taken = PER_WORKER.saturating_mul(workers as u64).saturating_add(RESERVE);
    let allowed = (files.saturating_sub(taken) / PER_CONNECTION).max(1);
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_two_descriptors_and_some_are_kept_back() {
        assert_eq!(allowed(256, 2), 56);
        assert_eq!(allowed(1_048_576, 4), 524_208);
        assert_eq!([allowed(0, 1), allowed(138, 1), allowed(140, 1)], [1, 1, 2]);
        assert!(allowed(u64::MAX, usize::MAX) >= 1);
    }
}
