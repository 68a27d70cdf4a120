//! The text that an object was read from, or what tells it from another text.
//!
//! Made by `source::document`, kept in `Stored`. Always holds: two of them are equal when their texts are,
//! whether they are still kept or not.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

/// The own text of an object. It may hold keys and is not shown.
#[derive(Clone)]
pub enum OwnText {
    /// The text, its first line padded to the column where it starts in the file.
    Kept(Arc<str>),
    /// A hash of a text that is no longer there.
    Forgotten(u64),
}

impl OwnText {
    /// The text; empty when it was forgotten.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Kept(text) => text,
            Self::Forgotten(_) => "",
        }
    }

    /// Gives back the memory of the text.
    pub fn forget(&mut self) {
        *self = Self::Forgotten(self.hash());
    }

    /// The same for the same text in this process; for another one but once in 2⁶⁴.
    fn hash(&self) -> u64 {
        match self {
            Self::Kept(text) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                hasher.finish()
            },
            Self::Forgotten(hash) => *hash,
        }
    }
}

impl PartialEq for OwnText {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kept(one), Self::Kept(other)) => one == other,
            _ => self.hash() == other.hash(),
        }
    }
}

impl Default for OwnText {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for OwnText {
    fn from(text: &str) -> Self {
        Self::Kept(text.into())
    }
}

impl fmt::Debug for OwnText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_text_is_still_told_from_another() {
        let kept = OwnText::from("spec: {}");
        let mut forgotten = kept.clone();
        forgotten.forget();
        forgotten.forget();
        assert_eq!((kept.as_str(), forgotten.as_str()), ("spec: {}", ""));
        let same = [(&kept, &forgotten), (&forgotten, &kept), (&forgotten, &forgotten.clone())];
        assert!(same.iter().all(|(one, other)| one == other));
        assert!(forgotten != OwnText::from("spec: {a: 1}") && kept != OwnText::default());
    }

    #[test]
    fn it_is_no_bigger_than_a_text() {
        assert_eq!(size_of::<OwnText>(), size_of::<Arc<str>>());
    }
}
