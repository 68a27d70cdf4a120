//! Long answers in pages: `PageSize`, `Marker`, `NextMarker` (spec/l4-dns.md A.13).
//!
//! Pure. Always holds: items are sorted by their keys, and a marker is the key of the last item that
//! was told, so that what comes and goes between two calls neither repeats nor hides the others.

use super::error::{Refusal, invalid};

/// Items of a page at most, and unless asked for less.
const MAX_SIZE: u32 = 400;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageOf {
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
    /// Items at most, 1 to 400.
    pub size: Option<u32>,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<String>,
}

impl PageOf {
    /// This page of `items`, which are sorted by `key`.
    ///
    /// # Errors
    /// The size is none.
    pub fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> &str) -> Result<Page<T>, Refusal> {
        let size = match self.size {
            Some(size) if !(1..=MAX_SIZE).contains(&size) => {
                return Err(invalid(format!("PageSize {size} is not from 1 to {MAX_SIZE}")));
            },
            size => size.unwrap_or(MAX_SIZE) as usize,
        };
        items.sort_by(|a, b| key(a).cmp(key(b)));
        if let Some(marker) = &self.marker {
            items.retain(|item| key(item) > marker.as_str());
        }
        let more = items.len() > size;
        items.truncate(size);
        let next = if more { items.last().map(|last| key(last).to_owned()) } else { None };
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlb::account::error::Code;

    fn page(marker: Option<&str>, size: u32) -> Result<Page<&'static str>, Refusal> {
        let wanted = PageOf { marker: marker.map(str::to_owned), size: Some(size) };
        wanted.cut(vec!["c", "a", "b", "d"], |item| item)
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let first = page(None, 2).unwrap();
        assert_eq!((first.items, first.next.as_deref()), (vec!["a", "b"], Some("b")));
        let last = page(Some("b"), 2).unwrap();
        assert_eq!((last.items, last.next), (vec!["c", "d"], None));
        // What the marker names may be gone by now.
        assert_eq!(page(Some("aa"), 1).unwrap().items, ["b"]);
    }

    #[test]
    fn a_page_has_1_to_400_items() {
        for size in [0, 401] {
            assert_eq!(page(None, size).unwrap_err().code, Code::ValidationError);
        }
    }
}
