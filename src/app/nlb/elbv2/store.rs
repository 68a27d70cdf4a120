//! Where the account stays over restarts: `nlb-state.json` in the state directory.
//!
//! Always holds: a reader sees the whole file before a change or the whole file after it; a file that
//! cannot be read is never overwritten, since nothing starts then.

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::nlb::account::Stored;

/// Name of the file.
const FILE: &str = "nlb-state.json";
/// Version of what is written.
const VERSION: u32 = 1;
/// Size of the file at most.
const MAX_BYTES: u64 = 256 << 20;

/// What the file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    version: u32,
    account: T,
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}:{column}: {problem}; repair the file or move it away", path.display())]
pub(super) struct StateError {
    path: PathBuf,
    line: usize,
    column: usize,
    problem: String,
}

/// The file of a state directory.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        // The directory of `nlb.yaml` is written as nothing.
        let here = directory.as_os_str().is_empty();
        Self { directory: if here { PathBuf::from(".") } else { directory.to_owned() } }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// What is wrong with the file as a whole.
    pub(super) fn broken(&self, problem: impl Into<String>) -> StateError {
        StateError { path: self.path(), line: 1, column: 1, problem: problem.into() }
    }

    /// What was stored; nothing if nothing was.
    pub(super) fn load(&self) -> Result<Stored, StateError> {
        let text = match read(&self.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Stored::default()),
            read => read.map_err(|error| self.broken(format!("cannot be read: {error}")))?,
        };
        let at = |error: &serde_json::Error| {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            StateError {
                path: self.path(),
                line: error.line(),
                column: error.column(),
                problem: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
            }
        };
        // The version first: another one may have other words.
        let versioned: Document<serde::de::IgnoredAny> =
            serde_json::from_str(&text).map_err(|error| at(&error))?;
        if versioned.version != VERSION {
            let problem = format!("the version {} is not known, only {VERSION}", versioned.version);
            return Err(self.broken(problem));
        }
        let document: Document<Stored> = serde_json::from_str(&text).map_err(|error| at(&error))?;
        Ok(document.account)
    }

    /// Replaces what is stored.
    pub(super) fn save(&self, account: &Stored) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, account })?;
        // The name starts with a dot: a watcher of the directory leaves it alone.
        let beside = self.directory.join(format!(".{FILE}"));
        let attempt = || {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.custom_flags(libc::O_NOFOLLOW).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, self.path())?;
            // The new name is on the disk when its directory is.
            fs::File::open(&self.directory)?.sync_all()
        };
        attempt().inspect_err(|_first| {
            // Best effort: the first error is the one to report.
            let _ = fs::remove_file(&beside);
        })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(store.load().unwrap(), Stored::default());
        // What a process left that died while it wrote.
        fs::write(folder.path().join(format!(".{FILE}")), "{").unwrap();
        store.save(&Stored::default()).unwrap();
        assert_eq!(store.load().unwrap(), Stored::default());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let gone = Store::new(&folder.path().join("gone"));
        assert_eq!(gone.save(&Stored::default()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_damaged_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for (text, place, word) in [
            ("", "1:0", "EOF"),
            ("{\n  \"version\": 1,\n  \"account\": {", "3:14", "EOF"),
            ("{\"version\":2,\"account\":{\"new\":1}}", "1:1", "version 2"),
            ("{\"version\":1,\"account\":{\"new\":1}}", "1:29", "new"),
        ] {
            fs::write(store.path(), text).unwrap();
            let error = store.load().unwrap_err().to_string();
            let expected = format!("{}:{place}: ", store.path().display());
            assert!(error.starts_with(&expected) && error.contains(word), "{text}: {error}");
            assert_eq!(fs::read_to_string(store.path()).unwrap(), text);
        }
    }
}
