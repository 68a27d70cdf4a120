//! A look at the paths that events named, instead of at every file: the cost of a change does not
//! grow with the number of files.
//!
//! Always holds: the result is that of a look at everything. Wherever that is not certain (links,
//! folders that come or go, overlapping roots, findings of a root, removed files), there is no result,
//! and the caller looks at everything.

use std::{os::unix::fs::MetadataExt, path::Path, time::Instant};

use super::{
    Directory, Hints, Root, Seen,
    files::{self, Entry, MAX_FILES, Near},
};

impl Directory {
    /// Takes the changes among the paths of `hints`; `None` when they do not suffice.
    pub(super) fn look_near(&mut self, now: Instant, hints: &Hints) -> Option<Seen> {
        if !hints.complete || !self.roots.iter().all(Root::is_plain) {
            return None;
        }
        let mut seen = Seen::default();
        let mut entries = Vec::new();
        for path in hints.settled.union(&hints.gone) {
            entries.extend(self.near(path)?);
        }
        for path in &hints.writing {
            // What is being written is looked at later, together with everything.
            seen.unsettled |= self.near(path)?.is_some();
        }
        for (index, entry) in &entries {
            self.entry(*index, entry, now, Some(hints), &mut seen);
        }
        seen.changed |= self.assemble(seen.changed);
        Some(seen)
    }

    /// The file at `path`, with the index of its root, if one is to be looked at there.
    #[expect(clippy::option_option, reason = "no answer is not the same as no file")]
    fn near(&self, path: &Path) -> Option<Option<(usize, Entry)>> {
        let below = |root: &Root| path.strip_prefix(root.plain.as_ref()?).ok();
        let mut roots = self.roots.iter().map(below).enumerate();
        let (index, relative) = roots.find_map(|(index, found)| Some((index, found?)))?;
        let ambiguous = roots.any(|(_, found)| found.is_some());
        if ambiguous || relative.as_os_str().is_empty() {
            return None;
        }
        match files::look_at(self.roots[index].plain.as_ref()?, relative) {
            Near::File(entry) => {
                let known = self.files.contains_key(&(index, entry.relative.clone()));
                (known || self.files.len() < MAX_FILES).then_some(Some((index, entry)))
            },
            Near::Ignored => Some(None),
            Near::Missing => {
                let mut known = self.files.range((index, relative.to_owned())..);
                let held = known
                    .next()
                    .is_some_and(|((of, file), _)| *of == index && file.starts_with(relative));
                (!held).then_some(None)
            },
            Near::Unclear => None,
        }
    }
}

impl Root {
    /// True when it is the folder that was listed last, and nothing about it was out of the ordinary.
    fn is_plain(&self) -> bool {
        let same = || {
            let found = std::fs::metadata(&self.path).ok()?;
            Some(found.is_dir() && self.identity == Some((found.dev(), found.ino())))
        };
        self.plain.is_some()
            && self.plain == self.path.canonicalize().ok()
            && self.returned.is_none()
            && self.findings.is_empty()
            && same().unwrap_or(false)
    }
}
