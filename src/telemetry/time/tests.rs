//! Civil dates against known moments.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn known_moments() {
    for (unix, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (68_169_599, "1972-02-28T23:59:59Z"),
        (68_169_600, "1972-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_785_846_600, "2026-08-04T12:30:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (i64::MAX, "9999-12-31T23:59:59Z"),
        (-1, "1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(seconds(unix), text);
    }
}

#[test]
fn milliseconds_have_three_digits() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(7_999);
    assert_eq!(millis(at), "1970-01-01T00:00:00.007Z");
    assert_eq!(millis(SystemTime::UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00.000Z");
}

proptest! {
    /// httpdate has an implementation of its own.
    #[test]
    fn the_date_agrees_with_httpdate(unix in 0u64..253_402_300_799) {
        let text = seconds(i64::try_from(unix).unwrap());
        let other = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(unix));
        prop_assert_eq!(&text[0..4], &other[12..16]);
        prop_assert_eq!(&text[8..10], &other[5..7]);
        prop_assert_eq!(&text[11..19], &other[17..25]);
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month: usize = text[5..7].parse().unwrap();
        prop_assert_eq!(&months[month * 3 - 3..month * 3], &other[8..11]);
    }
}
