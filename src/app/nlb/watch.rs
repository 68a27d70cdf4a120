//! Follows the configuration file.
//!
//! The directory is watched, not the file: editors and mounted ConfigMaps replace files by renaming.
//! A poll covers what the watch misses; it applies a text only once it has seen it twice, so that a
//! file in the middle of being written is left alone.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::{sync::watch, time::timeout};

use crate::nlb::{
    NlbHandle,
    config::{LoadError, parse_file, read_text},
};

/// Quiet time after an event before the file is read.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Events in a row after which the file is read without quiet time.
const STORM: usize = 4;
/// Between two polls.
const POLL: Duration = Duration::from_secs(2);

/// Applies every new text of the file at `path` for ever. `applied` is the text that runs.
pub(super) async fn follow(path: PathBuf, mut applied: String, handle: &NlbHandle) {
    let changed = watch::Sender::new(());
    let mut changes = changed.subscribe();
    // Dropping the watcher would end the watch.
    let _watcher = match start(&path, changed.clone()) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "cannot watch the configuration directory; polling instead");
            None
        },
    };
    let mut polled: Option<String> = None;
    loop {
        let woken = timeout(POLL, changes.changed()).await.is_ok();
        if woken {
            for _ in 0..STORM {
                if timeout(DEBOUNCE, changes.changed()).await.is_err() {
                    break;
                }
            }
        }
        let Some(text) = read(&path).await else { continue };
        if text == applied {
            polled = None;
        } else if woken || polled.as_ref() == Some(&text) {
            apply(&path, &text, handle);
            applied = text;
            polled = None;
        } else {
            polled = Some(text);
        }
    }
}

/// The text, or nothing while the file is being replaced.
async fn read(path: &Path) -> Option<String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_text(&path)).await;
    match read {
        Ok(Ok(text)) => Some(text),
        Ok(Err(LoadError::Read { source, .. }))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            None
        },
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "configuration kept");
            None
        },
        Err(_runtime_ends) => None,
    }
}

fn apply(path: &Path, text: &str, handle: &NlbHandle) {
    let config = match parse_file(path, text) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "configuration rejected; the last good one keeps running");
            return;
        },
    };
    match handle.apply(config) {
        Ok(()) => tracing::info!(config = %path.display(), "configuration applied"),
        Err(error) => tracing::error!(%error, "configuration applied in part"),
    }
}

/// Watches the directory of `path`.
fn start(path: &Path, changed: watch::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let complete = event.is_ok_and(|event| {
            matches!(
                event.kind,
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                    | EventKind::Modify(ModifyKind::Name(_))
            )
        });
        if complete {
            changed.send_replace(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
