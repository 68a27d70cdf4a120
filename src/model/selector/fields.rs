//! Field selectors of Route: the fields of [API-1], each compared with a text.

use std::str::FromStr;

use super::SelectorError;
use crate::model::route::Route;

/// A field selector: all of its terms hold. Without one it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    equal: bool,
    value: String,
}

/// The fields of [API-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    Path,
    Host,
    Subdomain,
    ToName,
}

const FIELDS: [(&str, Field); 6] = [
    ("metadata.name", Field::Name),
    ("metadata.namespace", Field::Namespace),
    ("spec.path", Field::Path),
    ("spec.host", Field::Host),
    ("spec.subdomain", Field::Subdomain),
    ("spec.to.name", Field::ToName),
];

impl Field {
    fn of(self, route: &Route) -> &str {
        match self {
            Self::Name => route.metadata.name.as_deref().unwrap_or_default(),
            Self::Namespace => route.metadata.namespace.as_deref().unwrap_or_default(),
            Self::Path => &route.spec.path,
            Self::Host => &route.spec.host,
            Self::Subdomain => &route.spec.subdomain,
            Self::ToName => &route.spec.to.name,
        }
    }
}

impl FieldSelector {
    /// True when it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `route` is selected.
    #[must_use]
    pub fn matches(&self, route: &Route) -> bool {
        self.0.iter().all(|term| (term.field.of(route) == term.value) == term.equal)
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    /// Terms are separated by commas; empty ones count for nothing.
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let terms = split(text).into_iter().filter(|term| !term.is_empty());
        terms.map(term).collect::<Result<_, _>>().map(Self)
    }
}

/// The terms of a selector: it is cut at each comma without a `\`.
fn split(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..at]);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms
}

fn term(text: &str) -> Result<Term, SelectorError> {
    let at = text.find(['=', '!']).ok_or(SelectorError::NoComparison)?;
    let (name, comparison) = text.split_at(at);
    let (equal, value) = if let Some(value) = comparison.strip_prefix("!=") {
        (false, value)
    } else if let Some(value) = comparison.strip_prefix('=') {
        (true, value.strip_prefix('=').unwrap_or(value))
    } else {
        return Err(SelectorError::NoComparison);
    };
    let field = FIELDS.iter().find(|(known, _)| *known == name);
    let (_, field) = field.ok_or(SelectorError::UnknownField)?;
    Ok(Term { field: *field, equal, value: unescape(value)? })
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\\' => chars.next().filter(|c| "\\,=".contains(*c)).ok_or(SelectorError::BadEscape)?,
            '=' | ',' => return Err(SelectorError::BadEscape),
            other => other,
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let mut route = Route::default();
        route.metadata.name = Some("shop".into());
        route.metadata.namespace = Some("app".into());
        "/a,b=c".clone_into(&mut route.spec.path);
        "shop.test".clone_into(&mut route.spec.host);
        "web".clone_into(&mut route.spec.to.name);
        route
    }

    /// [API-1]
    #[test]
    fn api_1_every_field_can_be_compared() {
        for (selector, want) in [
            ("", true),
            ("metadata.name=shop", true),
            ("metadata.name==shop", true),
            ("metadata.name!=shop", false),
            ("metadata.namespace=app,spec.host=shop.test", true),
            ("metadata.namespace=app,spec.host=other.test", false),
            ("metadata.namespace!=other", true),
            ("spec.subdomain=", true),
            ("spec.subdomain!=", false),
            ("spec.to.name=web", true),
            ("spec.to.name=we", false),
            ("spec.path=/a\\,b\\=c", true),
            ("spec.path!=/a\\,b\\=c", false),
            (",spec.to.name=web,", true),
        ] {
            let parsed: FieldSelector = selector.parse().unwrap();
            assert_eq!(parsed.matches(&route()), want, "{selector}");
        }
        assert!("".parse::<FieldSelector>().unwrap().is_empty());
    }

    /// [SHARD-1, API-1]
    #[test]
    fn shard_1_what_is_no_field_selector_is_refused() {
        for (selector, error) in [
            ("metadata.uid=1", SelectorError::UnknownField),
            (" metadata.name=a", SelectorError::UnknownField),
            ("spec.host", SelectorError::NoComparison),
            ("spec.host!a", SelectorError::NoComparison),
            ("spec.host in (a)", SelectorError::NoComparison),
            ("spec.path=a=b", SelectorError::BadEscape),
            ("spec.path=a\\b", SelectorError::BadEscape),
            ("spec.path=a\\", SelectorError::BadEscape),
        ] {
            assert_eq!(selector.parse::<FieldSelector>(), Err(error), "{selector}");
        }
    }
}
