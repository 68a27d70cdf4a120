//! Which status codes pass an HTTP check (A.5).

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Codes that pass: `200`, `200,202` or `200-399`, mixed as one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Box<[RangeInclusive<u16>]>);

/// The text is no list of codes from 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of status codes from 200 to 599")]
pub struct MatcherError;

/// Codes that a matcher may name.
const CODES: RangeInclusive<u16> = 200..=599;

impl Matcher {
    /// True if `code` passes.
    #[must_use]
    pub fn matches(&self, code: u16) -> bool {
        self.0.iter().any(|range| range.contains(&code))
    }
}

impl Default for Matcher {
    /// 200 to 399.
    fn default() -> Self {
        Self(Box::new([200..=399]))
    }
}

impl fmt::Display for Matcher {
    /// As it is written: `200,202-399`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (from, to) if from == to => write!(f, "{comma}{from}")?,
                (from, to) => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        let code = |text: &str| -> Result<u16, MatcherError> {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            let code = text.parse().map_err(|_not_a_number| MatcherError)?;
            (digits && CODES.contains(&code)).then_some(code).ok_or(MatcherError)
        };
        text.split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let range = code(first.trim())?..=code(last.trim())?;
                if range.is_empty() { Err(MatcherError) } else { Ok(range) }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_match() {
        let matcher: Matcher = "200, 202,300-302".parse().unwrap();
        let passing: Vec<u16> = (100..1000).filter(|&code| matcher.matches(code)).collect();
        assert_eq!(passing, [200, 202, 300, 301, 302]);
        assert!(Matcher::default().matches(399) && !Matcher::default().matches(400));
        assert_eq!(matcher.to_string(), "200,202,300-302");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "200,", "199", "600", "0200", "+200", "399-200", "200-", "2xx"] {
            assert_eq!(text.parse::<Matcher>(), Err(MatcherError), "{text:?}");
        }
    }
}
