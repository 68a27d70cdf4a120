//! Tests of what `wharf check` prints.

use std::path::PathBuf;

use super::*;
use crate::{app::offline, settings::RouterSettings};

fn scanned(paths: &[PathBuf]) -> Directory {
    offline::scan(paths, &RouterSettings::default())
}

fn check(files: &[(&str, &str)]) -> (bool, String) {
    let temp = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(temp.path().join(name), text).expect("written");
    }
    let mut out = Vec::new();
    let failed =
        run(&scanned(&[temp.path().to_owned()]), |_| Vec::new(), &mut out).expect("printed");
    let root = format!("{}/", temp.path().display());
    (failed, String::from_utf8(out).expect("text").replace(&root, ""))
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
const ROUTE: &str = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: r\nspec:\n  \
    host: a.test\n  to: {name: s}\n";

#[test]
fn good_manifests_have_a_summary_only() {
    let (failed, out) = check(&[("r.yaml", ROUTE), ("s.yaml", SERVICE)]);
    assert_eq!((failed, out.as_str()), (false, "1 route ok, 0 errors, 0 warnings in 2 files\n"));
}

#[test]
fn findings_have_place_snippet_and_help() {
    let bad = ROUTE.replace("host: a.test", "host: A.test");
    let (failed, out) = check(&[("r.yaml", &bad), ("s.yaml", SERVICE)]);
    let want = "\
r.yaml:6:3: error[WH1020]: the host \"A.test\" has upper-case letters (Route default/r, spec.host)
    |
  6 |   host: A.test
    |   ^^^^
  = help: write a.test
0 routes ok, 1 error, 0 warnings in 2 files
";
    assert_eq!((failed, out.as_str()), (true, want));
}

#[test]
fn warnings_do_not_fail_and_places_are_sorted() {
    let odd = ROUTE.replace("spec:\n", "spec:\n  hosst: x\n");
    let (failed, out) = check(&[("r.yaml", &odd), ("b.yaml", SERVICE), ("a.yaml", "kind: Rout\n")]);
    assert!(!failed, "{out}");
    let heads: Vec<_> = out.lines().filter(|line| line.contains("[WH")).collect();
    assert_eq!(heads.len(), 2, "{out}");
    assert!(heads[0].starts_with("a.yaml:1:1: warning[WH2002]"), "{out}");
    assert!(heads[1].starts_with("r.yaml:6:3: warning[WH2001]"), "{out}");
    assert!(out.ends_with("1 route ok, 0 errors, 2 warnings in 3 files\n"), "{out}");
}

#[test]
fn a_key_is_never_printed() {
    let route = format!("{ROUTE}  tls: {{key: \"-----BEGIN PRIVATE KEY-----\", keyy: 1}}\n");
    let (_, out) = check(&[("r.yaml", &route), ("s.yaml", SERVICE)]);
    assert!(out.contains("WH2001") && !out.contains("BEGIN"), "{out}");
}

#[test]
fn compile_findings_are_printed_too() {
    let mut out = Vec::new();
    let place = crate::model::finding::Place::file("x");
    let extra = |_: &Objects| vec![Finding::new(codes::KEY_MISMATCH, place.clone(), "they differ")];
    assert!(run(&scanned(&[]), extra, &mut out).expect("printed"));
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with("x: error[WH1041]: they differ\n"), "{text}");
}

#[test]
fn every_code_has_a_page_and_the_schema_is_json() {
    assert!(explain_code("wh1001").expect("known").starts_with("WH1001 (error): "));
    assert_eq!(explain_code("WH1"), None);
    let mut out = Vec::new();
    print_schema(&mut out).expect("printed");
    let schema: serde_json::Value = serde_json::from_slice(&out).expect("json");
    assert_eq!(schema["title"], "Route");
}
