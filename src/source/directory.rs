//! A folder of manifests as a source: what its files hold, version by version.
//!
//! Used by `source::watch`, and directly by commands that look once. Always holds: an object that
//! was valid stays in force until a valid version replaces it, its document is taken out, or its
//! file is deleted (decisions 4). Unchanged files are neither read nor parsed again.

mod files;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::files::{Identity, Listing, ReadError};
use super::{
    document::{self, Content, Outcome},
    ingress,
    object::{AnyObject, ObjectId},
};
use crate::model::{
    finding::{Finding, Place, codes},
    objects::Objects,
};

/// Objects of one file that `order` leaves room for.
const ORDER_BITS: u32 = 20;

/// Which changed files count at a look.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// Files and folders that were closed after writing or renamed into place.
    pub settled: HashSet<PathBuf>,
    /// Files that a writer has open.
    pub writing: HashSet<PathBuf>,
    /// How long a file of neither set must be unchanged.
    pub quiet: Duration,
    /// How long a file that is being written must be unchanged: the writer may have been missed
    /// when it closed.
    pub quiet_writing: Duration,
}

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Objects or findings are not as before.
    pub changed: bool,
    /// Something changed that does not count yet; look again.
    pub unsettled: bool,
}

/// The manifests below some roots.
#[derive(Debug)]
pub struct Directory {
    roots: Vec<Root>,
    host_suffix: String,
    forgets_texts: bool,
    files: BTreeMap<(usize, PathBuf), Manifest>,
    objects: Objects,
    findings: Vec<Finding>,
    duplicates: Vec<Finding>,
    /// What was left out of Ingresses.
    converted: Vec<Finding>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Device and inode when it was last seen.
    identity: Option<(u64, u64)>,
    missing: bool,
    /// Set when the root came back or was replaced: files that are not there yet may still come.
    returned: Option<Instant>,
    findings: Vec<Finding>,
}

/// A file and what it contributes.
#[derive(Debug)]
struct Manifest {
    shown: String,
    real: PathBuf,
    identity: Option<Identity>,
    /// A version that does not count yet, and since when it is seen.
    candidate: Option<(Identity, Instant)>,
    objects: Vec<AnyObject>,
    findings: Vec<Finding>,
    /// Why the present version has no text.
    problem: Option<Finding>,
}

impl Directory {
    /// A source over files and folders; nothing is read yet. `host_suffix` is for [APISRV-1].
    #[must_use]
    pub fn new(roots: Vec<PathBuf>, host_suffix: String) -> Self {
        let root = |path| Root {
            path,
            identity: None,
            missing: false,
            returned: None,
            findings: Vec::new(),
        };
        Self {
            roots: roots.into_iter().map(root).collect(),
            host_suffix,
            forgets_texts: false,
            files: BTreeMap::new(),
            objects: Objects::default(),
            findings: Vec::new(),
            duplicates: Vec::new(),
            converted: Vec::new(),
        }
    }

    /// Keeps no texts: what is found wrong with an object later points at the object and not at the field.
    #[must_use]
    pub const fn forgetting_texts(mut self) -> Self {
        self.forgets_texts = true;
        self
    }

