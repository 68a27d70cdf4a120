//! Follows the configuration file and the certificates that it names.
//!
//! The directory is watched, not the file: editors and mounted ConfigMaps replace files by renaming.
//! A poll covers what the watch misses, certificates in other directories among it; it applies what it
//! has read only once it has seen it twice, so that a file in the middle of being written is left alone.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::{sync::watch, time::timeout};

use crate::nlb::{
    NlbHandle,
    config::{LoadError, files, parse_file, read_text},
};

/// Quiet time after an event before the file is read.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Events in a row after which the file is read without quiet time.
const STORM: usize = 4;
/// Between two polls.
const POLL: Duration = Duration::from_secs(2);

/// What a configuration is made of: its text, and what tells each certificate file from a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    text: String,
    stamps: Vec<Option<Stamp>>,
}

/// Time of the last change, length and inode.
type Stamp = (SystemTime, u64, u64);

impl Source {
    fn new(path: &Path, text: String) -> Self {
        let stamp = |file: PathBuf| {
            let about = std::fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.len(), about.ino()))
        };
        let stamps = files(path, &text).into_iter().map(stamp).collect();
        Self { text, stamps }
    }
}

/// Applies every change of the file at `path` and of its certificates for ever. `applied` is the text
/// that runs.
pub(super) async fn follow(path: PathBuf, applied: String, handle: &NlbHandle) {
    // The certificates may have changed since they were read: the first look applies what there is.
    let has_files = !files(&path, &applied).is_empty();
    let mut applied = Source { text: applied, stamps: vec![None; usize::from(has_files)] };
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
    let mut polled: Option<Source> = None;
    loop {
        let woken = timeout(POLL, changes.changed()).await.is_ok();
        if woken {
            for _ in 0..STORM {
                if timeout(DEBOUNCE, changes.changed()).await.is_err() {
                    break;
                }
            }
        }
        let Some(source) = read(&path).await else { continue };
        if source == applied {
            polled = None;
        } else if woken || polled.as_ref() == Some(&source) {
            apply(&path, &source.text, handle);
            applied = source;
            polled = None;
        } else {
            polled = Some(source);
        }
    }
}

/// What there is, or nothing while the file is being replaced.
async fn read(path: &Path) -> Option<Source> {
    let path = path.to_owned();
    let read =
        tokio::task::spawn_blocking(move || read_text(&path).map(|text| Source::new(&path, text)))
            .await;
    match read {
        Ok(Ok(source)) => Some(source),
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
    use crate::{
        nlb::config::parse,
        tls::{client, mint},
    };

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

    /// The certificate that the listener at `address` shows.
    async fn shown(address: std::net::SocketAddr) -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = client::unverified(&provider, &[&rustls::version::TLS12], &[]).unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(client::nobody(), stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// A new certificate is served without an edit of the configuration; one that does not fit its key
    /// changes nothing.
    #[tokio::test]
    async fn certificates_are_followed_and_bad_ones_are_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nlb.yaml");
        let save = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let pairs: Vec<_> =
            (0..3).map(|_| mint::self_signed(&["a.test".to_owned()]).unwrap()).collect();
        let der = |index: usize| {
            let blocks = crate::tls::pem::certificates(&pairs[index].cert_pem).unwrap();
            blocks.certificates[0].to_vec()
        };
        let text = ONE.replace(
            "targetGroup: web",
            "targetGroup: web, protocol: TLS, certificates: [{ certificate: a.pem, key: a.key }]",
        );
        save("a.pem", &pairs[0].cert_pem);
        save("a.key", &pairs[0].key_pem);
        save("nlb.yaml", &text);
        let config = parse_file(&path, &text).unwrap();
        let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
        let address = handle.local_addrs()[0].1;
        let following = {
            let (path, handle) = (path.clone(), handle.clone());
            tokio::spawn(async move { follow(path, text, &handle).await })
        };
        assert_eq!(shown(address).await, der(0));
        // The third certificate comes without its key, which is that of the second.
        for (certificate, key, expected) in [(1, 1, 1), (2, 1, 1), (2, 2, 2)] {
            save("a.pem", &pairs[certificate].cert_pem);
            save("a.key", &pairs[key].key_pem);
            if certificate != key {
                apply(&path, &read_text(&path).unwrap(), &handle);
            }
            let served = async {
                while shown(address).await != der(expected) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(30), served).await.expect("the new certificate");
        }
        following.abort();
    }
}
