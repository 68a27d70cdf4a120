//! The language: what is taken, what is refused and where.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<LogFormat, String> {
    LogFormat::parse(text, Empty::Dash).map_err(|error| error.to_string())
}

/// [LOG-3]: every variable of HAProxy's table stands for something, but for those of `NOT_HERE`.
#[test]
fn log_3_every_variable_is_known() {
    let documented = "B CC CS H HM HP HPO HQ HU HV ID ST T Ta Tc Td Tl Th Ti Tq TR Tr Ts Tt Tu Tw U ac \
                      b bc bq ci cp f fc fi fp ft lc hr hrl hs hsl ms pid r rc rt s sc si sp sq \
                      sslc sslv t tr trg trl ts tsc";
    for name in documented.split_whitespace() {
        assert_eq!(parsed(&format!("%{name}")).unwrap().items().len(), 1, "{name}");
    }
    for name in ["bi", "bp", "OG", "xx"] {
        let refused = format!("column 3: %{name} is not a variable of this router");
        assert_eq!(parsed(&format!("a %{name}")).unwrap_err(), refused);
    }
    for (_, field) in FIELDS {
        assert!(!field.needs().is_empty());
    }
}

/// [LOG-3]: the operator passes the format in double quotes.
#[test]
fn log_3_quotes_and_backslashes_are_those_of_a_configuration() {
    let bare = parsed("%ci \"%r").unwrap_err();
    assert_eq!(bare, "column 5: the quote \" is never closed");
    let same = ["\"%ci [%t] %{+Q}r\"", "%ci\\ [%t]\\ %{+Q}r", "'%ci [%t]   %{+Q}r'"];
    let first = parsed(same[0]).unwrap();
    assert_eq!(first.items().len(), 7, "{first:?}");
    for other in same {
        assert_eq!(parsed(other).unwrap(), first, "{other}");
    }
    let quoted = parsed("\"a \\\"%%\\\"\"").unwrap();
    assert_eq!(quoted.items(), [Item::Text("a".into()), Item::Space, Item::Text("\"%\"".into())]);
}

/// [UID-1]: flags of `%o` hold for what follows, those of a variable for itself.
#[test]
fn uid_1_flags_are_kept_as_haproxy_keeps_them() {
    let format = LogFormat::parse("%ci%{+X}o%cp%{-X,+Q}fi%fp", Empty::Nothing).unwrap();
    let styles: Vec<_> = format
        .items()
        .iter()
        .map(|item| match item {
            Item::Value(_, style) => (style.hex, style.quote, style.dash),
            other => panic!("{other:?}"),
        })
        .collect();
    let (plain, hex) = ((false, false, false), (true, false, false));
    assert_eq!(styles, [plain, hex, (false, true, false), hex]);
}

#[test]
fn log_3_what_is_not_known_is_named_with_its_column() {
    for (text, message) in [
        ("%ci %", "column 6: nothing follows %; %% stands for a per cent sign"),
        ("100% ", "column 5:   cannot follow %; %% stands for a per cent sign"),
        ("%{+Z}r", "column 2: +Z is none of the flags Q, X, E and M with + or -"),
        ("%{+Q", "column 2: } is missing"),
        ("a%[req.hdr(x)]", "column 3: %[req.hdr(x)] is not a sample of this router"),
        ("%[src,lower]", "column 2: %[src,lower] is not a sample of this router"),
        ("%[src", "column 2: ] is missing"),
        ("%[capture.req.hdr(x)]", "column 2: %[capture.req.hdr(x)] is not a sample of this router"),
    ] {
        assert_eq!(parsed(text).unwrap_err(), message, "{text}");
    }
}

/// What a format does not name costs nothing.
#[test]
fn a_format_says_what_it_needs() {
    let needs = |text| parsed(text).unwrap().needs();
    assert!(needs("text only").is_empty());
    assert_eq!(needs("%ci %[status]"), Needs::DETAIL);
    assert_eq!(needs("%B"), Needs::SIZES);
    assert!(!needs("%ci:%cp %r").has(Needs::COUNTS | Needs::REQUEST | Needs::COOKIE));
    assert!(needs(HTTP).has(Needs::COUNTS) && needs(HTTP).has(Needs::RESPONSE));
    assert!(!needs(TCP).has(Needs::REQUEST));
    let samples = parsed("%[capture.req.hdr(2)]%[capture.res.hdr(0)]").unwrap();
    assert_eq!(samples.needs(), Needs::REQUEST | Needs::RESPONSE);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\\t\u{e9}%\"'\\\\{}\\[\\]]{0,40}") {
        let outcome = LogFormat::parse(&text, Empty::Dash);
        if let Err(error) = outcome {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
        }
    }
}
