//! The router's active checks of its endpoints [HC-1] [HC-2] [HC-3] [REENC-5].

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Preamble, tcp, tls};
use crate::{
    health::{Change, Checked, Verdict},
    snapshot::Check,
    upstream::peer::Peer,
};

/// Checks at once.
const AT_ONCE: usize = 256;

/// A peer that is checked now.
struct Running {
    peer: Arc<Peer>,
    interval: watch::Sender<Duration>,
    stop: CancellationToken,
}

/// Checks every peer of the list at its interval until `cancel`. Which peers belong there is decided
/// by `compile` [HC-1]; one that leaves the list is up again, since what is not checked is always
/// tried [HC-3]. State is kept as long as a peer stays in the list, whatever its interval is.
pub async fn run_checks(
    mut checks: watch::Receiver<Arc<Vec<Check>>>,
    timeout: Duration,
    cancel: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut running: HashMap<u64, Running> = HashMap::new();
    loop {
        let list = Arc::clone(&checks.borrow_and_update());
        let ids: std::collections::HashSet<u64> = list.iter().map(|check| check.peer.id).collect();
        running.retain(|id, one| {
            let stays = ids.contains(id);
            if !stays {
                one.stop.cancel();
                one.peer.set_up(true);
            }
            stays
        });
        for Check { peer, interval } in list.iter() {
            let one = running.entry(peer.id).or_insert_with(|| {
                let (send, changes) = watch::channel(*interval);
                let stop = cancel.child_token();
                let check = check_peer(Arc::clone(peer), changes, timeout, Arc::clone(&permits));
                let stopped = stop.clone();
                tasks.spawn(async move {
                    stopped.run_until_cancelled(check).await;
                });
                Running { peer: Arc::clone(peer), interval: send, stop }
            });
            one.interval.send_if_modified(|old| std::mem::replace(old, *interval) != *interval);
        }
        drop(list);
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = checks.changed() => if changed.is_err() {
                return cancel.cancelled().await;
            },
        }
    }
}

/// Checks one peer for ever. The first check waits for a part of the interval that differs from
/// peer to peer, so that checks are spread [HC-2].
async fn check_peer(
    peer: Arc<Peer>,
    mut interval: watch::Receiver<Duration>,
    timeout: Duration,
    permits: Arc<Semaphore>,
) {
    let mut state = Checked::default();
    let mut begun = Instant::now();
    let mut part = share(peer.id);
    loop {
        let due = begun + interval.borrow_and_update().mul_f64(part);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {},
            Ok(()) = interval.changed() => continue,
        }
        part = 1.0;
        let Ok(permit) = permits.acquire().await else { return };
        begun = Instant::now();
        let outcome = match &peer.tls {
            Some(secure) => tls(peer.key.address, secure, timeout).await,
            None => tcp(peer.key.address, timeout, Preamble::None).await,
        };
        drop(permit);
        peer.checked(begun.elapsed());
        count(&peer, &mut state, outcome);
    }
}

/// What a check's outcome changes.
fn count(peer: &Peer, state: &mut Checked, outcome: Outcome) {
    let verdict = match outcome {
        Outcome::Pass => Verdict::Pass,
        Outcome::Fail(_) => {
            peer.check_failures.add(1);
            Verdict::Fail
        },
    };
    let endpoint = peer.key.address;
    match (state.record(verdict), outcome) {
        (Some(Change::Up), _) => {
            peer.recover();
            tracing::info!(%endpoint, "endpoint is up");
        },
        (Some(Change::Down), Outcome::Fail(reason)) => {
            peer.set_up(false);
            tracing::warn!(%endpoint, ?reason, "endpoint is down");
        },
        // What another task left there does not count: this one's state does.
        _ => peer.set_up(state.is_up()),
    }
}

/// A number from 0 to below 1. Consecutive ids lie far apart and fill the interval evenly.
fn share(id: u64) -> f64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = id.wrapping_mul(GOLDEN).to_be_bytes();
    f64::from(u16::from_be_bytes([bytes[0], bytes[1]])) / 65536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [HC-2] start spread over the interval.
    #[test]
    fn hc_2_starts_are_spread_over_the_interval() {
        let mut quarters = [0; 4];
        for id in 1..=400 {
            let share = share(id);
            assert!((0.0..1.0).contains(&share));
            let quarter = (0..3).find(|&q| share < 0.25 * f64::from(q + 1)).unwrap_or(3);
            quarters[usize::try_from(quarter).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (95..=105).contains(count)), "{quarters:?}");
    }
}
