//! Tests of the tree and of finding places in it.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;
use crate::model::{
    finding::Place,
    objects::{ObjectKey, Stored},
};

const ROUTE: &str = "\
metadata:
  annotations:
    haproxy.router.openshift.io/timeout: 5s
spec:
  to: {name: a, weight: 1}
  alternateBackends:
    - name: b
    - kind: Service
      name: c
";

fn at(text: &str, field: &str) -> (u32, u32) {
    let mark = locate(text, field).expect("readable");
    (mark.line, mark.column)
}

#[test]
fn fields_are_found_at_their_key() {
    let cases = [
        ("metadata.annotations[haproxy.router.openshift.io/timeout]", (3, 5)),
        ("spec.to.weight", (5, 17)),
        ("spec.alternateBackends[0].name", (7, 7)),
        ("spec.alternateBackends[1].name", (9, 7)),
        ("spec.alternateBackends[1]", (8, 7)),
    ];
    for (field, want) in cases {
        assert_eq!(at(ROUTE, field), want, "{field}");
    }
}

#[test]
fn a_field_that_is_not_written_is_at_the_nearest_that_is() {
    assert_eq!(at(ROUTE, "spec.tls.key"), (4, 1));
    assert_eq!(at(ROUTE, "spec.alternateBackends[9].name"), (6, 3));
    assert_eq!(at(ROUTE, ""), (1, 1));
    assert_eq!(at(ROUTE, "status"), (1, 1));
}

#[test]
fn json_has_places_too() {
    let text = "{\n  \"spec\": {\n    \"to\": {\"name\": \"a\", \"weight\": 300}\n  }\n}";
    assert_eq!(at(text, "spec.to.weight"), (3, 25));
}

#[test]
fn a_stored_object_adds_its_own_place() {
    let mut stored = Stored::in_memory(ObjectKey::new("a", "b"), (), "x.yaml");
    stored.place = Place { path: "x.yaml".into(), line: 11, column: 3 };
    stored.text = "  spec:\n    host: a".into();
    assert_eq!(stored.field_place("spec.host").to_string(), "x.yaml:12:5");
    stored.text = "".into();
    assert_eq!(stored.field_place("spec.host").to_string(), "x.yaml:11:3");
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[1, -2, 0x1F, 1.5, 1e3, true, True, yes, null, ~, '1', !!str 1, 1.2.3.4, +, 1a, .]";
    let root = compose(text).expect("yaml").expect("a node");
    let want = serde_json::json!([
        1, -2, 31, 1.5, 1000.0, true, true, "yes", null, null, "1", "1", "1.2.3.4", "+", "1a", "."
    ]);
    assert_eq!(root.to_json(), want);
}

#[test]
fn merge_keys_fill_in_what_is_absent() {
    let text = "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\n";
    let root = compose(text).expect("yaml").expect("a node");
    assert_eq!(root.get("own").expect("own").to_json(), serde_json::json!({"y": 3, "x": 1}));
}

#[test]
fn what_cannot_be_used_is_refused_at_its_place() {
    let bomb: String = (0..9)
        .map(|level| {
            let inner = if level == 0 { "x".to_owned() } else { format!("*a{}", level - 1) };
            format!("k{level}: &a{level} [{}]\n", vec![inner; 10].join(", "))
        })
        .collect();
    let deep = "[".repeat(10_000);
    let cases = [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "stands twice"),
        ("? [a]\n: b\n", (1, 3), "must be a scalar"),
        ("a: *nope\n", (1, 4), "no anchor"),
        (bomb.as_str(), (4, 0), "aliases"),
        (deep.as_str(), (1, 0), "nesting"),
        ("a: [1\n", (1, 4), "bracket"),
    ];
    for (text, (line, column), says) in cases {
        let error = compose(text).expect_err("refused");
        assert_eq!(error.mark.line, line, "{error}");
        assert!(column == 0 || error.mark.column == column, "{error} at {:?}", error.mark);
        assert!(error.to_string().contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in any::<String>(), field in any::<String>()) {
        drop(compose(&text));
        let _ = locate(&text, &field);
    }

    #[test]
    fn no_yaml_like_text_panics(text in "[-a:{}\\[\\]&*! '\"|>#\n?,<]{0,60}", field in "[a.\\[\\]0é]{0,12}") {
        drop(compose(&text));
        let _ = locate(&text, &field);
    }
}
