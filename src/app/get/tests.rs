//! Tables, JSON and YAML of `wharf get`, with hostile text in them.

use super::*;
use crate::admin::fixture;

fn printed(kind: Kind, output: Output, namespace: Option<&str>) -> String {
    let get = Get { kind, namespace: namespace.map(str::to_owned), output };
    let mut out = Vec::new();
    offline(&get, &fixture::snapshot(), "default", &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn routes_look_like_those_of_oc() {
    assert_eq!(
        printed(Kind::Routes, Output::Table, Some("shop")),
        "\
NAME       HOST/PORT            PATH    SERVICES               PORT    TERMINATION     WILDCARD
web        shop.example.com     /cart   web(90%),web-v3(10%)   <all>   edge/Redirect   None
web-late   HostAlreadyClaimed   /cart   web                    <all>   edge/Redirect   None
"
    );
}

#[test]
fn without_a_namespace_all_are_shown_with_theirs() {
    let text = printed(Kind::Routes, Output::Wide, None);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("NAMESPACE   NAME       HOST/PORT"), "{text}");
    assert!(lines[0].ends_with("PLACE              MESSAGE"), "{text}");
    assert!(lines[2].contains("shop.example.com HostAlreadyClaimed"), "{text}");
    assert!(lines[2].ends_with("route web already exposes shop.example.com"), "{text}");
    assert_eq!(printed(Kind::Routes, Output::Table, Some("x")), "No resources found.\n");
}

#[test]
fn certificates_have_an_end() {
    let certs = serde_json::json!([{
        "host": "shop.example.com", "source": "Route shop/web", "names": ["shop.example.com"],
        "notAfter": "2026-08-04T12:30:00Z", "notAfterUnix": 1_785_846_600,
    }]);
    let get = Get { kind: Kind::Certs, namespace: None, output: Output::Wide };
    assert_eq!(
        tabulate(&get, certs).unwrap(),
        "\
HOST               SOURCE           NOT-AFTER              NAMES
shop.example.com   Route shop/web   2026-08-04T12:30:00Z   shop.example.com
"
    );
}

#[test]
fn targets_are_taken_as_the_nlb_gives_them() {
    let targets = serde_json::json!([
        {"targetGroup": "https", "id": "127.0.0.1", "port": 8443, "availabilityZone": "a",
         "state": "healthy", "activeFlows": 3},
        {"targetGroup": "https", "id": "\u{1b}[31m", "port": 1, "state": "unhealthy",
         "reason": "Target.Timeout", "activeFlows": 0},
    ]);
    let get = Get { kind: Kind::Targets, namespace: None, output: Output::Wide };
    assert_eq!(
        tabulate(&get, targets).unwrap(),
        "\
GROUP   TARGET      PORT   ZONE     STATE       REASON           FLOWS
https   127.0.0.1   8443   a        healthy     <none>           3
https   [31m        1      <none>   unhealthy   Target.Timeout   0
"
    );
}

#[test]
fn json_and_yaml_hold_the_same() {
    let json: Value = serde_json::from_str(&printed(Kind::Routes, Output::Json, None)).unwrap();
    let yaml: Value = serde_saphyr::from_str(&printed(Kind::Routes, Output::Yaml, None)).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json[1]["status"]["ingress"][0]["conditions"][0]["reason"], "HostAlreadyClaimed");
}

#[test]
fn json_escapes_what_a_terminal_would_obey_s_94() {
    let value = serde_json::json!("a\u{1b}b\u{7f}\u{9b}c");
    let text = json(&value).unwrap();
    assert_eq!(text, "\"a\\u001bb\\u007f\\u009bc\"\n");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
}

#[test]
fn shares_are_percentages() {
    let share = |name: &str, weight| Share { name: name.to_owned(), weight };
    assert_eq!(services(&[share("a", 0)]), "a");
    assert_eq!(services(&[share("a", 0), share("b", 0)]), "a(0%),b(0%)");
    assert_eq!(services(&[share("a", 1), share("b", 2)]), "a(33%),b(66%)");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let get = Get { kind: Kind::Routes, namespace: None, output: Output::Table };
    let error = live(&get, Some("127.0.0.1:0"), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:0"), "{error}");
}
