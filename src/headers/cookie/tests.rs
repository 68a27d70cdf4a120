//! Cookie fields with one cookie taken out, by tables, and beside HAProxy's way written out naively.

use proptest::prelude::*;

use super::*;

const NAME: &[u8] = b"CK";

fn of(fields: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
    }
    headers
}

/// What is left of the fields, and the values that were found.
fn taken(fields: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut headers = of(fields);
    let mut seen = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    take(&mut headers, NAME, |value| seen.push(text(value)));
    (headers.get_all(COOKIE).iter().map(|field| text(field.as_bytes())).collect(), seen)
}

/// [STICK-6]: the cookie goes, the others stay as they are.
#[test]
fn stick_6_one_cookie_is_taken_out_of_many() {
    let rows: &[(&str, Option<&str>, &[&str])] = &[
        ("CK=a", None, &["a"]),
        ("CK=", None, &[""]),
        ("CK=a; x=1", Some("x=1"), &["a"]),
        ("x=1; CK=a", Some("x=1"), &["a"]),
        ("x=1; CK=a; y=2", Some("x=1; y=2"), &["a"]),
        ("x=1;CK=a;y=2", Some("x=1; y=2"), &["a"]),
        ("x=1 ; CK=a ; y=2", Some("x=1; y=2"), &["a"]),
        ("x=1, CK=a, y=2", Some("x=1, y=2"), &["a"]),
        ("CK=a; CK=b", None, &["a", "b"]),
        ("CK=a; x=1; CK=b", Some("x=1"), &["a", "b"]),
        ("CK=a;;x=1", Some(";x=1"), &["a"]),
        ("x=1; CK=a;", Some("x=1;"), &["a"]),
        ("CK=a;", None, &["a"]),
        ("CK", Some("CK"), &[]),
        ("CK; x=1", Some("CK; x=1"), &[]),
        ("XCK=a; CKX=b; ck=c", Some("XCK=a; CKX=b; ck=c"), &[]),
        ("x=\"; CK=a\"; y=2", Some("x=\"; CK=a\"; y=2"), &[]),
        ("CK=\"a;b\\\";c\"; y=2", Some("y=2"), &["\"a;b\\\";c\""]),
        ("CK = a; x = 1", Some("x=1"), &["a"]),
        ("x = 1", Some("x=1"), &[]),
        ("x=1  ", Some("x=1  "), &[]),
        ("$Version=1; CK=a; $Path=/", None, &["a"]),
        ("$Version=1; x=1; $Path=/; CK=a", Some("$Version=1; x=1; $Path=/"), &["a"]),
        ("CK=a; $Path=/; x=1", Some("x=1"), &["a"]),
        ("x=CK=a", Some("x=CK=a"), &[]),
        ("x==; CK==a", Some("x=="), &["=a"]),
        ("=a; CK=b", Some("=a"), &["b"]),
        (";CK=a", None, &["a"]),
    ];
    for (field, left, seen) in rows {
        let (kept, found) = taken(&[field]);
        assert_eq!(kept, left.iter().map(ToString::to_string).collect::<Vec<_>>(), "{field:?}");
        assert_eq!(found, *seen, "{field:?}");
    }
}

