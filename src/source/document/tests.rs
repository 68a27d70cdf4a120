//! Tests of splitting, reading and attributing documents.

use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

use super::*;

const GOOD: &str = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: good}\n\
    spec: {host: a.test, to: {name: s}}\n";

fn read_text(text: &str) -> Content {
    read("f.yaml", text, "apps.test")
}

/// `line:col code` of every finding.
fn found(text: &str) -> Vec<String> {
    let show = |f: &Finding| format!("{}:{} {}", f.place.line, f.place.column, f.code);
    read_text(text).findings.iter().map(show).collect()
}

fn outcomes(text: &str) -> Vec<String> {
    read_text(text)
        .outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Valid(object) => format!("ok {}", object.id()),
            Outcome::Invalid(Some(id)) => format!("bad {id}"),
            Outcome::Invalid(None) => "bad ?".to_owned(),
        })
        .collect()
}

#[test]
fn documents_are_split_at_markers_only() {
    let text = "\u{feff}# head\n---\na: 1\n--- # two\nb: |\n  ---\n  -----BEGIN\n...\n%YAML 1.2\n---\nc: 3\n---\n";
    let parts: Vec<_> = split(text).into_iter().map(|(line, text)| (line, text.trim())).collect();
    assert_eq!(
        parts,
        [(2, "---\na: 1"), (4, "--- # two\nb: |\n  ---\n  -----BEGIN\n..."), (10, "---\nc: 3"),]
    );
}

#[test]
fn one_bad_document_loses_only_itself_r_08() {
    let bad = "kind: Route\nmetadata:\n  name: bad  # x\n  namespace: \"n\"\nspec: {host: [\n";
    let text = format!("{GOOD}---\n{bad}---\n{}", GOOD.replace("good", "other"));
    assert_eq!(
        outcomes(&text),
        ["ok Route default/good", "bad Route n/bad", "ok Route default/other"]
    );
    let findings = read_text(&text).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].code, codes::SYNTAX);
    assert_eq!(findings[0].object, "Route n/bad");
    assert!((6..=11).contains(&findings[0].place.line), "{findings:?}");
}

#[test]
fn a_bad_document_is_attributed_as_far_as_its_text_allows() {
    let cases = [
        ("kind: Route\nspec: [\n", vec!["bad ?"]),
        ("kind: List\nitems: [\n", vec!["bad ?"]),
        ("garbage: [\n", vec!["bad ?"]),
        ("just text", vec!["bad ?"]),
        ("kind: Deployment\nspec: [\n", vec![]),
        ("kind: Namespace\nmetadata:\n  name: n\n  x: [\n", vec!["bad Namespace n"]),
        (
            "kind: Service\nmetadata:\n  labels:\n    name: x\n  name: s\nspec: [\n",
            vec!["bad Service default/s"],
        ),
    ];
    for (text, want) in cases {
        assert_eq!(outcomes(text), want, "{text}");
    }
}

#[test]
fn each_problem_has_place_and_code() {
    let head = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: r\nspec:\n";
    let cases = [
        ("  to: {name: s}\n  hots: x\n", "7:3 WH2001"),
        ("  to: {name: s, weight: heavy}\n", "6:25 WH1002"),
        ("  host: a.test\n", "6:3 WH1003"),
        ("  to: {name: s}\n  to: {name: t}\n", "7:3 WH1004"),
        ("  to: {name: s}\n  port: {targetPort: [1]}\n", "7:22 WH1002"),
        ("  to: {name: s}\n  tls:\n    keyy: x\n", "8:5 WH2001"),
    ];
    for (tail, want) in cases {
        assert_eq!(found(&format!("{head}{tail}")), [want], "{tail}");
    }
}

#[test]
fn a_suggestion_is_made_for_a_misspelled_field() {
    let text = GOOD.replace("host:", "hosst:");
    let findings = read_text(&text).findings;
    assert_eq!(findings[0].field, "spec.hosst");
    assert_eq!(findings[0].fix, "did you mean host?");
}

#[test]
fn other_kinds_are_ignored_unless_they_look_like_ours() {
    let cases = [
        ("apiVersion: apps/v1\nkind: Deployment\n", vec![]),
        ("apiVersion: serving.knative.dev/v1\nkind: Service\n", vec![]),
        ("apiVersion: route.openshift.io/v1\nkind: Rout\n", vec!["2:1 WH2002"]),
        ("apiVersion: v1\nkind: Route\n", vec!["1:1 WH2002"]),
        ("apiVersion: route.openshift.io/v1beta1\nkind: Route\n", vec!["1:1 WH2002"]),
        ("metadata: {name: a}\nspec: {}\n", vec!["1:1 WH1003"]),
        ("values: 1\n", vec![]),
    ];
    for (text, want) in cases {
        assert_eq!(found(text), want, "{text}");
    }
}

#[test]
fn list_items_are_unfolded_with_their_own_places() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  \
        metadata: {name: s}\n- apiVersion: route.openshift.io/v1\n  kind: Route\n  metadata:\n    \
        name: r\n  spec:\n    host: BAD\n    to: {name: s}\n";
    assert_eq!(outcomes(text), ["ok Service default/s", "bad Route default/r"]);
    assert_eq!(found(text), ["12:5 WH1020"]);
}

#[test]
fn json_is_read_with_places() {
    let text = "{\"apiVersion\": \"route.openshift.io/v1\", \"kind\": \"Route\",\n \
        \"metadata\": {\"name\": \"r\"},\n \"spec\": {\"host\": \"A\", \"to\": {\"name\": \"s\"}}}";
    assert_eq!(found(text), ["3:11 WH1020"]);
    let tabs = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Namespace\",\n\t\"metadata\": \
        {\"name\": \"n\", \"labels\": {\"a\": \"\\ud83d\\ude00\"}}\n}";
    assert_eq!(outcomes(tabs), ["ok Namespace n"]);
}

#[test]
fn the_object_keeps_its_text_at_its_column() {
    let text = format!("# comment\n---\n\n{GOOD}");
    let content = read_text(&text);
    let Some(Outcome::Valid(AnyObject::Route(route))) = content.outcomes.first() else {
        panic!("{content:?}");
    };
    assert_eq!(route.place.to_string(), "f.yaml:4:1");
    assert_eq!(route.field_place("spec.to.name").to_string(), "f.yaml:7:27");
    assert_eq!(route.object.spec.to.weight, Some(100));
}

#[test]
fn hostile_documents_cost_one_finding_s_90() {
    let deep = format!("kind: Route\nmetadata:\n  name: r\nspec: {}\n", "[".repeat(10_000));
    let text = format!("{GOOD}---\n{deep}");
    assert_eq!(outcomes(&text), ["ok Route default/good", "bad Route default/r"]);
    assert_eq!(read_text(&text).findings[0].code, codes::LIMIT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reading_never_panics_and_splitting_loses_no_content(text in any::<String>()) {
        let _ = read_text(&text);
        let kept: usize = split(&text).iter().map(|(_, part)| part.len()).sum();
        prop_assert!(kept <= text.len());
    }

    #[test]
    fn damaged_manifests_never_panic(cut in 0usize..140, insert in "[-:{}\\[\\]&*!'\"|\n\t é]{0,4}") {
        let cut = cut.min(GOOD.len());
        let text = format!("{}{insert}{}---\n{GOOD}", &GOOD[..cut], &GOOD[cut..]);
        let content = read_text(&text);
        prop_assert!(!content.outcomes.is_empty());
    }
}