    /// The roots as they were given.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.path.as_path())
    }

    /// Number of files that are read.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The objects in force.
    #[must_use]
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// What is wrong with files and objects, each taken by itself.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }

    /// Looks at everything and takes every change as it is; true when anything changed.
    pub fn scan(&mut self, now: Instant) -> bool {
        self.look(now, None).changed
    }

    /// Looks at everything and takes the changes that count by `hints`.
    pub fn scan_settled(&mut self, now: Instant, hints: &Hints) -> Seen {
        self.look(now, Some(hints))
    }

    fn look(&mut self, now: Instant, hints: Option<&Hints>) -> Seen {
        let within: Vec<PathBuf> =
            self.roots.iter().filter_map(|root| root.path.canonicalize().ok()).collect();
        let mut seen = Seen::default();
        for index in 0..self.roots.len() {
            match files::list(&self.roots[index].path, &within) {
                Ok(listing) => self.root_present(index, listing, now, hints, &mut seen),
                Err(error) => self.root_missing(index, &error.to_string()),
            }
        }
        seen.changed |= self.assemble(seen.changed);
        seen
    }

    fn root_missing(&mut self, index: usize, why: &str) {
        let held = self.files.range(range(index)).count();
        let root = &mut self.roots[index];
        root.missing = true;
        let place = Place::file(&root.path.to_string_lossy());
        let kept = match held {
            0 => String::new(),
            held => format!("; the objects of its {held} files keep serving"),
        };
        let text = format!("the manifests cannot be listed: {why}{kept}");
        root.findings = vec![Finding::new(codes::ROOT_MISSING, place, text)];
    }

    fn root_present(
        &mut self,
        index: usize,
        listing: Listing,
        now: Instant,
        hints: Option<&Hints>,
        seen: &mut Seen,
    ) {
        let held = self.files.range(range(index)).count();
        let root = &mut self.roots[index];
        let other_device = root.identity.is_some_and(|(device, _)| device != listing.identity.0);
        if held > 0 && other_device && listing.entries.is_empty() {
            // An empty mount point: what was mounted here is gone for the moment.
            return self.root_missing(index, "nothing is mounted there");
        }
        let replaced = root.identity.is_some_and(|identity| identity != listing.identity);
        if root.missing || replaced {
            root.returned = Some(now);
        }
        root.missing = false;
        root.identity = Some(listing.identity);
        root.findings = listing
            .problems
            .iter()
            .map(|problem| {
                let shown = shown(&root.path, &problem.relative);
                Finding::new(problem.code, Place::file(&shown), problem.text.clone())
            })
            .collect();
        let quiet = hints.map_or(Duration::ZERO, |hints| hints.quiet);
        let waiting = root.returned.is_some_and(|since| now.duration_since(since) < quiet);
        if waiting {
            seen.unsettled = true;
        } else {
            root.returned = None;
        }
        let mut present = BTreeSet::new();
        for entry in &listing.entries {
            present.insert(entry.relative.clone());
            self.entry(index, entry, now, hints, seen);
        }
        if !waiting {
            self.remove_absent(index, &present, &listing.unknown, seen);
        }
    }

    fn remove_absent(
        &mut self,
        index: usize,
        present: &BTreeSet<PathBuf>,
        unknown: &[PathBuf],
        seen: &mut Seen,
    ) {
        let gone: Vec<_> = self
            .files
            .range(range(index))
            .map(|(key, _)| key)
            .filter(|(_, path)| !present.contains(path))
            .filter(|(_, path)| !unknown.iter().any(|folder| path.starts_with(folder)))
            .cloned()
            .collect();
        for key in gone {
            self.files.remove(&key);
            seen.changed = true;
        }
    }

    /// Takes over one listed file if it changed and the change counts.
    fn entry(
        &mut self,
        index: usize,
        entry: &files::Entry,
        now: Instant,
        hints: Option<&Hints>,
        seen: &mut Seen,
    ) {
        let key = (index, entry.relative.clone());
        let root = &self.roots[index].path;
        let known = self.files.get_mut(&key);
        let moved = match &known {
            Some(file) => file.real != entry.real,
            None => entry.linked,
        };
        if let Some(file) = &known
            && file.identity == Some(entry.identity)
            && !moved
        {
            return;
        }
        let file = match known {
            Some(file) => file,
            None => self.files.entry(key).or_insert_with(|| Manifest {
                shown: shown(root, &entry.relative),
                real: entry.real.clone(),
                identity: None,
                candidate: None,
                objects: Vec::new(),
                findings: Vec::new(),
                problem: None,
            }),
        };
        if let Some(hints) = hints
            && !moved
            && !file.counts(entry, now, hints)
        {
            seen.unsettled = true;
            return;
        }
        entry.real.clone_into(&mut file.real);
        match file.read(&self.host_suffix, entry.identity) {
            Some(changed) => {
                seen.changed |= changed;
                if self.forgets_texts {
                    file.objects.iter_mut().for_each(AnyObject::forget_text);
                }
            },
            None => {
                file.candidate = Some((entry.identity, now));
                seen.unsettled = true;
            },
        }
    }

    /// Puts the set together again; true when the findings changed.
    fn assemble(&mut self, objects_changed: bool) -> bool {
        let mut findings: Vec<Finding> =
            self.roots.iter().flat_map(|root| root.findings.iter().cloned()).collect();
        for file in self.files.values() {
            findings.extend(file.findings.iter().chain(&file.problem).cloned());
        }
        if objects_changed {
            let mut objects = Objects::default();
            let mut owners: HashMap<ObjectId, Place> = HashMap::new();
            self.duplicates.clear();
            for (number, file) in (0u64..).zip(self.files.values_mut()) {
                for (position, object) in (0u64..).zip(&mut file.objects) {
                    let id = object.id();
                    if let Some(first) = owners.get(&id) {
                        self.duplicates.push(duplicate(&id, object.place(), first));
                        continue;
                    }
                    owners.insert(id, object.place().clone());
                    object.set_order((number << ORDER_BITS) | position);
                    object.add_to(&mut objects);
                }
            }
            let ingress::Converted { mut routes, findings } = ingress::convert(&objects);
            objects.routes.append(&mut routes);
            self.objects = objects;
            self.converted = findings;
        }
        findings.extend(self.duplicates.iter().chain(&self.converted).cloned());
        let changed = findings != self.findings;
        self.findings = findings;
        changed
    }
}

