//! Texts that occur again and again, each in memory once.
//!
//! Used by `source::document` for what the objects of one file have in common: namespaces, names of
//! ports, zones.

use std::{collections::HashSet, sync::Arc};

/// The texts of one file so far.
#[derive(Debug, Default)]
pub struct Interner(HashSet<Arc<str>>);

impl Interner {
    /// `text`, shared with whoever asked for it before.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interner = Interner::default();
        let (first, again, other) =
            (interner.share("http"), interner.share("http"), interner.share("web"));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!((&*again, &*other), ("http", "web"));
    }
}
