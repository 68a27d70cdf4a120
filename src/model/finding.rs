//! A finding: one thing wrong with one place of the input, and how to mend it.
//!
//! Made by sources, validation and compile; shown by `wharf check`, the log and the admin API.
//! Findings are not admission: an object with a warning is served (decisions 5).

pub mod codes;

use std::{fmt, sync::Arc};

use serde::Serialize;

/// Where in the input something stands. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Path of the file, as the user gave it.
    pub path: Arc<str>,
    /// Line, from 1; 0 when only the file is known.
    pub line: u32,
    /// Column in characters, from 1; 0 when only the file is known.
    pub column: u32,
}

impl Place {
    /// A place that names a file and no line.
    #[must_use]
    pub fn file(path: &str) -> Self {
        Self { path: path.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.path);
        }
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object, or a part of it, is not served as written.
    Error,
    /// It is served, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Characters of a value that a finding repeats.
pub const SHOWN: usize = 64;

/// The first `characters` of `text`, and dots where there are more.
#[must_use]
pub fn excerpt(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What the field of a finding about an annotation begins with; the name and `]` follow.
pub const ANNOTATION: &str = "metadata.annotations[";

/// The closed list of findings. `WH1xxx` are errors, `WH2xxx` warnings; `wharf explain CODE` prints
/// [`Code::page`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// The number after `WH`.
    pub number: u16,
    /// One line: what the code says.
    pub title: &'static str,
    /// What it means, what wharf does about it, and how to mend it.
    pub page: &'static str,
}

impl Code {
    /// Errors have numbers below 2000.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        if self.number < 2000 { Severity::Error } else { Severity::Warning }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WH{:04}", self.number)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// Path of the field, such as `spec.tls.key`; empty when the whole document is meant.
    pub field: String,
    /// The object, such as `Route app-dev/shop`; empty when there is none.
    pub object: String,
    /// What and why, one sentence without a full stop.
    pub text: String,
    /// What to do, one sentence without a full stop; empty when the text says it.
    pub fix: String,
}

impl Finding {
    /// A finding without field, object and fix; the `with_*` functions add them.
    #[must_use]
    pub fn new(code: Code, place: Place, text: impl Into<String>) -> Self {
        Self {
            code,
            place,
            field: String::new(),
            object: String::new(),
            text: text.into(),
            fix: String::new(),
        }
    }

    /// Names the field.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Names the object.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// True for an error.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.code.severity(), Severity::Error)
    }
}

impl fmt::Display for Finding {
    /// `path:line:col: error[WH1001]: text (Route ns/name, spec.host); fix`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]: {}", self.place, self.code.severity(), self.code, self.text)?;
        match (self.object.is_empty(), self.field.is_empty()) {
            (true, true) => {},
            (true, false) => write!(f, " ({})", self.field)?,
            (false, true) => write!(f, " ({})", self.object)?,
            (false, false) => write!(f, " ({}, {})", self.object, self.field)?,
        }
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
