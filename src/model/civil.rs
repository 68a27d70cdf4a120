//! The calendar of UTC, for log lines and RFC 3339.
//!
//! Pure; used by `proxy::logline` and `telemetry::time`.

/// Names of the months in dates of logs.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The name of a month, from 1.
#[must_use]
pub fn month(number: i64) -> &'static str {
    let index = usize::try_from(number - 1).ok();
    index.and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

/// Year, month and day of a count of days since 1970-01-01 (Hinnant's `civil_from_days`: the year
/// starts in March, so that the leap day is its last).
#[must_use]
pub const fn civil(days: i64) -> (i64, i64, i64) {
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
