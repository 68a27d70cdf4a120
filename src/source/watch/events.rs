//! File system events for `source::watch`: which paths changed, and which of them are finished.
//!
//! The library calls back on its own thread; what it says is folded into one bounded [`Inbox`].

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{
    Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::Notify;

use super::WatchSettings;
use crate::source::directory::Hints;

/// Paths that are remembered; with more, everything is looked at instead.
const MAX_PATHS: usize = 100_000;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    settled: HashSet<PathBuf>,
    writing: HashSet<PathBuf>,
    overflow: bool,
    watched: Vec<PathBuf>,
    /// A root went away: its watch is gone, even if a folder of the same inode is there again.
    root_lost: bool,
}

impl Inbox {
    /// Waits for the next event.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Takes what is finished, and whether events were lost. Open writers stay remembered.
    pub(super) fn take(&self) -> (Hints, bool) {
        let mut pending = self.lock();
        let hints = Hints {
            settled: std::mem::take(&mut pending.settled),
            writing: pending.writing.clone(),
            ..Hints::default()
        };
        (hints, std::mem::take(&mut pending.overflow))
    }

    /// Events below `path` count from now on.
    fn watch(&self, path: PathBuf) {
        let mut pending = self.lock();
        if !pending.watched.contains(&path) {
            pending.watched.push(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, event: notify::Result<Event>) {
        let mut pending = self.lock();
        let relevant = match event {
            Ok(event) => pending.note(&event),
            Err(_) => {
                pending.overflow = true;
                true
            },
        };
        drop(pending);
        if relevant {
            self.wake.notify_one();
        }
    }
}

impl Pending {
    /// Folds an event in; false when it says nothing about the roots.
    fn note(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            self.overflow = true;
            return true;
        }
        let paths: Vec<&PathBuf> = event
            .paths
            .iter()
            .filter(|path| self.watched.iter().any(|root| path.starts_with(root)))
            .collect();
        let Some(last) = paths.last() else { return false };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                self.writing.remove(*last);
                self.settled.insert((*last).clone());
            },
            EventKind::Access(_) => return false,
            EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) => {
                // Its writer closes it, or the backstop finds it.
                self.settled.remove(*last);
                self.writing.insert((*last).clone());
            },
            EventKind::Modify(ModifyKind::Metadata(_)) if !self.writing.contains(*last) => {
                self.settled.insert((*last).clone());
            },
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                self.root_lost |= paths.iter().any(|path| self.watched.contains(path));
                for path in paths {
                    self.writing.remove(path);
                    self.settled.remove(path);
                }
            },
            _ => {},
        }
        if self.settled.len() + self.writing.len() > MAX_PATHS {
            self.settled.clear();
            self.writing.clear();
            self.overflow = true;
        }
        true
    }
}

/// The watches on all roots.
#[derive(Debug)]
pub(super) struct Eye {
    watcher: Option<RecommendedWatcher>,
    inbox: Arc<Inbox>,
    armed: Vec<Armed>,
}

#[derive(Debug, Default)]
struct Armed {
    identity: Option<(u64, u64)>,
    real: PathBuf,
    parent: Option<PathBuf>,
}

impl Eye {
    /// Starts without any watch.
    pub(super) fn new(inbox: &Arc<Inbox>, settings: &WatchSettings) -> Self {
        let target = Arc::clone(inbox);
        let config = Config::default().with_follow_symlinks(false);
        let made = if settings.without_events {
            None
        } else {
            match RecommendedWatcher::new(move |event| target.receive(event), config) {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    polling(&error, settings);
                    None
                },
            }
        };
        Self { watcher: made, inbox: Arc::clone(inbox), armed: Vec::new() }
    }

    /// True when changes make events.
    pub(super) const fn sees(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches every root that is not watched yet, or that is another folder than before, and its
    /// parent, which tells when it comes back.
    pub(super) fn arm<'r>(&mut self, roots: impl Iterator<Item = &'r Path>) {
        if std::mem::take(&mut self.inbox.lock().root_lost) {
            self.armed.iter_mut().for_each(|armed| armed.identity = None);
        }
        for (index, root) in roots.enumerate() {
            if self.armed.len() <= index {
                self.armed.push(Armed::default());
            }
            if let Err(error) = self.arm_root(index, root) {
                // Without a watch on every root there is no telling what was missed.
                polling(&error, &WatchSettings::default());
                self.watcher = None;
            }
        }
    }

    fn arm_root(&mut self, index: usize, root: &Path) -> notify::Result<()> {
        let (Some(watcher), Some(armed)) = (&mut self.watcher, self.armed.get_mut(index)) else {
            return Ok(());
        };
        let absolute = std::path::absolute(root)?;
        if armed.parent.is_none()
            && let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
            && let Ok(parent) = parent.canonicalize()
        {
            watcher.watch(&parent, RecursiveMode::NonRecursive)?;
            self.inbox.watch(parent.join(name));
            armed.parent = Some(parent);
        }
        let identity = std::fs::metadata(root).ok().map(|found| (found.dev(), found.ino()));
        if identity == armed.identity {
            return Ok(());
        }
        armed.identity = identity;
        if !armed.real.as_os_str().is_empty() {
            // It may be gone already; then there is nothing to take back.
            drop(watcher.unwatch(&armed.real));
        }
        let Ok(real) = root.canonicalize() else { return Ok(()) };
        if real.is_dir() {
            match watcher.watch(&real, RecursiveMode::Recursive) {
                Ok(()) => {},
                Err(error) if is_gone(&error) => armed.identity = None,
                Err(error) => return Err(error),
            }
        }
        self.inbox.watch(real.clone());
        armed.real = real;
        Ok(())
    }
}

/// True when the path vanished between looking and watching.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn polling(error: &notify::Error, settings: &WatchSettings) {
    tracing::warn!(
        %error,
        every = ?settings.poll_only,
        "manifests cannot be watched and are polled instead; see fs.inotify limits"
    );
}