impl Manifest {
    /// True when the listed version may be read now.
    fn counts(&mut self, entry: &files::Entry, now: Instant, hints: &Hints) -> bool {
        let writing = hints.writing.contains(&entry.real);
        if !writing && entry.real.ancestors().any(|path| hints.settled.contains(path)) {
            return true;
        }
        let quiet = if writing { hints.quiet_writing } else { hints.quiet };
        match self.candidate {
            Some((identity, since)) if identity == entry.identity => {
                now.duration_since(since) >= quiet
            },
            _ => {
                self.candidate = Some((entry.identity, now));
                false
            },
        }
    }

    /// Reads the present version; `None` when it is still changing, else whether anything changed.
    fn read(&mut self, host_suffix: &str, listed: Identity) -> Option<bool> {
        let (identity, text) = match files::read(&self.real) {
            Ok(read) => read,
            Err(ReadError::Changing | ReadError::Gone) => return None,
            Err(error) => {
                let place = Place::file(&self.shown);
                let finding = Finding::new(error.code(), place, error.to_string());
                let changed = self.problem.as_ref() != Some(&finding);
                self.problem = Some(finding);
                // Tried again when the file changes; a change of mode is one.
                self.identity = Some(listed);
                self.candidate = None;
                return Some(changed);
            },
        };
        self.identity = Some(identity);
        self.candidate = None;
        let had_problem = self.problem.take().is_some();
        let content = document::read(&self.shown, &text, host_suffix);
        let (objects, findings) = take_over(&self.objects, content);
        let same = objects.len() == self.objects.len()
            && objects.iter().zip(&self.objects).all(|(new, old)| new.is(old))
            && findings == self.findings;
        self.objects = objects;
        self.findings = findings;
        Some(had_problem || !same)
    }
}

/// The objects in force after a file's text became `content`: valid ones as they are, invalid ones
/// in their last valid version. An object whose text did not change stays the same `Arc`.
fn take_over(before: &[AnyObject], content: Content) -> (Vec<AnyObject>, Vec<Finding>) {
    let old: HashMap<ObjectId, &AnyObject> = before.iter().map(|o| (o.id(), o)).collect();
    let mut findings = content.findings;
    let mut taken: HashSet<ObjectId> = content
        .outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Valid(object) => Some(object.id()),
            Outcome::Invalid(id) => id.clone(),
        })
        .collect();
    let valid: HashSet<ObjectId> = content
        .outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Valid(object) => Some(object.id()),
            Outcome::Invalid(_) => None,
        })
        .collect();
    let mut objects = Vec::new();
    let mut kept = HashSet::new();
    for outcome in content.outcomes {
        match outcome {
            Outcome::Valid(object) => objects.push(match old.get(&object.id()) {
                Some(same) if same.has_text_of(&object) => (*same).clone(),
                _ => object,
            }),
            Outcome::Invalid(Some(id)) => {
                if let Some(last) = old.get(&id)
                    && !valid.contains(&id)
                    && kept.insert(id)
                {
                    findings.push(last_good(last));
                    objects.push((*last).clone());
                }
            },
            Outcome::Invalid(None) => {
                for last in before {
                    if taken.insert(last.id()) {
                        findings.push(last_good(last));
                        objects.push(last.clone());
                    }
                }
            },
        }
    }
    (objects, findings)
}

fn last_good(object: &AnyObject) -> Finding {
    let text = "the last valid version keeps serving until this document is mended";
    Finding::new(codes::LAST_GOOD, object.place().clone(), text)
        .with_object(object.id().to_string())
}

fn duplicate(id: &ObjectId, place: &Place, first: &Place) -> Finding {
    let text = format!("{id} is already defined at {first}, which is the one that is served");
    Finding::new(codes::DUPLICATE_OBJECT, place.clone(), text)
        .with_object(id.to_string())
        .with_fix("remove or rename one of the two")
}

/// Path of a file as the user would write it.
fn shown(root: &Path, relative: &Path) -> String {
    let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(relative) };
    path.to_string_lossy().into_owned()
}

/// Keys of the files of one root.
fn range(index: usize) -> std::ops::Range<(usize, PathBuf)> {
    (index, PathBuf::new())..(index + 1, PathBuf::new())
}

#[cfg(test)]
mod tests;
