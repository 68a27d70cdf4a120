//! Equal questions that are under way at the same time: one exchange with the name servers for all of them.
//!
//! Called by `Resolver`. Equal are those of one [`Key`]: name and type, since what is sent has class IN and
//! no DO bit, whoever asks. Always holds: an exchange goes on as long as anybody waits for it, whoever that is,
//! and no longer; so there are never more of them than askers, whose number the callers limit
//! (`--forward-max-concurrent`, `max_refreshes`).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, task::AbortHandle};

use super::{Found, ResolveError, cache::Key};

/// What an exchange came to: the answer and its TTL, seconds.
pub(super) type Outcome = Result<(Arc<Found>, u32), ResolveError>;

/// The exchanges that are under way.
#[derive(Debug, Default)]
pub(super) struct Exchanges(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<Key, Exchange>,
    /// Number of the last one.
    last: u64,
}

#[derive(Debug)]
struct Exchange {
    /// Tells it from a later one of the same key.
    number: u64,
    askers: usize,
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortHandle,
}

/// Somebody who waits for an exchange. The last one who goes ends it.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    exchanges: &'a Exchanges,
    key: Key,
    number: u64,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Somebody else began the exchange.
    pub(super) joined: bool,
}

impl Exchanges {
    /// Waits with the others for the exchange of `key`, or starts `exchange`, which is given what
    /// [`Exchanges::finish`] wants once it is over.
    pub(super) fn join(
        &self,
        key: Key,
        exchange: impl FnOnce(u64, watch::Sender<Option<Outcome>>) -> AbortHandle,
    ) -> Asker<'_> {
        let mut table = self.table();
        let number = table.last + 1;
        let (number, outcome, joined) = match table.by_key.entry(key.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.askers += 1;
                (known.number, known.outcome.clone(), true)
            },
            Entry::Vacant(room) => {
                let (publish, outcome) = watch::channel(None);
                let task = exchange(number, publish);
                room.insert(Exchange { number, askers: 1, outcome: outcome.clone(), task });
                table.last = number;
                (number, outcome, false)
            },
        };
        Asker { exchanges: self, key, number, outcome, joined }
    }

    /// Exchange `number` is over: who asks from now on begins another.
    pub(super) fn finish(&self, key: &Key, number: u64) {
        let mut table = self.table();
        if table.by_key.get(key).is_some_and(|exchange| exchange.number == number) {
            table.by_key.remove(key);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table().by_key.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker<'_> {
    /// What it came to.
    pub(super) async fn outcome(&mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // Its task has panicked, which costs those who waited for it.
            Ok(None) | Err(_) => Err(ResolveError::Ended),
        }
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        let mut table = self.exchanges.table();
        let Some(exchange) = table.by_key.get_mut(&self.key) else { return };
        if exchange.number != self.number {
            return;
        }
        exchange.askers -= 1;
        if exchange.askers == 0 {
            exchange.task.abort();
            table.by_key.remove(&self.key);
        }
    }
}
