//! The file of the service CA, read at start and followed while the router runs [REENC-2].
//!
//! Used by `app::router` and its control side.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::followed::Followed;
use crate::{
    compile::ServiceCa,
    settings::{RouterSettings, SERVICE_CA},
};

/// Most bytes of the file.
const MAX_BYTES: u64 = 4 << 20;

/// The file, whether it has to be there, and what it held last.
#[derive(Debug)]
pub(super) struct ServiceCaFile {
    file: Followed,
    is_required: bool,
    found: ServiceCa,
}

impl ServiceCaFile {
    /// Reads the file that `settings` name: one that was asked for has to be there.
    pub(super) fn new(settings: &RouterSettings) -> Self {
        let (path, is_required) = match &settings.destination_ca {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(SERVICE_CA), false),
        };
        Self::at(path, is_required)
    }

    fn at(path: PathBuf, is_required: bool) -> Self {
        let file = Followed::new(path, MAX_BYTES);
        let found = read(&file, is_required);
        Self { file, is_required, found }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// What it held when it last counted.
    pub(super) const fn found(&self) -> &ServiceCa {
        &self.found
    }

    /// Looks at it; true when it holds something else than before.
    pub(super) fn look(&mut self) -> bool {
        if !self.file.has_changed() {
            return false;
        }
        let found = read(&self.file, self.is_required);
        let changed = found != self.found;
        self.found = found;
        changed
    }
}

fn read(file: &Followed, is_required: bool) -> ServiceCa {
    match file.text() {
        Ok(text) => ServiceCa::Text(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_required => ServiceCa::Absent,
        Err(error) => ServiceCa::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// [REENC-2]: a file that was asked for has to be there, the cluster's own need not.
    #[test]
    fn reenc_2_only_the_clusters_own_file_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let found = |path: &Path, is_required| {
            ServiceCaFile::at(path.to_owned(), is_required).found().clone()
        };
        assert_eq!(found(&path, false), ServiceCa::Absent);
        assert!(matches!(found(&path, true), ServiceCa::Unreadable(_)));
        assert!(matches!(found(folder.path(), false), ServiceCa::Unreadable(_)));
        fs::write(&path, "text").unwrap();
        assert_eq!(found(&path, false), ServiceCa::Text("text".to_owned()));
        fs::write(&path, b"\xff").unwrap();
        assert!(matches!(found(&path, false), ServiceCa::Unreadable(_)));
        let settings = RouterSettings::default();
        assert!(!ServiceCaFile::new(&settings).is_required);
        let settings = RouterSettings { destination_ca: Some("x".into()), ..settings };
        assert!(ServiceCaFile::new(&settings).is_required);
    }

    #[test]
    fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        fs::write(&path, "one").unwrap();
        let mut file = ServiceCaFile::at(path.clone(), true);
        assert!(!file.look());
        fs::write(&path, "two").unwrap();
        // Seen once: somebody may still be writing it.
        assert!(!file.look());
        assert!(file.look() && !file.look());
        assert_eq!(*file.found(), ServiceCa::Text("two".to_owned()));
    }
}
