//! The file system side of a folder of manifests: which files it holds, and their text.
//!
//! Called by `source::directory`. Always holds: only regular files are opened for reading, nothing
//! here can block on a pipe or device, and a text is only returned if the file did not change while
//! it was read.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::model::finding::{Code, codes};

/// Largest file that is read (S-90).
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most files of one root.
const MAX_FILES: usize = 200_000;
/// Deepest folder.
const MAX_FOLDERS_DEEP: usize = 32;
/// Tries to list or read without a change in between.
const TRIES: usize = 3;

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that a root shows.
#[derive(Debug)]
pub(super) struct Entry {
    /// Path below the root; empty when the root itself is a file.
    pub(super) relative: PathBuf,
    /// Path without symbolic links.
    pub(super) real: PathBuf,
    /// True when a link leads to it.
    pub(super) linked: bool,
    /// Its version.
    pub(super) identity: Identity,
}

/// Something in a root that is not read, by path below the root.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) relative: PathBuf,
    pub(super) code: Code,
    pub(super) text: String,
}

/// What a root shows at one moment, sorted by path.
#[derive(Debug)]
pub(super) struct Listing {
    /// Device and inode of the root.
    pub(super) identity: (u64, u64),
    /// Files to read.
    pub(super) entries: Vec<Entry>,
    /// What is skipped.
    pub(super) problems: Vec<Problem>,
    /// Folders that could not be listed: nothing is known about what they hold.
    pub(super) unknown: Vec<PathBuf>,
}

/// Lists a root again until no `..data` link was swapped meanwhile, so that all files of one
/// Kubernetes volume are of one version (F-17).
///
/// # Errors
/// When the root itself is not there or cannot be listed.
pub(super) fn list(root: &Path, within: &[PathBuf]) -> io::Result<Listing> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut walk = Walk::new(within);
        let identity = walk.root(root)?;
        if tries == TRIES || walk.links.iter().all(|(link, to)| target(link) == *to) {
            return Ok(walk.into_listing(identity));
        }
    }
}

fn target(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok()
}

struct Walk<'a> {
    within: &'a [PathBuf],
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    unknown: Vec<PathBuf>,
    links: Vec<(PathBuf, Option<PathBuf>)>,
    folders: HashSet<PathBuf>,
}

impl<'a> Walk<'a> {
    fn new(within: &'a [PathBuf]) -> Self {
        Self {
            within,
            entries: Vec::new(),
            problems: Vec::new(),
            unknown: Vec::new(),
            links: Vec::new(),
            folders: HashSet::new(),
        }
    }

    fn root(&mut self, root: &Path) -> io::Result<(u64, u64)> {
        let real = root.canonicalize()?;
        let metadata = fs::metadata(&real)?;
        if metadata.is_dir() {
            fs::read_dir(&real)?;
            self.folder(PathBuf::new(), real, 0);
        } else {
            self.file(PathBuf::new(), real, false, &metadata);
        }
        Ok((metadata.dev(), metadata.ino()))
    }

