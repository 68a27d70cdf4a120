//! The file of the service CA, read at start and looked at again while the router runs [REENC-2].
//!
//! Used by `app::router` and its control side. The file is a mounted Secret or ConfigMap, replaced by
//! renaming a link, seldom; looking at it now and then is enough, and works on every file system.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    compile::ServiceCa,
    settings::{RouterSettings, SERVICE_CA},
};

/// Most bytes of the file.
const MAX_BYTES: u64 = 4 << 20;

/// The file, whether it has to be there, and what it held last.
#[derive(Debug)]
pub(super) struct ServiceCaFile {
    path: PathBuf,
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
        let mut this = Self { path, is_required, found: ServiceCa::Unknown };
        this.look();
        this
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it held when it was last looked at.
    pub(super) const fn found(&self) -> &ServiceCa {
        &self.found
    }

    /// Looks at it; true when it holds something else than before.
    pub(super) fn look(&mut self) -> bool {
        let found = match read(&self.path) {
            Ok(text) => ServiceCa::Text(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_required => {
                ServiceCa::Absent
            },
            Err(error) => ServiceCa::Unreadable(error.to_string()),
        };
        let changed = found != self.found;
        self.found = found;
        changed
    }
}

fn read(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
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
        assert!(file.look() && !file.look());
        assert_eq!(*file.found(), ServiceCa::Text("two".to_owned()));
    }
}
