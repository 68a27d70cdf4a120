//! Follows the addresses of named endpoints in the background, so that no request ever waits for DNS
//! (reliability.md 2.9).
//!
//! Called by `app`.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use hickory_proto::rr::Name;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Resolver,
    book::{Book, Outcome},
};
use crate::zone::Resolved;

/// Names that [`keep_resolved`] looks up at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// Keeps the addresses of all `wanted` names in `publish` until `cancel`.
///
/// A name is looked up when it is first wanted and again when its TTL ends (5 to 300 s). If that
/// fails, its last addresses stay for an hour. `publish` is sent only when an address has changed.
pub async fn keep_resolved(
    resolver: Arc<Resolver>,
    mut wanted: watch::Receiver<BTreeSet<Arc<str>>>,
    publish: watch::Sender<Arc<Resolved>>,
    cancel: CancellationToken,
) {
    let mut book = Book::default();
    let mut lookups: JoinSet<(Arc<str>, Outcome)> = JoinSet::new();
    wanted.mark_changed();
    loop {
        while lookups.len() < LOOKUPS_AT_ONCE {
            let Some(name) = book.take_due(Instant::now()) else { break };
            lookups.spawn(look_up(Arc::clone(&resolver), name));
        }
        let room = lookups.len() < LOOKUPS_AT_ONCE;
        let next = book.next_due().filter(|_| room).map(tokio::time::Instant::from_std);
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let names = wanted.borrow_and_update().clone();
                book.want(&names, Instant::now());
            },
            Some(done) = lookups.join_next(), if !lookups.is_empty() => match done {
                Ok((name, outcome)) => book.record(&name, outcome, Instant::now()),
                Err(error) => tracing::error!(%error, "a name lookup ended abnormally"),
            },
            () = sleep_until(next) => {},
        }
        let resolved = book.resolved(Instant::now());
        publish.send_if_modified(|published| {
            let changed = **published != resolved;
            if changed {
                *published = Arc::new(resolved);
            }
            changed
        });
    }
}

/// Sleeps until `when`, or for ever without one.
async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn look_up(resolver: Arc<Resolver>, name: Arc<str>) -> (Arc<str>, Outcome) {
    let Ok(absolute) = Name::from_ascii(&*name) else { return (name, Outcome::Failed) };
    let outcome = match resolver.addresses(&absolute).await {
        Ok((addresses, ttl)) => Outcome::Found { addresses, ttl },
        Err(error) => {
            tracing::warn!(%name, %error, "name not resolved, its last addresses stay in use");
            Outcome::Failed
        },
    };
    (name, outcome)
}