    fn folder(&mut self, relative: PathBuf, real: PathBuf, depth: usize) {
        if depth > MAX_FOLDERS_DEEP || !self.folders.insert(real.clone()) {
            return;
        }
        let names = fs::read_dir(&real).and_then(|listing| {
            listing.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let Ok(mut names) = names else {
            self.problem(&relative, codes::UNREADABLE, "the folder cannot be listed");
            self.unknown.push(relative);
            return;
        };
        names.sort_unstable();
        for name in names {
            let path = real.join(&name);
            if name == "..data" {
                self.links.push((path.clone(), target(&path)));
            }
            if !name.as_encoded_bytes().starts_with(b".") {
                self.name(relative.join(&name), path, depth);
            }
        }
    }

    fn name(&mut self, relative: PathBuf, path: PathBuf, depth: usize) {
        let Ok(link) = fs::symlink_metadata(&path) else { return };
        let linked = link.is_symlink();
        let (real, metadata) = if linked {
            let Ok((real, metadata)) = path.canonicalize().and_then(|real| {
                let metadata = fs::metadata(&real)?;
                Ok((real, metadata))
            }) else {
                if is_manifest(&relative) {
                    self.problem(&relative, codes::OUTSIDE_ROOT, "the link leads nowhere");
                }
                return;
            };
            (real, metadata)
        } else {
            (path, link)
        };
        if !metadata.is_dir() && !is_manifest(&relative) {
            return;
        }
        if linked && !self.within.iter().any(|root| real.starts_with(root)) {
            self.problem(&relative, codes::OUTSIDE_ROOT, "the link leads out of the folder");
        } else if metadata.is_dir() {
            self.folder(relative, real, depth + 1);
        } else {
            self.file(relative, real, linked, &metadata);
        }
    }

    fn file(&mut self, relative: PathBuf, real: PathBuf, linked: bool, metadata: &Metadata) {
        if !metadata.is_file() {
            self.problem(&relative, codes::NOT_REGULAR, "this is not a regular file");
        } else if self.entries.len() >= MAX_FILES {
            self.problem(&relative, codes::LIMIT, "more than 200000 files, the rest is skipped");
        } else {
            self.entries.push(Entry { relative, real, linked, identity: Identity::of(metadata) });
        }
    }

    fn problem(&mut self, relative: &Path, code: Code, text: &str) {
        if self.problems.len() < 1_000 {
            let (relative, text) = (relative.to_owned(), text.to_owned());
            self.problems.push(Problem { relative, code, text });
        }
    }

    /// Each file once: where a link and its target are both shown, the target.
    fn into_listing(mut self, identity: (u64, u64)) -> Listing {
        self.entries.sort_by(|a, b| (a.linked, &a.relative).cmp(&(b.linked, &b.relative)));
        let mut seen = HashSet::new();
        self.entries.retain(|entry| seen.insert(entry.real.clone()));
        self.entries.sort_by(|a, b| a.relative.cmp(&b.relative));
        let Self { entries, problems, unknown, .. } = self;
        Listing { identity, entries, problems, unknown }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the file changed while it was read")]
    Changing,
    #[error("the file is gone")]
    Gone,
    #[error("the file cannot be read: {0}")]
    Io(#[source] io::Error),
    #[error("the file is a pipe, a socket or a device")]
    NotRegular,
    #[error("the file is not UTF-8 text")]
    NotText,
    #[error("the file has {0} bytes, 4194304 are read")]
    TooLarge(u64),
}

impl ReadError {
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Changing | Self::Gone | Self::Io(_) | Self::NotText => codes::UNREADABLE,
            Self::NotRegular => codes::NOT_REGULAR,
            Self::TooLarge(_) => codes::TOO_LARGE,
        }
    }
}

/// Text and version of a file.
///
/// # Errors
/// When there is no stable text to be had.
pub(super) fn read(path: &Path) -> Result<(Identity, String), ReadError> {
    for _ in 0..TRIES {
        if let Some(read) = read_once(path)? {
            return Ok(read);
        }
    }
    Err(ReadError::Changing)
}

/// `None` when the file changed meanwhile.
fn read_once(path: &Path) -> Result<Option<(Identity, String)>, ReadError> {
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Gone,
        _ => ReadError::Io(error),
    };
    // A pipe in the place of the file must not block this thread.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
        .map_err(missing)?;
    let before = file.metadata().map_err(ReadError::Io)?;
    if !before.is_file() {
        return Err(ReadError::NotRegular);
    }
    if before.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge(before.len()));
    }
    let bytes = read_bytes(&file).map_err(ReadError::Io)?;
    let after = Identity::of(&file.metadata().map_err(ReadError::Io)?);
    let now = fs::metadata(path).map(|metadata| Identity::of(&metadata)).map_err(missing)?;
    if Identity::of(&before) != after || after != now || bytes.len() as u64 != after.size {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_error| ReadError::NotText)?;
    Ok(Some((after, text)))
}

fn read_bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
