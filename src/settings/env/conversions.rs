//! Tests: the conversions of spec/route.md 0.2, for every row of a kind and not only for one of them.

use super::{tests::read, *};

/// The settings in words, with what there was to note.
fn comes_to(name: &'static str, value: &'static str) -> (String, usize) {
    let (settings, notes) = read(&[(name, value)]).expect(name);
    (format!("{settings:?}"), notes.len())
}

fn default() -> String {
    format!("{:?}", RouterSettings::default())
}

fn of_kind(wanted: fn(&Kind) -> bool) -> Vec<&'static str> {
    let rows = rows().filter(|row| !row.name.is_empty() && !matches!(row.effect, Effect::Nothing));
    let names: Vec<_> = rows.filter(|row| wanted(row.kind())).map(|row| row.name).collect();
    assert!(!names.is_empty());
    names
}

/// [CONV-1]: thirteen words, and nothing else is true.
#[test]
fn conv_1_every_boolean_reads_the_words_of_go() {
    for name in of_kind(|kind| matches!(kind, Kind::Bool(_))) {
        let (yes, no) = (comes_to(name, "true").0, comes_to(name, "false").0);
        assert_ne!(yes, no, "{name}");
        for word in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(comes_to(name, word), (yes.clone(), 0), "{name}={word}");
        }
        for word in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(comes_to(name, word), (no.clone(), 0), "{name}={word}");
        }
    }
}

/// [CONV-1, CONV-7]: what is no boolean is false, with a note.
#[test]
fn conv_1_what_is_no_boolean_counts_as_false() {
    for name in of_kind(|kind| matches!(kind, Kind::Bool(_))) {
        for word in ["yes", "tRUE", " true", "2"] {
            assert_eq!(comes_to(name, word), (comes_to(name, "false").0, 1), "{name}={word}");
        }
    }
}

/// [CONV-3, CONV-4, TMO-3]: the grammar of HAProxy; what is not in it leaves the default, with a note.
#[test]
fn conv_3_every_duration_follows_the_grammar_or_leaves_the_default() {
    for name in of_kind(|kind| matches!(kind, Kind::Duration(_))) {
        let seven = comes_to(name, "7s");
        assert_eq!(seven.1, 0, "{name}");
        assert_eq!(comes_to(name, "7000"), seven, "{name}: without a unit it is milliseconds");
        assert_eq!(comes_to(name, "7000000us"), seven, "{name}");
        assert_eq!(comes_to(name, "48h"), comes_to(name, "2d"), "{name}");
        for bad in ["0", "0s", "01s", "1.5s", "1d12h", " 5s", "5s ", "-5s", "s", "5S"] {
            assert_eq!(comes_to(name, bad), (default(), 1), "{name}={bad}");
        }
        let clipped = comes_to(name, "2147483647ms");
        assert_eq!(comes_to(name, "999999999d"), clipped, "{name}");
        assert_eq!(comes_to(name, "99999999999999999999999d"), clipped, "{name}");
    }
}

/// Durations of Go need a unit.
#[test]
fn every_duration_of_go_follows_its_grammar() {
    for name in of_kind(|kind| matches!(kind, Kind::GoDuration(_))) {
        assert_eq!(comes_to(name, "1m30s"), comes_to(name, "1.5m"), "{name}");
        for bad in ["5", "5d", "-5s", " 5s", "s"] {
            assert_eq!(comes_to(name, bad), (default(), 1), "{name}={bad}");
        }
    }
}

/// [CONV-2]: a sign may stand before the digits, and nothing else.
#[test]
fn conv_2_every_number_is_read_as_go_does() {
    for name in of_kind(|kind| matches!(kind, Kind::Number(..))) {
        assert_eq!(comes_to(name, "+70000"), comes_to(name, "70000"), "{name}");
        assert_eq!(comes_to(name, "070000"), comes_to(name, "70000"), "{name}");
        for bad in ["7e4", " 70000", "70000 ", "0x11", "70_000", "7.0", "--7"] {
            assert_eq!(comes_to(name, bad), (default(), 1), "{name}={bad}");
        }
    }
}

/// [CONV-6]: an empty variable is an unset one, whatever it sets.
#[test]
fn conv_6_no_row_reads_an_empty_variable() {
    for row in rows().filter(|row| !row.name.is_empty()) {
        assert_eq!(comes_to(row.name, ""), (default(), 0), "{}", row.name);
    }
}
