//! Lists of domains: denied, allowed, overridden [ADM-1, HOST-2].
//!
//! Built once from the settings; asked once for each route and compile. A host is in a list when it, or
//! what is left after some of its leading labels, is an entry. Names compare byte by byte.

use hashbrown::HashSet;

/// A list of domains.
#[derive(Clone, Debug, Default)]
pub struct DomainList(HashSet<Box<str>>);

impl DomainList {
    /// True when nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `host` or a domain above it is listed [ADM-1].
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let mut rest = Some(host);
        while let Some(domain) = rest {
            if self.0.contains(domain) {
                return true;
            }
            rest = super::parent_domain(domain);
        }
        false
    }
}

impl<S: AsRef<str>> FromIterator<S> for DomainList {
    fn from_iter<I: IntoIterator<Item = S>>(domains: I) -> Self {
        Self(domains.into_iter().map(|domain| domain.as_ref().into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [ADM-1]: whole labels from the right, letter by letter.
    #[test]
    fn adm_1_a_host_is_in_its_own_domain_and_in_those_above() {
        let list: DomainList = ["example.com", "test", "*.star"].into_iter().collect();
        for host in ["example.com", "a.example.com", "a.b.example.com", "test", "x.test", "*.star"]
        {
            assert!(list.contains(host), "{host}");
        }
        for host in ["", "com", "notexample.com", "example.com.org", "EXAMPLE.com", "a.star", "tes"]
        {
            assert!(!list.contains(host), "{host}");
        }
        assert!(DomainList::default().is_empty() && !DomainList::default().contains("a"));
        assert!(!list.is_empty());
    }
}
