//! The body of a call: `Action=…&Name.member.1.Sub=…` (spec/l4-dns.md A.13).
//!
//! Pure. Always holds: what no one asked for is known afterwards, so that a parameter without effect
//! is refused and not passed over.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// Parameters of a call at most.
const MAX_PARAMETERS: usize = 20_000;

/// A body that is not a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("the body is not a form in UTF-8")]
    Encoding,
    #[error("the parameter '{0}' stands twice")]
    Twice(String),
    #[error("there are more than {MAX_PARAMETERS} parameters")]
    TooMany,
    #[error("'{value}' is not a value of '{name}'")]
    Value { name: String, value: String },
}

/// The parameters of a call.
#[derive(Debug, Default)]
pub(super) struct Form {
    all: BTreeMap<String, String>,
    /// Names that were asked for.
    asked: RefCell<BTreeSet<String>>,
}

/// Parameters below one name, such as those of `Targets.member.1.`.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    form: &'a Form,
    prefix: String,
}

impl Form {
    pub(super) fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut all = BTreeMap::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = decode(&pair[..at])?;
            let value = decode(pair.get(at + 1..).unwrap_or_default())?;
            if all.len() == MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            if all.insert(name.clone(), value).is_some() {
                return Err(FormError::Twice(name));
            }
        }
        Ok(Self { all, asked: RefCell::default() })
    }

    pub(super) fn whole(&self) -> Part<'_> {
        Part { form: self, prefix: String::new() }
    }

    /// The first parameter that no one asked for.
    pub(super) fn unasked(&self) -> Option<&str> {
        let asked = self.asked.borrow();
        self.all.keys().find(|name| !asked.contains(*name)).map(String::as_str)
    }
}

impl<'a> Part<'a> {
    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let name = format!("{}{name}", self.prefix);
        let value = self.form.all.get(&name).cloned();
        self.form.asked.borrow_mut().insert(name);
        value
    }

    /// The text of a parameter that need not be there; an empty list is a text as well.
    pub(super) fn needed(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// The number of a parameter.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, FormError> {
        let wrong = |value: String| FormError::Value { name: name.to_owned(), value };
        let number = |value: String| value.parse().map_err(|_not_a_number| wrong(value));
        self.text(name).map(number).transpose()
    }

    /// The truth of a parameter.
    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, FormError> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(FormError::Value { name: name.to_owned(), value: other.to_owned() }),
        }
    }

    /// What stands below a name.
    pub(super) fn part(&self, name: &str) -> Self {
        Part { form: self.form, prefix: format!("{}{name}.", self.prefix) }
    }

    /// The numbers of the members of a list, ascending. Clients send an empty list as an empty text.
    fn members(&self, name: &str) -> BTreeSet<u32> {
        let empty = format!("{}{name}", self.prefix);
        if self.form.all.get(&empty).is_some_and(String::is_empty) {
            self.form.asked.borrow_mut().insert(empty);
        }
        let prefix = format!("{}{name}.member.", self.prefix);
        let of = |key: &String| {
            let rest = key.strip_prefix(&prefix)?;
            rest.split('.').next()?.parse().ok()
        };
        let from = self.form.all.range(prefix.clone()..).map(|(key, _)| key);
        from.take_while(|key| key.starts_with(&prefix)).filter_map(of).collect()
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let members = self.members(name).into_iter();
        members.filter_map(|number| self.text(&format!("{name}.member.{number}"))).collect()
    }

    /// A list of structures.
    pub(super) fn parts(&self, name: &str) -> Vec<Self> {
        let members = self.members(name).into_iter();
        members.map(|number| self.part(&format!("{name}.member.{number}"))).collect()
    }
}

/// `%XX` and `+`.
fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (*rest.next()? as char).to_digit(16);
                let (high, low) = (digit(), digit());
                let byte = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                byte.ok_or(FormError::Encoding)?
            },
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_not_utf_8| FormError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_structures_are_read_by_their_numbers() {
        let body = b"Action=A&N.member.2=b&N.member.1=a&N.member.10=c%2B+%C3%A9\
                     &T.member.1.Id=x&T.member.1.Port=80&E=&M.HttpCode=200&On=true";
        let form = Form::parse(body).unwrap();
        let whole = form.whole();
        assert_eq!(whole.texts("N"), ["a", "b", "c+ \u{e9}"]);
        let parts = whole.parts("T");
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].text("Id").as_deref(), Some("x"));
        assert_eq!(parts[0].number("Port"), Ok(Some(80)));
        assert_eq!(whole.texts("E"), Vec::<String>::new());
        assert_eq!(whole.part("M").text("HttpCode").as_deref(), Some("200"));
        assert_eq!(whole.truth("On"), Ok(Some(true)));
        assert_eq!(form.unasked(), Some("Action"));
        whole.text("Action");
        assert_eq!(form.unasked(), None);
    }

    #[test]
    fn bodies_that_are_no_forms_are_refused() {
        for body in [&b"a=%"[..], b"a=%1", b"a=%zz", b"a=%ff", b"%=a"] {
            assert_eq!(Form::parse(body).unwrap_err(), FormError::Encoding, "{body:?}");
        }
        assert_eq!(Form::parse(b"a=1&a=1").unwrap_err(), FormError::Twice("a".to_owned()));
        let many: String = (0..=MAX_PARAMETERS).map(|number| format!("p{number}=&")).collect();
        assert_eq!(Form::parse(many.as_bytes()).unwrap_err(), FormError::TooMany);
        let form = Form::parse(b"n=-1&t=yes").unwrap();
        assert!(form.whole().number("n").is_err() && form.whole().truth("t").is_err());
    }
}
