//! Value grammars: tables and arbitrary text.

use proptest::prelude::*;

use super::*;
use crate::model::grammar;

/// [CONV-3]
#[test]
fn haproxy_durations_follow_conv_3() {
    for (text, micros) in [
        ("1", 1_000),
        ("250us", 250),
        ("15ms", 15_000),
        ("5s", 5_000_000),
        ("2m", 120_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
    ] {
        assert_eq!(grammar::parse_duration(text), Some(Duration::from_micros(micros)), "{text}");
    }
    for text in ["", "0", "0s", "01s", "1.5s", "1d12h", " 5s", "5s ", "s", "-1s", "+1s", "5S", "٣s"]
    {
        assert_eq!(grammar::parse_duration(text), None, "{text:?}");
    }
}

/// [CONV-4]
#[test]
fn long_haproxy_durations_are_clipped_by_conv_4() {
    assert_eq!(grammar::parse_duration("2147483647"), Some(grammar::MAX_DURATION));
    assert_eq!(
        grammar::parse_duration("2147483646"),
        Some(grammar::MAX_DURATION - Duration::from_millis(1))
    );
    for text in ["2147483648", "25d", "99999999999999999999999d", "18446744073709551615us"] {
        assert_eq!(grammar::parse_duration(text), Some(grammar::MAX_DURATION), "{text}");
    }
}

/// [CONV-1]
#[test]
fn booleans_follow_conv_1() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(grammar::parse_bool(text), Some(true), "{text}");
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(grammar::parse_bool(text), Some(false), "{text}");
    }
    for text in ["", "yes", "on", "tRUE", " true"] {
        assert_eq!(grammar::parse_bool(text), None, "{text:?}");
    }
}

/// [CONV-2]
#[test]
fn integers_follow_conv_2() {
    let cases = [("7", Some(7)), ("+7", Some(7)), ("-7", Some(-7)), ("007", Some(7))];
    for (text, number) in cases {
        assert_eq!(grammar::parse_integer(text), number, "{text}");
    }
    for text in ["", "+", "7 ", "0x7", "1_000", "auto", "99999999999999999999"] {
        assert_eq!(grammar::parse_integer(text), None, "{text:?}");
    }
}

#[test]
fn go_durations_follow_parse_duration() {
    for (text, nanos) in [
        ("0", 0),
        ("5s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("1h15m30.918s", 4_530_918_000_000),
        ("1us", 1_000),
        ("1\u{b5}s", 1_000),
        ("1\u{3bc}s", 1_000),
        ("52763797000ns", 52_763_797_000),
        ("0.3333333333333333333h", 1_199_999_999_999),
    ] {
        assert_eq!(go_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
    }
    for text in
        ["", "+", "5", ".s", "s", "5 s", "5d", "-5s", "5s ", "1e3s", "9223372036854775808ns"]
    {
        assert_eq!(go_duration(text), None, "{text:?}");
    }
}

#[test]
fn listen_addresses_may_leave_out_the_host() {
    assert_eq!(listen_address(":1936"), "0.0.0.0:1936".parse().ok());
    assert_eq!(listen_address("localhost:1936"), "127.0.0.1:1936".parse().ok());
    assert_eq!(listen_address("[::1]:80"), "[::1]:80".parse().ok());
    for text in ["", "80", "example.com:80", ":", ":70000", "::1:80x"] {
        assert_eq!(listen_address(text), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = (grammar::parse_duration(&text), go_duration(&text), grammar::parse_bool(&text), grammar::parse_integer(&text));
        let _ = listen_address(&text);
    }

    #[test]
    fn no_number_makes_a_duration_panic(text in "[0-9.]{0,40}(ns|us|ms|s|m|h|d)?") {
        prop_assert!(grammar::parse_duration(&text).is_none_or(|duration| duration <= grammar::MAX_DURATION));
        let _ = go_duration(&text);
    }
}
