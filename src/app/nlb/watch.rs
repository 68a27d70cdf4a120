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
    // The file may have changed before the watch was there.
    changes.mark_changed();
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

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::nlb::config::parse;

    const ONE: &str = "\
name: test
listeners: [{ name: front, address: 127.0.0.1:0, targetGroup: web }]
targetGroups: [{ name: web, port: 1, targets: [{ id: 127.0.0.1 }] }]
";

    async fn started() -> NlbHandle {
        NlbHandle::start(parse(ONE).unwrap(), CancellationToken::new()).await.unwrap()
    }

    #[tokio::test]
    async fn a_bad_edit_changes_nothing() {
        let handle = started().await;
        let addresses = handle.local_addrs();
        for bad in ["", "listeners: [", &ONE.replace("port: 1", "port: 0")] {
            apply(Path::new("nlb.yaml"), bad, &handle);
            assert_eq!((handle.targets().len(), handle.local_addrs()), (1, addresses.clone()));
        }
    }

    #[tokio::test]
    async fn edits_in_place_and_by_renaming_are_applied() {
        let handle = started().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nlb.yaml");
        std::fs::write(&path, ONE).unwrap();
        let following = {
            let (path, handle) = (path.clone(), handle.clone());
            tokio::spawn(async move { follow(path, ONE.to_owned(), &handle).await })
        };
        let mut changes = handle.changes();
        for (id, rename) in [("127.0.0.2", false), ("127.0.0.3", true)] {
            let text = ONE.replace("id: 127.0.0.1", &format!("id: {id}"));
            if rename {
                let aside = directory.path().join("new");
                std::fs::write(&aside, text).unwrap();
                std::fs::rename(&aside, &path).unwrap();
            } else {
                std::fs::write(&path, text).unwrap();
            }
            let id: std::net::IpAddr = id.parse().unwrap();
            let applied = async {
                while !handle.targets().iter().any(|target| target.id == id) {
                    changes.changed().await.unwrap();
                }
            };
            timeout(Duration::from_secs(30), applied).await.expect("the edit is applied");
        }
        following.abort();
    }
}
