//! A file beside the manifests that counts again after each change of what its path leads to.
//!
//! Used by whatever reads one: `client_auth`, `default_cert`, `pages`, `service_ca`. By looking, not by
//! events: the path may go through the links that a kubelet swaps, and a look at a handful of files costs
//! nothing. Always holds: a change counts once it was seen twice, so never in the middle of a writer's
//! work (decisions 3); only regular files are read, and none beyond its limit.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Device, inode, size and both times, which no change leaves alone; nothing when it is not there.
type Mark = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// A file with what was seen of it.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    /// Bytes at most.
    limit: u64,
    /// As it was when it last counted.
    taken: Mark,
    /// As it was at the last look.
    seen: Mark,
}

impl Followed {
    /// The file at `path`, of `limit` bytes at most, as it is now: only a later change counts.
    pub(super) fn new(path: impl Into<PathBuf>, limit: u64) -> Self {
        let path = path.into();
        let now = mark(&path);
        Self { path, limit, taken: now, seen: now }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks; true when it has changed since it last counted, and not since the last look. That it is
    /// gone is a change.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = mark(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        if now == self.taken || now != before {
            return false;
        }
        self.taken = now;
        true
    }

    /// What it holds.
    ///
    /// # Errors
    /// It cannot be read, is no regular file, or is too large.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        // A pipe in the place of the file must not block this thread.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file = options.open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(self.limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.limit {
            let text = format!("it has more than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(bytes)
    }

    /// The same, as text.
    ///
    /// # Errors
    /// Also when it is not UTF-8.
    pub(super) fn text(&self) -> io::Result<String> {
        String::from_utf8(self.read()?).map_err(|_bytes| {
            // Not the library's words, which hold the bytes.
            io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")
        })
    }
}

/// Links are followed: a mounted Secret is one.
fn mark(path: &Path) -> Mark {
    let found = fs::metadata(path).ok()?;
    let changed = (found.ctime(), found.ctime_nsec());
    let modified = (found.mtime(), found.mtime_nsec());
    Some((found.dev(), found.ino(), found.size(), changed, modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> Followed {
        Followed::new(path, 20)
    }

    #[test]
    fn a_change_counts_once_it_was_seen_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let mut file = file(&path);
        assert_eq!(file.read().unwrap(), b"one");
        assert!(!file.has_changed() && !file.has_changed());
        fs::write(&path, "three").unwrap();
        assert!(!file.has_changed());
        fs::write(&path, "three and more").unwrap();
        assert!(!file.has_changed(), "it is still being written");
        assert!(file.has_changed() && !file.has_changed());
        assert_eq!(file.text().unwrap(), "three and more");
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed());
        assert!(file.has_changed() && !file.has_changed(), "that it is gone is news, once");
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| file(path).text().map_err(|error| error.kind());
        assert_eq!(kind(folder.path()), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind(&folder.path().join("none")), Err(io::ErrorKind::NotFound));
        let path = folder.path().join("file");
        fs::write(&path, "x".repeat(20)).unwrap();
        assert_eq!(kind(&path), Ok("x".repeat(20)));
        fs::write(&path, "x".repeat(21)).unwrap();
        assert_eq!(kind(&path), Err(io::ErrorKind::FileTooLarge));
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(kind(&path), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(Path::new("/dev/zero")), Err(io::ErrorKind::InvalidInput));
    }
}
