//! RFC 3339 times in UTC, for logs and the admin API.

use std::time::SystemTime;

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

/// Year, month and day of a count of days since 1970-01-01 (Hinnant's `civil_from_days`: the year
/// starts in March, so that the leap day is its last).
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}