#[test]
fn stick_6_every_field_is_looked_at_and_keeps_its_place() {
    let (kept, found) = taken(&["x=1", "CK=a", "y=2; CK=b", "CK=c; z=3"]);
    assert_eq!(kept, ["x=1", "y=2", "z=3"]);
    assert_eq!(found, ["a", "b", "c"]);
    assert_eq!(taken(&["CK=a", "CK=b"]), (vec![], vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(taken(&[]), (vec![], vec![]));
}

/// [STICK-6]: a pod cannot set the cookie, and commas of a date separate nothing.
#[test]
fn stick_6_a_pods_set_cookie_of_that_name_is_taken_out() {
    let rows: &[(&[&str], &[&str], bool)] = &[
        (&["CK=a; path=/"], &[], true),
        (&["CK=; path=/", "x=1"], &["x=1"], true),
        (
            &["x=1", "CK = a", "y=2; Expires=Thu, 01 Jan 1970 00:00:01 GMT"],
            &["x=1", "y=2; Expires=Thu, 01 Jan 1970 00:00:01 GMT"],
            true,
        ),
        (&["CK; path=/"], &["CK; path=/"], false),
        (&["x=1, CK=a"], &["x=1, CK=a"], false),
        (&["ck=a", "CKX=a"], &["ck=a", "CKX=a"], false),
        (&["x = 1; a = b"], &["x=1; a = b"], false),
        (&[], &[], false),
    ];
    for (fields, left, expected) in rows {
        let mut headers = HeaderMap::new();
        for field in *fields {
            headers.append(SET_COOKIE, HeaderValue::from_str(field).unwrap());
        }
        assert_eq!(take_set(&mut headers, NAME), *expected, "{fields:?}");
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(kept, *left, "{fields:?}");
    }
}

fn naive_end(text: &[u8], value: usize) -> usize {
    let (mut quoted, mut pair, mut next) = (false, false, value);
    while next < text.len() {
        if pair {
            pair = false;
        } else if quoted {
            pair = text[next] == b'\\';
            quoted = text[next] != b'"';
        } else if text[next] == b'"' {
            quoted = true;
        } else if b",;".contains(&text[next]) {
            break;
        }
        next += 1;
    }
    next
}

/// HAProxy's own way, step by step on one buffer: what is left, and the values.
fn naive(field: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let blank = |byte: u8| byte == b' ' || byte == b'\t';
    let mut text = field.to_vec();
    let (mut seen, mut delete_from, mut preserve, mut first, mut prev) =
        (Vec::new(), None::<usize>, false, true, 0);
    while prev < text.len() {
        let mut name = prev + usize::from(!first);
        first = false;
        while name < text.len() && blank(text[name]) {
            name += 1;
        }
        let (mut equal, mut name_end) = (name, name);
        while equal < text.len() && !b"=,;".contains(&text[equal]) {
            equal += 1;
            if !blank(text[equal - 1]) {
                name_end = equal;
            }
        }
        let (mut value, mut value_end, mut next) = (equal, equal, equal);
        if equal < text.len() && text[equal] == b'=' {
            value = equal + 1;
            while value < text.len() && blank(text[value]) {
                value += 1;
            }
            next = naive_end(&text, value);
            value_end = next;
            while value_end > value && blank(text[value_end - 1]) {
                value_end -= 1;
            }
        }
        if name < text.len() && text[name] == b'$' {
            prev = next;
            continue;
        }
        let has_value = equal != next;
        if has_value {
            while equal > name_end {
                equal -= 1;
                text.remove(equal);
                (value, value_end, next) = (value - 1, value_end - 1, next - 1);
            }
            while value > equal + 1 {
                text.remove(equal + 1);
                (value, value_end, next) = (value - 1, value_end - 1, next - 1);
            }
        }
        if has_value && &text[name..name_end] == NAME {
            seen.push(text[value..value_end].to_vec());
            delete_from = delete_from.or(Some(prev));
        } else {
            preserve = true;
            if let Some(mut from) = delete_from.take() {
                let (before, mut to) = (text.len(), prev);
                if from == 0 {
                    to += 1;
                } else {
                    while blank(text[from - 1]) {
                        from -= 1;
                    }
                    text[from] = text[to];
                    (from, to) = (from + 1, to + 1);
                    if from + 1 < to {
                        text[from] = b' ';
                        from += 1;
                    }
                }
                while to < text.len() && blank(text[to]) {
                    to += 1;
                }
                text.drain(from..to);
                next -= before - text.len();
            }
        }
        prev = next;
    }
    if let Some(from) = delete_from {
        text.truncate(if preserve { from } else { 0 });
    }
    if text.len() < field.len() {
        while text.last().is_some_and(|byte| blank(*byte)) {
            text.pop();
        }
    }
    (text, seen)
}

fn any_field() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "CK",
        "CK=",
        "CK=a",
        "CK=b|c",
        "x",
        "x=1",
        "long=0123456789abcdef",
        "$Path=/",
        "=",
        ";",
        "; ",
        ", ",
        ",",
        " ",
        "\t",
        "\"",
        "\\",
        "ck=A",
        " = ",
    ]);
    prop::collection::vec(part, 0..14).prop_map(|parts| parts.concat().trim().to_owned())
}

proptest! {
    #[test]
    fn cookies_are_taken_as_the_naive_way_takes_them(field in any_field()) {
        let (left, expected) = naive(field.as_bytes());
        let (kept, seen) = taken(&[&field]);
        let left: Vec<String> = if left.is_empty() && !field.is_empty() {
            vec![]
        } else {
            vec![String::from_utf8(left).unwrap()]
        };
        prop_assert_eq!(kept, left);
        let seen: Vec<Vec<u8>> = seen.into_iter().map(String::into_bytes).collect();
        prop_assert_eq!(seen, expected);
    }

    /// Where nobody uses blanks, quotes or commas, it is a filter.
    #[test]
    fn of_plain_pairs_the_others_are_left_in_order(
        pairs in prop::collection::vec(("CK|[a-z]{1,9}", "[A-Za-z0-9+/=]{0,20}"), 1..9),
    ) {
        let text = |pairs: &[&(String, String)]| {
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
        };
        let (ours, others): (Vec<_>, Vec<_>) = pairs.iter().partition(|(name, _)| name == "CK");
        let (kept, seen) = taken(&[&text(&pairs.iter().collect::<Vec<_>>())]);
        prop_assert_eq!(kept.concat(), text(&others));
        prop_assert_eq!(seen, ours.into_iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
    }
}
