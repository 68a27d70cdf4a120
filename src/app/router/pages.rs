//! The files of error pages [NOMATCH-4]: read at start, looked at again while the router runs.
//!
//! Used by `app::router` and its control side. Always holds: only a whole, valid page replaces
//! another, so a bad edit changes nothing but the findings.

use std::path::{Path, PathBuf};

use super::followed::Followed;
use crate::{
    model::{
        finding::{Finding, Place, codes},
        page::{self, Page, Pages},
    },
    settings::RouterSettings,
};

/// Both files, with what is in force of them.
#[derive(Debug)]
pub(super) struct PageFiles {
    unavailable: Option<PageFile>,
    not_found: Option<PageFile>,
}

/// One file.
#[derive(Debug)]
struct PageFile {
    file: Followed,
    page: Page,
    finding: Option<Finding>,
}

impl PageFiles {
    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// When one of them cannot be read or is no page.
    pub(super) fn new(settings: &RouterSettings) -> Result<Self, Box<Finding>> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(PageFile::new).transpose();
        Ok(Self {
            unavailable: file(&settings.page_unavailable)?,
            not_found: file(&settings.page_not_found)?,
        })
    }

    /// The pages in force.
    pub(super) fn pages(&self) -> Pages {
        let page = |file: &Option<PageFile>| file.as_ref().map(|file| file.page.clone());
        Pages {
            unavailable: page(&self.unavailable).unwrap_or_default(),
            not_found: page(&self.not_found),
        }
    }

    /// What is wrong with the present files.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.files().filter_map(|file| file.finding.as_ref())
    }

    /// Looks at the files; true when a page or a finding is not as before. Without files there is
    /// nothing to look at.
    pub(super) fn look(&mut self) -> bool {
        let files = [&mut self.unavailable, &mut self.not_found].into_iter().flatten();
        files.fold(false, |changed, file| file.look() | changed)
    }

    fn files(&self) -> impl Iterator<Item = &PageFile> {
        [&self.unavailable, &self.not_found].into_iter().flatten()
    }
}

impl PageFile {
    fn new(path: &Path) -> Result<Self, Box<Finding>> {
        let file = Followed::new(path, page::MAX_BYTES as u64);
        let page = load(&file)?;
        Ok(Self { file, page, finding: None })
    }

    fn look(&mut self) -> bool {
        if !self.file.has_changed() {
            return false;
        }
        let before = (self.page.clone(), self.finding.take());
        match load(&self.file) {
            Ok(page) => self.page = page,
            Err(finding) => self.finding = Some(*finding),
        }
        before != (self.page.clone(), self.finding.clone())
    }
}

fn load(file: &Followed) -> Result<Page, Box<Finding>> {
    let shown = file.path().to_string_lossy();
    let bytes = file.read().map_err(|error| {
        let text = format!("the error page cannot be read: {error}");
        let fix = "check the path in ROUTER_ERRORFILE_503 and ROUTER_ERRORFILE_404, and its mode";
        Box::new(Finding::new(codes::UNREADABLE, Place::file(&shown), text).with_fix(fix))
    })?;
    Page::parse(&shown, &bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "HTTP/1.0 404 Error\r\n\r\nnothing here";

    fn settings(path: &Path) -> RouterSettings {
        RouterSettings { page_not_found: Some(path.to_owned()), ..RouterSettings::default() }
    }

    /// [NOMATCH-4], decisions 4: a bad edit keeps the last good page.
    #[test]
    fn nomatch_4_a_bad_edit_keeps_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("404.http");
        fs::write(&path, GOOD).unwrap();
        let mut files = PageFiles::new(&settings(&path)).unwrap();
        assert_eq!(files.pages().unavailable, Page::default());
        assert_eq!(files.pages().not_found.unwrap().body, "nothing here");
        assert!(!files.look());
        let edit = |files: &mut PageFiles, text: Option<&str>| {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            // Seen once: somebody may still be writing it.
            assert!(!files.look());
            files.look()
        };
        assert!(edit(&mut files, Some("<html>")));
        assert_eq!(files.pages().not_found.unwrap().body, "nothing here");
        assert!(files.findings().next().unwrap().text.contains("status line"));
        assert!(edit(&mut files, Some("HTTP/1.0 404 Error\n\nstill nothing")));
        assert_eq!(files.pages().not_found.unwrap().body, "still nothing");
        assert_eq!(files.findings().count(), 0);
        assert!(edit(&mut files, None));
        assert_eq!(files.pages().not_found.unwrap().body, "still nothing");
        assert!(files.findings().next().unwrap().text.contains("cannot be read"));
    }

    #[test]
    fn what_is_no_page_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("404.http");
        assert!(PageFiles::new(&settings(&path)).is_err());
        assert!(PageFiles::new(&settings(folder.path())).is_err());
        fs::write(&path, vec![b'x'; page::MAX_BYTES + 10]).unwrap();
        let finding = PageFiles::new(&settings(&path)).unwrap_err();
        assert!(finding.text.contains("more than 65536 bytes"), "{finding}");
    }
}
