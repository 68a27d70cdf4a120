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
    upstream::peer::Peer,
};

/// Checks at once.
const AT_ONCE: usize = 256;

/// Checks every peer of the list each `interval` until `cancel`. Which peers belong there is decided
/// by `compile` [HC-1]; one that leaves the list is up again, since what is not checked is always
/// tried [HC-3]. State is kept as long as a peer stays in the list.
pub async fn run_checks(
    mut peers: watch::Receiver<Arc<Vec<Arc<Peer>>>>,
    interval: Duration,
    timeout: Duration,
    cancel: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut checked: HashMap<u64, (Arc<Peer>, CancellationToken)> = HashMap::new();
    loop {
        let list = Arc::clone(&peers.borrow_and_update());
        let ids: std::collections::HashSet<u64> = list.iter().map(|peer| peer.id).collect();
        checked.retain(|id, (peer, stop)| {
            let stays = ids.contains(id);
            if !stays {
                stop.cancel();
                peer.set_up(true);
            }
            stays
        });
        for peer in list.iter() {
            checked.entry(peer.id).or_insert_with(|| {
                let stop = cancel.child_token();
                let check = check_peer(Arc::clone(peer), interval, timeout, Arc::clone(&permits));
                let stopped = stop.clone();
                tasks.spawn(async move {
                    stopped.run_until_cancelled(check).await;
                });
                (Arc::clone(peer), stop)
            });
        }
        drop(list);
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = peers.changed() => if changed.is_err() {
                return cancel.cancelled().await;
            },
        }
    }
}

/// Checks one peer for ever. The first check waits for a part of the interval that differs from
/// peer to peer, so that checks are spread [HC-2].
async fn check_peer(
    peer: Arc<Peer>,
    interval: Duration,
    timeout: Duration,
    permits: Arc<Semaphore>,
) {
    let mut state = Checked::default();
    let mut due = Instant::now() + interval.mul_f64(share(peer.id));
    loop {
        tokio::time::sleep_until(due).await;
        let Ok(permit) = permits.acquire().await else { return };
        let begun = Instant::now();
        let outcome = match &peer.tls {
            Some(secure) => tls(peer.key.address, secure, timeout).await,
            None => tcp(peer.key.address, timeout, Preamble::None).await,
        };
        drop(permit);
        peer.checked(begun.elapsed());
        let verdict = match outcome {
            Outcome::Pass => Verdict::Pass,
            Outcome::Fail(_) => Verdict::Fail,
        };
        if verdict == Verdict::Fail {
            peer.check_failures.add(1);
        }
        let change = state.record(verdict);
        peer.set_up(state.is_up());
        let endpoint = peer.key.address;
        match (change, outcome) {
            (Some(Change::Up), _) => tracing::info!(%endpoint, "endpoint is up"),
            (Some(Change::Down), Outcome::Fail(reason)) => {
                tracing::warn!(%endpoint, ?reason, "endpoint is down");
            },
            _ => {},
        }
        due = (begun + interval).max(Instant::now());
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
