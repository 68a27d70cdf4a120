//! Looks at counters once a second: what happens in a second, and how much there is at once, is not known
//! without [MET-1].
//!
//! A task of the control side. It reads the workers' cells, which cost them nothing, and is the only
//! writer of every [`Rate`](crate::stats::rate::Rate).

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{proxy::stats::RouterStats, snapshot::Live, stats::UpstreamStats};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks until `cancel`.
pub(super) async fn run(live: Arc<Live>, stats: Arc<RouterStats>, cancel: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {},
        }
        let now = Instant::now();
        let since = now - std::mem::replace(&mut last, now);
        // The first tick is at once, and nothing has passed by then.
        if since >= INTERVAL / 2 {
            look(&live, &stats, since);
        }
    }
}

fn look(live: &Live, stats: &RouterStats, since: Duration) {
    for (levels, cells) in stats.levels.iter().zip(&stats.frontends) {
        levels.rate.look(cells.sum(|cell| &cell.connections), since);
        levels.requests.look(cells.sum(|cell| &cell.requests), since);
    }
    let snapshot = live.load_full();
    for route in snapshot.routes.iter().filter_map(|route| route.compiled.as_ref()) {
        upstream(&route.backend.stats, since);
        route.backend.servers.iter().for_each(|server| upstream(&server.stats, since));
    }
}

fn upstream(stats: &UpstreamStats, since: Duration) {
    stats.rate.look(stats.workers.sum(|cell| &cell.requests), since);
    stats.most_in_flight.note(stats.in_flight());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Compiler;

    /// [MET-1]
    #[tokio::test(start_paused = true)]
    async fn a_second_of_connections_is_the_rate() {
        let live = Arc::new(Live::from_pointee(Compiler::empty()));
        let stats = Arc::new(RouterStats::new(1));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(live, Arc::clone(&stats), cancel.clone()));
        let mut rates = Vec::new();
        for count in [7, 0, 3] {
            stats.frontends[0].cell(0).connections.add(count);
            tokio::time::sleep(Duration::from_millis(1001)).await;
            rates.push((stats.levels[0].rate.now(), stats.levels[0].rate.most()));
        }
        assert_eq!(rates, [(7, 7), (0, 7), (3, 7)]);
        cancel.cancel();
        task.await.unwrap();
    }
}
