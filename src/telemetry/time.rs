//! RFC 3339 times in UTC, for logs and the admin API.

use std::time::SystemTime;

use crate::model::civil::civil;

#[cfg(test)]
mod tests;

/// `2026-08-04T12:30:00.250Z`. Times before 1970 count as 1970.
#[must_use]
pub fn millis(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut text = seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    text.pop();
    format!("{text}.{:03}Z", since.subsec_millis())
}

/// `2026-08-04T12:30:00Z` of seconds since 1970, as certificates carry them.
#[must_use]
pub fn seconds(unix: i64) -> String {
    // Year 9999 is the last one that RFC 3339 can write.
    let unix = unix.clamp(0, 253_402_300_799);
    let (year, month, day) = civil(unix / 86_400);
    let rest = unix % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
