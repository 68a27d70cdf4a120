//! Selectors of Kubernetes: by label (here) and by field ([`fields`]), for sharding (spec/route.md 8.1).
//!
//! Parsed once from the settings, where a text that is no selector stops the start; compile asks them
//! for each route or namespace. The grammar is that of the API's `labelSelector` parameter, its leniency
//! towards empty values included.

pub mod fields;
mod lexer;

use std::{collections::BTreeMap, collections::BTreeSet, str::FromStr};

use self::lexer::{Lexer, Token};
use super::grammar;

/// Why a text is no selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorError {
    /// A key that no label can have.
    BadKey,
    /// A value that no label can have.
    BadValue,
    /// A key with no operator behind it that there is.
    BadOperator,
    /// `in` or `notin` without its list.
    BadList,
    /// `>` or `<` without a whole number.
    BadNumber,
    /// Something else where a key must stand.
    NoKey,
    /// A requirement that does not end with a comma.
    NoComma,
    /// A field that routes cannot be selected by [API-1].
    UnknownField,
    /// A field without `=`, `==` or `!=`.
    NoComparison,
    /// A `\` before anything but `\`, `,` and `=`, or one of these without it.
    BadEscape,
}

impl SelectorError {
    /// What is wrong, and what would be right.
    #[must_use]
    pub const fn problem(self) -> &'static str {
        match self {
            Self::BadKey => {
                "a label key is a name of at most 63 characters, with PREFIX/ if need be"
            },
            Self::BadValue => {
                "a label value has at most 63 characters: letters, digits, -, _ and ."
            },
            Self::BadOperator => "expected =, ==, !=, in, notin, > or < behind the key",
            Self::BadList => "expected a list such as (a, b) behind in or notin",
            Self::BadNumber => "expected a whole number behind > or <",
            Self::NoKey => "expected a label key",
            Self::NoComma => "expected a comma between two requirements",
            Self::UnknownField => {
                "the fields are metadata.name, metadata.namespace, spec.path, spec.host, \
                 spec.subdomain and spec.to.name"
            },
            Self::NoComparison => "expected FIELD=VALUE, FIELD==VALUE or FIELD!=VALUE",
            Self::BadEscape => "in a value, \\ , and = are written \\\\ \\, and \\=",
        }
    }
}

impl std::fmt::Display for SelectorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.problem())
    }
}

impl std::error::Error for SelectorError {}

/// A label selector: all of its requirements hold. Without one it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

/// What must be true of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Exists,
    Absent,
    /// The label is there and has one of these values.
    In(BTreeSet<String>),
    /// The label is not there, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is a whole number above this one.
    Above(i64),
    /// The label is a whole number below this one.
    Below(i64),
}

impl LabelSelector {
    /// True when it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels is selected; `None` is none at all.
    #[must_use]
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key));
            requirement.rule.holds(value.map(String::as_str))
        })
    }
}

impl Rule {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut lexer = Lexer::new(text);
        let mut requirements = Vec::new();
        if lexer.peek() == Token::End {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(requirement(&mut lexer)?);
            match lexer.next() {
                Token::End => return Ok(Self(requirements)),
                Token::Comma => {},
                _ => return Err(SelectorError::NoComma),
            }
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, SelectorError> {
    let negated = lexer.peek() == Token::Not;
    if negated {
        lexer.next();
    }
    let Token::Word(key) = lexer.next() else { return Err(SelectorError::NoKey) };
    if !is_key(key) {
        return Err(SelectorError::BadKey);
    }
    let key = key.to_owned();
    if negated {
        return Ok(Requirement { key, rule: Rule::Absent });
    }
    if matches!(lexer.peek(), Token::End | Token::Comma) {
        return Ok(Requirement { key, rule: Rule::Exists });
    }
    let rule = match lexer.next() {
        Token::Equal => Rule::In(BTreeSet::from([value(lexer)?])),
        Token::Unequal => Rule::NotIn(BTreeSet::from([value(lexer)?])),
        Token::Word("in") => Rule::In(list(lexer)?),
        Token::Word("notin") => Rule::NotIn(list(lexer)?),
        Token::Above => Rule::Above(number(lexer)?),
        Token::Below => Rule::Below(number(lexer)?),
        _ => return Err(SelectorError::BadOperator),
    };
    Ok(Requirement { key, rule })
}

/// A single value; nothing at all means the empty one.
fn value(lexer: &mut Lexer<'_>) -> Result<String, SelectorError> {
    match lexer.peek() {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(word) if is_value(word) => {
            lexer.next();
            Ok(word.to_owned())
        },
        _ => Err(SelectorError::BadValue),
    }
}

fn number(lexer: &mut Lexer<'_>) -> Result<i64, SelectorError> {
    value(lexer)?.parse().map_err(|_not_a_number| SelectorError::BadNumber)
}

/// The list of `in` and `notin`. What is missing between two commas is the empty value.
fn list(lexer: &mut Lexer<'_>) -> Result<BTreeSet<String>, SelectorError> {
    if lexer.next() != Token::Open {
        return Err(SelectorError::BadList);
    }
    let mut values = BTreeSet::new();
    loop {
        match lexer.peek() {
            Token::Word(word) if is_value(word) => {
                lexer.next();
                values.insert(word.to_owned());
            },
            Token::Word(_) => return Err(SelectorError::BadValue),
            Token::Comma | Token::Close => {
                values.insert(String::new());
            },
            _ => return Err(SelectorError::BadList),
        }
        match lexer.next() {
            Token::Comma => {},
            Token::Close => return Ok(values),
            _ => return Err(SelectorError::BadList),
        }
    }
}

/// A qualified name: an optional DNS subdomain with a slash, and a name.
fn is_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(grammar::is_dns_subdomain) && !name.is_empty() && is_value(name)
}

/// The grammar of a label's value; the empty text is one.
fn is_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().copied().all(inner)
}

#[cfg(test)]
mod tests;
