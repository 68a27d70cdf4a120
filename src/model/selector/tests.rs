//! The grammar of label selectors, and what each rule means.

use proptest::prelude::*;

use super::*;

fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
    let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let parsed = selector.parse::<LabelSelector>().unwrap_or_else(|e| panic!("{selector}: {e}"));
    parsed.matches(Some(&labels))
}

/// [SHARD-1]: every operator, on a label that fits, that does not, and that is not there.
#[test]
fn shard_1_operators_mean_what_kubernetes_says() {
    // selector, label `a` is `x`, is `y`, is missing
    for (selector, on_x, on_y, missing) in [
        ("", true, true, true),
        ("  ", true, true, true),
        ("a=x", true, false, false),
        ("a == x", true, false, false),
        ("a!=x", false, true, true),
        ("a in (x)", true, false, false),
        ("a in (z, x)", true, false, false),
        ("a in (x,y)", true, true, false),
        ("a notin (x)", false, true, true),
        ("a notin (x,y)", false, false, true),
        ("a", true, true, false),
        ("!a", false, false, true),
        ("! a", false, false, true),
        ("a,a!=y", true, false, false),
        ("a=x,!b", true, false, false),
        ("b", false, false, false),
        ("a=", false, false, false),
        ("a in ()", false, false, false),
        ("a notin ()", true, true, true),
        ("a in (,x)", true, false, false),
    ] {
        let got = (
            selects(selector, &[("a", "x")]),
            selects(selector, &[("a", "y")]),
            selects(selector, &[]),
        );
        assert_eq!(got, (on_x, on_y, missing), "{selector}");
    }
    assert!(selects("a=", &[("a", "")]), "nothing is the empty value");
    assert!(selects("a in (,x)", &[("a", "")]) && selects("a in (x,)", &[("a", "")]));
    assert!(selects("a,in,notin in (in)", &[("a", ""), ("in", ""), ("notin", "in")]));
    assert!(selects("example.com/team=a_b.c", &[("example.com/team", "a_b.c")]));
    let none: LabelSelector = "!a".parse().unwrap();
    assert!(none.matches(None) && !none.is_empty());
}

/// [SHARD-1]
#[test]
fn shard_1_numbers_are_compared_as_numbers() {
    for (selector, value, want) in [
        ("a > 9", "10", true),
        ("a > 10", "10", false),
        ("a<10", "9", true),
        ("a<10", "-1", true),
        ("a<10", "ten", false),
    ] {
        assert_eq!(selects(selector, &[("a", value)]), want, "{selector} {value}");
    }
    assert!(!selects("a<10", &[]));
}

/// [SHARD-1]
#[test]
fn shard_1_what_is_no_label_selector_is_refused() {
    let long = "k".repeat(64);
    for (selector, error) in [
        (",", SelectorError::NoKey),
        ("a,", SelectorError::NoKey),
        ("=x", SelectorError::NoKey),
        ("!", SelectorError::NoKey),
        ("(a)", SelectorError::NoKey),
        ("a b", SelectorError::BadOperator),
        ("a (x)", SelectorError::BadOperator),
        ("a=x b=y", SelectorError::NoComma),
        ("!a=x", SelectorError::NoComma),
        ("a in x", SelectorError::BadList),
        ("a in", SelectorError::BadList),
        ("a in (x", SelectorError::BadList),
        ("a in (x y)", SelectorError::BadList),
        ("a in (x=)", SelectorError::BadList),
        ("a=(x)", SelectorError::BadValue),
        ("a=x/y", SelectorError::BadValue),
        ("a=-x", SelectorError::BadValue),
        ("a in (x/y)", SelectorError::BadValue),
        ("a=*", SelectorError::BadValue),
        ("a>b", SelectorError::BadNumber),
        ("a<", SelectorError::BadNumber),
        ("*", SelectorError::BadKey),
        ("a/b/c", SelectorError::BadKey),
        ("/a", SelectorError::BadKey),
        ("A_B/a", SelectorError::BadKey),
        ("a/", SelectorError::BadKey),
        (&long, SelectorError::BadKey),
        ("\u{e9}=x", SelectorError::BadKey),
    ] {
        assert_eq!(selector.parse::<LabelSelector>(), Err(error), "{selector}");
    }
}

proptest! {
    /// [SHARD-1]: no text makes the parser panic, and what it reads says the same however it is
    /// written.
    #[test]
    fn shard_1_reading_never_panics_and_blanks_do_not_count(
        text in "[ab=!<>(),/ \u{e9}]{0,12}|[ab] ?(=|==|!=) ?[ab]?(, ?!?[ab])?",
        a in prop::option::of("[ab]?"),
    ) {
        if let Ok(selector) = text.parse::<LabelSelector>() {
            let labels: BTreeMap<_, _> = a.into_iter().map(|a| ("a".to_owned(), a)).collect();
            let wide = text.replace(',', " , ").replace('(', " ( ").replace(')', " ) ");
            let wide: LabelSelector = wide.parse().unwrap();
            prop_assert_eq!(selector.matches(Some(&labels)), wide.matches(Some(&labels)));
        }
    }
}
