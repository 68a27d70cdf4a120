//! Flows that were silent for too long, and wait for the reset of their first late segment (A.4).
//!
//! Used by `listener`. Bookkeeping alone: who is to go when there are too many. Always holds: there are
//! no more than the limit, and the oldest goes first.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The flows that wait.
#[derive(Debug, Default)]
pub(super) struct Expired(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By age, the oldest first.
    flows: BTreeMap<u64, CancellationToken>,
}

/// The place of a flow, which it leaves by dropping it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    expired: &'a Expired,
    id: u64,
    /// Cancelled when the flow has to go.
    pub(super) evicted: CancellationToken,
}

impl Expired {
    /// Takes a flow in. While there are more than `limit`, the oldest are told to go.
    pub(super) fn enter(&self, limit: usize) -> Place<'_> {
        let mut waiting = self.lock();
        let (id, evicted) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.flows.insert(id, evicted.clone());
        while waiting.flows.len() > limit
            && let Some((_, oldest)) = waiting.flows.pop_first()
        {
            oldest.cancel();
        }
        Place { expired: self, id, evicted }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().flows.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.expired.lock().flows.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let expired = Expired::default();
        let first = expired.enter(2);
        let second = expired.enter(2);
        let third = expired.enter(2);
        let gone = [&first, &second, &third].map(|place| place.evicted.is_cancelled());
        assert_eq!(gone, [true, false, false]);
        drop(first);
        assert_eq!(expired.len(), 2);
        drop(second);
        assert_eq!(expired.len(), 1);
        assert!(!expired.enter(2).evicted.is_cancelled());
        assert!(expired.enter(0).evicted.is_cancelled(), "a limit that has become smaller");
        assert_eq!(expired.len(), 0);
    }
}
