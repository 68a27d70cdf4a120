//! One file that is read again after each change of what its path leads to.
//!
//! By looking, not by events: the path may go through the links that a kubelet swaps, and two looks a
//! second at two files cost nothing. A change counts once it was seen twice, so never in the middle of a
//! writer's work (decisions 3).

use std::{io, io::Read as _, os::unix::fs::MetadataExt as _, path::PathBuf};

/// Bytes of a file at most.
const MAX_BYTES: u64 = 64 << 20;

/// Device, inode, size and both times, which no change leaves alone; nothing when it is not there.
type Mark = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// A file with what was seen of it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) path: PathBuf,
    /// As it was when it was last read.
    read: Mark,
    /// As it was at the last look.
    seen: Mark,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// What is there now.
    New(io::Result<Vec<u8>>),
}

impl Followed {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, read: None, seen: None }
    }

    /// Reads it for the first time.
    pub(super) fn first(&mut self) -> io::Result<Vec<u8>> {
        self.read = self.mark();
        self.seen = self.read;
        self.content()
    }

    /// Reads it if it has changed since it was last read, and not since the last look.
    pub(super) fn look(&mut self) -> Look {
        let now = self.mark();
        let before = std::mem::replace(&mut self.seen, now);
        if now == self.read || now != before {
            return Look::Same;
        }
        self.read = now;
        Look::New(self.content())
    }

    fn mark(&self) -> Mark {
        let found = std::fs::metadata(&self.path).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        let modified = (found.mtime(), found.mtime_nsec());
        Some((found.dev(), found.ino(), found.size(), changed, modified))
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(file: &mut Followed) -> Option<Option<String>> {
        match file.look() {
            Look::Same => None,
            Look::New(content) => Some(content.ok().map(|bytes| String::from_utf8(bytes).unwrap())),
        }
    }

    #[test]
    fn a_change_counts_once_it_was_seen_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "one").unwrap();
        let mut file = Followed::new(path.clone());
        assert_eq!(file.first().unwrap(), b"one");
        assert_eq!(news(&mut file), None);
        std::fs::write(&path, "two").unwrap();
        assert_eq!(news(&mut file), None);
        assert_eq!(news(&mut file), Some(Some("two".to_owned())));
        assert_eq!(news(&mut file), None);
        std::fs::write(&path, "three").unwrap();
        assert_eq!(news(&mut file), None);
        std::fs::write(&path, "three and more").unwrap();
        assert_eq!(news(&mut file), None, "it is still being written");
        assert_eq!(news(&mut file), Some(Some("three and more".to_owned())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(news(&mut file), None);
        assert_eq!(news(&mut file), Some(None), "that it is gone is news, once");
        assert_eq!(news(&mut file), None);
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Followed::new(folder.path().to_owned()).first().is_err());
        assert!(Followed::new(folder.path().join("none")).first().is_err());
    }
}
