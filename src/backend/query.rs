//! Parameters in a query string: numbers, durations, sizes.
//!
//! Used by `answer`. Always holds: a value that does not parse or is out of range is an error that
//! names the parameter, never a default.

use std::time::Duration;

/// A parameter that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("{0}: not a whole number")]
    Number(&'static str),
    #[error("{0}: must be from {1} to {2}")]
    Range(&'static str, u64, u64),
    #[error("{0}: not a duration such as 100ms, 2s or 1m")]
    Duration(&'static str),
    #[error("{0}: must be one of B, KB, MB, GB")]
    Unit(&'static str),
}

/// A query string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(pub(super) &'a str);

impl<'a> Query<'a> {
    /// The first value of `name`.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// A whole number within `min..=max`.
    pub(super) fn number(
        self,
        name: &'static str,
        default: u64,
        (min, max): (u64, u64),
    ) -> Result<u64, QueryError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number: u64 = text.parse().map_err(|_error| QueryError::Number(name))?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(QueryError::Range(name, min, max))
        }
    }

    /// A duration of at most `max`.
    pub(super) fn duration(
        self,
        name: &'static str,
        default: Duration,
        max: Duration,
    ) -> Result<Duration, QueryError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_error| QueryError::Duration(name))?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" => number.checked_mul(60_000),
            _ => return Err(QueryError::Duration(name)),
        };
        match millis.map(Duration::from_millis) {
            Some(duration) if duration <= max => Ok(duration),
            _ => Err(QueryError::Range(name, 0, max.as_secs())),
        }
    }

    /// `size` times `unit`, at most `max` bytes.
    pub(super) fn size(self, default: u64, max: u64) -> Result<u64, QueryError> {
        let number = self.number("size", default, (0, max))?;
        let unit = match self.text("unit").map(str::to_ascii_uppercase).as_deref() {
            None | Some("" | "B") => 1,
            Some("KB") => 1 << 10,
            Some("MB") => 1 << 20,
            Some("GB") => 1 << 30,
            Some(_) => return Err(QueryError::Unit("unit")),
        };
        match number.checked_mul(unit) {
            Some(size) if size <= max => Ok(size),
            _ => Err(QueryError::Range("size", 0, max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        let wait = |text: &str| Query(text).duration("wait", Duration::ZERO, MINUTE);
        assert_eq!(wait("a=1&wait=100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(wait("wait=2s"), Ok(Duration::from_secs(2)));
        assert_eq!(wait("wait=1m"), Ok(MINUTE));
        assert_eq!(wait("other"), Ok(Duration::ZERO));
        for bad in ["wait=", "wait=5", "wait=-1s", "wait=s", "wait=1.5s", "wait=1 s"] {
            assert_eq!(wait(bad), Err(QueryError::Duration("wait")), "{bad}");
        }
        for far in ["wait=2m", "wait=18446744073709551615s"] {
            assert_eq!(wait(far), Err(QueryError::Range("wait", 0, 60)), "{far}");
        }
    }

    #[test]
    fn sizes_multiply_by_their_unit_without_overflow() {
        let size = |text: &str| Query(text).size(7, 1 << 31);
        assert_eq!(size(""), Ok(7));
        assert_eq!(size("size=2&unit=kb"), Ok(2048));
        assert_eq!(size("unit=MB&size=1"), Ok(1 << 20));
        assert_eq!(size("size=2&unit=GB"), Ok(1 << 31));
        assert_eq!(size("size=2147483648&unit=GB"), Err(QueryError::Range("size", 0, 1 << 31)));
        assert_eq!(size("size=1&unit=TB"), Err(QueryError::Unit("unit")));
        assert_eq!(size("size=x"), Err(QueryError::Number("size")));
    }
}
