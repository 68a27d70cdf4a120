//! Follows a [`Directory`]: file system events where they are to be had, polling where not, and
//! publishes every new set of objects.
//!
//! Run by the control runtime. Always holds (decisions 3): a file counts once it was closed or
//! renamed into place, never while a writer has it open; changes are applied shortly after the last
//! event, and under a storm of events at the latest after a fixed time.

mod events;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use self::events::{Eye, Inbox};
use super::{
    directory::{Directory, Hints, Seen},
    validate::cross_check,
};
use crate::model::{finding::Finding, objects::Objects};

/// What a source knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The objects in force.
    pub objects: Objects,
    /// What is wrong with them, with files, and between objects.
    pub findings: Vec<Finding>,
}

/// Durations of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// From the last event to applying it.
    pub debounce: Duration,
    /// From the first event to applying it, however many follow.
    pub debounce_max: Duration,
    /// Between two looks that no event asked for.
    pub poll: Duration,
    /// The same where there are no events.
    pub poll_only: Duration,
    /// How long a file whose writer was not seen must be unchanged.
    pub quiet: Duration,
    /// Use no events even where there are some.
    pub without_events: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(20),
            debounce_max: Duration::from_millis(200),
            poll: Duration::from_secs(10),
            poll_only: Duration::from_secs(2),
            quiet: Duration::from_secs(1),
            without_events: false,
        }
    }
}

/// Publishes what `directory` holds, at once and after every change, until `cancel`.
pub async fn watch(
    directory: Directory,
    updates: watch::Sender<Arc<Update>>,
    cancel: CancellationToken,
) {
    watch_with(directory, updates, cancel, WatchSettings::default()).await;
}

/// As [`watch()`], with durations of one's own.
pub async fn watch_with(
    directory: Directory,
    updates: watch::Sender<Arc<Update>>,
    cancel: CancellationToken,
    settings: WatchSettings,
) {
    let inbox = Arc::new(Inbox::default());
    let eye = Eye::new(&inbox, &settings);
    let mut state = State { directory, eye };
    let mut first = true;
    loop {
        let (hints, overflow) = inbox.take();
        let trust = first || overflow;
        let Some((back, seen, update)) = look(state, hints, trust, settings).await else { return };
        state = back;
        if let Some(update) = update {
            tracing::info!(
                objects = update.objects.len(),
                findings = update.findings.len(),
                "manifests read"
            );
            updates.send_replace(Arc::new(update));
        }
        first = false;
        let poll = if state.eye.sees() { settings.poll } else { settings.poll_only };
        let pause = if seen.unsettled { settings.quiet.min(poll) } else { poll };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = inbox.wait() => {},
            () = time::sleep(pause) => continue,
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = settle(&inbox, &settings) => {},
        }
    }
}

/// Waits until no event came for `debounce`, at most `debounce_max`.
async fn settle(inbox: &Inbox, settings: &WatchSettings) {
    let calm = async { while time::timeout(settings.debounce, inbox.wait()).await.is_ok() {} };
    // Running out of time is the storm that the limit is for.
    drop(time::timeout(settings.debounce_max, calm).await);
}

struct State {
    directory: Directory,
    eye: Eye,
}

/// One look, on the blocking pool; `None` when the runtime is shutting down.
async fn look(
    mut state: State,
    mut hints: Hints,
    trust: bool,
    settings: WatchSettings,
) -> Option<(State, Seen, Option<Update>)> {
    let work = tokio::task::spawn_blocking(move || {
        // Before reading: what changes from here on makes an event.
        state.eye.arm(state.directory.roots());
        let polling = !state.eye.sees();
        hints.quiet = if polling { settings.poll_only } else { settings.quiet };
        hints.quiet_writing = settings.poll;
        let now = Instant::now();
        let seen = if trust {
            Seen { changed: state.directory.scan(now), unsettled: false }
        } else {
            state.directory.scan_settled(now, &hints)
        };
        let update = (seen.changed || trust).then(|| {
            let objects = state.directory.objects();
            let mut findings = state.directory.findings();
            findings.extend(cross_check(&objects));
            Update { objects, findings }
        });
        (state, seen, update)
    });
    match work.await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "reading manifests stopped");
            None
        },
    }
}

#[cfg(test)]
mod tests;
