//! The default certificate: where it comes from, and following it when it changes [DCERT-1, DCERT-2].
//!
//! Read at start, where anything wrong stops the process, and watched by a control task. As Secrets
//! are mounted, a folder's files are links behind a link `..data` that is renamed; so what is watched
//! is the folder, and what counts is the text.

use std::{path::Path, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    settings::{DefaultCert, RouterSettings},
    tls::{mint, pem},
};

/// From the last event to reading.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// From the first event to reading, however many follow.
const DEBOUNCE_MAX: Duration = Duration::from_millis(200);
/// Between two looks that no event asked for.
const POLL: Duration = Duration::from_secs(10);
/// Common name of a certificate that nobody gave [DCERT-2].
const COMMON_NAME: &str = "openshift-router";

/// PEM texts of a certificate and its key.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// Chain; may hold the key.
    pub(super) certificate: String,
    /// Key, if it is not there.
    pub(super) key: String,
}

impl std::fmt::Debug for Texts {
    /// Leaves out the texts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

/// The default certificate of `settings`: given as text, in a file or folder, or made here.
pub(super) fn texts(settings: &RouterSettings) -> anyhow::Result<Texts> {
    match &settings.default_cert {
        Some(DefaultCert::Text(text)) => {
            Ok(Texts { certificate: text.clone(), key: String::new() })
        },
        Some(DefaultCert::Path(path)) => read(path),
        None => {
            let name = match settings.domain.as_str() {
                "" => "localhost".to_owned(),
                domain => format!("*.{domain}"),
            };
            let pair = mint::self_signed_as(Some(COMMON_NAME), &[name])
                .context("cannot make a default certificate")?;
            Ok(Texts { certificate: pair.cert_pem, key: pair.key_pem })
        },
    }
}

/// The texts of a PEM file, or of a folder: `tls.crt`, and `tls.key` unless `tls.crt` has a key.
fn read(path: &Path) -> anyhow::Result<Texts> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the default certificate {}", path.display()))
    };
    if !path.is_dir() {
        return Ok(Texts { certificate: read(path)?, key: String::new() });
    }
    let certificate = read(&path.join("tls.crt"))?;
    let has_key = pem::lenient(&certificate).is_ok_and(|blocks| !blocks.keys.is_empty());
    let key = if has_key { String::new() } else { read(&path.join("tls.key"))? };
    Ok(Texts { certificate, key })
}

/// Sends the texts at `path` at first, since they may have changed since the start, and whenever they
/// have changed, until `cancel`.
pub(super) async fn watch(
    path: PathBuf,
    texts: watch::Sender<Arc<Texts>>,
    cancel: CancellationToken,
) {
    let changed = Arc::new(Notify::new());
    let mut eye = Eye::new(&path, &changed);
    let mut follower = Follower::default();
    let mut event = true;
    loop {
        eye.arm();
        match look(&path).await {
            Ok(now) => {
                if let Some(new) = follower.take(now, event) {
                    texts.send_replace(Arc::new(new));
                }
            },
            Err(error) => {
                if follower.fails() {
                    let error = format!("{error:#}");
                    tracing::error!(%error, "the default certificate is gone, the old one stays");
                }
            },
        }
        event = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = changed.notified() => {
                let calm = async { while timeout(DEBOUNCE, changed.notified()).await.is_ok() {} };
                // Running out of time is the storm that the limit is for.
                drop(timeout(DEBOUNCE_MAX, calm).await);
                true
            },
            () = tokio::time::sleep(POLL) => false,
        };
    }
}

/// Reads on the blocking pool: a mounted folder may be slow.
async fn look(path: &Path) -> anyhow::Result<Texts> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.context("reading was stopped")?
}

/// Tells changes from what is known.
#[derive(Debug, Default)]
struct Follower {
    last: Option<Texts>,
    /// Seen by a look that no event asked for: a writer may still be at it.
    seen: Option<Texts>,
    failed: bool,
}

impl Follower {
    /// `now`, if it is new, and finished: named by an event, or the same at two looks.
    fn take(&mut self, now: Texts, event: bool) -> Option<Texts> {
        self.failed = false;
        if self.last.as_ref() == Some(&now) {
            self.seen = None;
            return None;
        }
        if !event && self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return None;
        }
        self.seen = None;
        self.last = Some(now.clone());
        Some(now)
    }

    /// True the first time in a row.
    fn fails(&mut self) -> bool {
        !std::mem::replace(&mut self.failed, true)
    }
}

/// The watch on a folder.
struct Eye {
    watcher: Option<RecommendedWatcher>,
    folder: PathBuf,
}

impl Eye {
    fn new(path: &Path, changed: &Arc<Notify>) -> Self {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = if path.is_dir() { path } else { parent.unwrap_or_else(|| Path::new(".")) };
        let changed = Arc::clone(changed);
        let tell = move |event: notify::Result<notify::Event>| {
            if event.is_err() || event.is_ok_and(|event| is_finished(&event.kind)) {
                changed.notify_one();
            }
        };
        let watcher = RecommendedWatcher::new(tell, notify::Config::default());
        if let Err(error) = &watcher {
            tracing::warn!(%error, every = ?POLL, "the default certificate is polled");
        }
        Self { watcher: watcher.ok(), folder: folder.to_owned() }
    }

    /// Watches the folder, or the one that is there now. What fails is left to the poll.
    fn arm(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            drop(watcher.watch(&self.folder, RecursiveMode::NonRecursive));
        }
    }
}

/// True unless a writer is at it, or somebody only reads.
const fn is_finished(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => matches!(kind, AccessKind::Close(AccessMode::Write)),
        EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Texts {
        Texts { certificate: text.to_owned(), key: String::new() }
    }

    /// [DCERT-1]: what an event names is taken at once, what a poll finds when it has stayed the same;
    /// what was taken before is no news.
    #[test]
    fn changes_are_taken_once_and_when_they_are_finished() {
        let mut follower = Follower { last: Some(texts("a")), ..Follower::default() };
        assert_eq!(follower.take(texts("a"), true), None);
        assert_eq!(follower.take(texts("b"), true), Some(texts("b")));
        assert_eq!(follower.take(texts("b"), false), None);
        assert_eq!(follower.take(texts("c"), false), None);
        assert_eq!(follower.take(texts("cc"), false), None);
        assert_eq!(follower.take(texts("cc"), false), Some(texts("cc")));
        assert!(follower.fails());
        assert!(!follower.fails());
        assert_eq!(follower.take(texts("cc"), false), None);
        assert!(follower.fails());
    }
}
