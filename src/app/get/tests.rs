//! Tables, JSON, YAML, names and templates of `wharf get`, with hostile text in them.

use super::*;
use crate::admin::fixture;

fn asked(kind: Kind, output: &str) -> Get {
    let selected = Selected { kind, names: Vec::new(), namespace: None, labels: None };
    Get { selected, output: output.parse().unwrap(), headers: true }
}

/// What goes to both streams, and the outcome.
fn run(get: &Get) -> (String, String, Result<(), GetError>) {
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let mut streams = Streams { out: &mut out, talk: &mut talk };
    let outcome = offline(get, &fixture::snapshot(), &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(out), text(talk), outcome)
}

fn printed(get: &Get) -> String {
    let (out, talk, outcome) = run(get);
    outcome.unwrap();
    assert_eq!(talk, "");
    out
}

#[test]
fn routes_look_like_those_of_oc() {
    let mut get = asked(Kind::Routes, "table");
    get.selected.namespace = Some("shop".to_owned());
    let table = "\
NAME       HOST/PORT            PATH    SERVICES               PORT    TERMINATION     WILDCARD
web        shop.example.com     /cart   web(90%),web-v3(10%)   <all>   edge/Redirect   None
web-late   HostAlreadyClaimed   /cart   web                    <all>   edge/Redirect   None
";
    assert_eq!(printed(&get), table);
    get.output = Output::Wide;
    assert_eq!(printed(&get), table, "oc has no further columns");
    get.headers = false;
    // Without its head a column may be narrower.
    assert_eq!(
        printed(&get),
        "\
web        shop.example.com     /cart   web(90%),web-v3(10%)   <all>   edge/Redirect   None
web-late   HostAlreadyClaimed   /cart   web                    <all>   edge/Redirect   None
"
    );
}

#[test]
fn without_a_namespace_all_are_shown_with_theirs() {
    let text = printed(&asked(Kind::Routes, "table"));
    assert!(text.starts_with("NAMESPACE   NAME       HOST/PORT"), "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("shop        web "), "{text}");
}

#[test]
fn an_empty_list_is_talk_and_no_data() {
    let mut get = asked(Kind::Routes, "table");
    get.selected.namespace = Some("x\u{1b}".to_owned());
    let (out, talk, outcome) = run(&get);
    outcome.unwrap();
    assert_eq!((&*out, &*talk), ("", "No resources found in x namespace.\n"));
    let (out, talk, _) = run(&asked(Kind::Services, "table"));
    assert_eq!((&*out, &*talk), ("", "No resources found\n"));
}

#[test]
fn names_choose_and_what_is_missing_is_said() {
    let named = |names: &[&str], output| {
        let mut get = asked(Kind::Routes, output);
        get.selected.names = names.iter().map(|name| (*name).to_owned()).collect();
        get
    };
    assert_eq!(
        printed(&named(&["web-late", "web"], "name")),
        "route.route.openshift.io/web-late\nroute.route.openshift.io/web\n"
    );
    let (out, talk, outcome) = run(&named(&["web", "no", "nor"], "name"));
    assert_eq!((&*out, &*talk), ("route.route.openshift.io/web\n", ""));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "routes.route.openshift.io \"no\" not found; routes.route.openshift.io \"nor\" not found"
    );
    let one: Value = serde_json::from_str(&printed(&named(&["web"], "json"))).unwrap();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("Route"), &json!("web")));
    let reason = "jsonpath={.status.ingress[0].conditions[?(@.type==\"Admitted\")].reason}";
    assert_eq!(printed(&named(&["web-late"], reason)), "HostAlreadyClaimed");
}

#[test]
fn labels_choose_routes_only() {
    let with = |kind, selector: &str| {
        let mut get = asked(kind, "name");
        get.selected.labels = Some(selector.parse().unwrap());
        run(&get)
    };
    assert_eq!(with(Kind::Routes, "app=shop,tier in (a,b)").0, "route.route.openshift.io/web\n");
    assert_eq!(with(Kind::Routes, "!app").0, "route.route.openshift.io/web-late\n");
    let refused = with(Kind::Services, "app").2.unwrap_err();
    assert!(matches!(refused, GetError::NoLabels), "{refused}");
}

#[test]
fn kinds_are_the_words_of_oc() {
    let kind = |text: &str| text.parse::<Resource>();
    assert_eq!(kind("svc").unwrap().kind, Kind::Services);
    let web = Resource { kind: Kind::Routes, name: Some("web".to_owned()) };
    assert_eq!(kind("route.route.openshift.io/web"), Ok(web.clone()));
    assert_eq!(kind("Route/web"), Ok(web));
    assert_eq!(kind("pods"), Err(UnknownKind));
}

#[test]
fn certificates_have_an_end() {
    let certs = serde_json::json!([{
        "host": "shop.example.com", "source": "Route shop/web", "names": ["shop.example.com"],
        "notAfter": "2026-08-04T12:30:00Z", "notAfterUnix": 1_785_846_600, "subject": "CN=shop",
        "key": "RSA", "http2": true,
        "chain": [{"subject": "CN=ca", "notAfter": "2030-01-01T00:00:00Z"}],
    }]);
    let Value::Array(certs) = certs else { unreachable!() };
    assert_eq!(
        tabulate(&asked(Kind::Certs, "table"), certs.clone()).unwrap(),
        "\
HOST               SOURCE           SUBJECT   NOT-AFTER              NAMES
shop.example.com   Route shop/web   CN=shop   2026-08-04T12:30:00Z   shop.example.com
"
    );
    let wide = tabulate(&asked(Kind::Certs, "wide"), certs).unwrap();
    assert!(wide.contains("KEY   HTTP/2   CHAIN"), "{wide}");
    assert!(wide.contains("RSA   yes      CN=ca until 2030-01-01T00:00:00Z"), "{wide}");
}

#[test]
fn targets_are_taken_as_the_nlb_gives_them() {
    let targets = vec![
        serde_json::json!({"targetGroup": "https", "id": "127.0.0.1", "port": 8443,
         "availabilityZone": "a", "state": "healthy", "activeFlows": 3}),
        serde_json::json!({"targetGroup": "https", "id": "\u{1b}[31m", "port": 1,
         "state": "unhealthy", "reason": "Target.Timeout", "activeFlows": 0}),
    ];
    assert_eq!(
        tabulate(&asked(Kind::Targets, "wide"), targets).unwrap(),
        "\
GROUP   TARGET      PORT   ZONE     STATE       REASON           FLOWS
https   127.0.0.1   8443   a        healthy     <none>           3
https   [31m        1      <none>   unhealthy   Target.Timeout   0
"
    );
}

/// S-92: what is printed is what `oc` would have, in both forms, and never a key.
#[test]
fn json_and_yaml_hold_the_same_list() {
    let text = printed(&asked(Kind::Routes, "json"));
    assert!(!text.contains("CANARY"), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    let yaml = printed(&asked(Kind::Routes, "yaml"));
    assert_eq!(json, serde_saphyr::from_str::<Value>(&yaml).unwrap());
    assert_eq!((&json["kind"], &json["apiVersion"]), (&json!("List"), &json!("v1")));
    let late = &json["items"][1];
    assert_eq!(late["status"]["ingress"][0]["conditions"][0]["reason"], "HostAlreadyClaimed");
    let members: Vec<_> = late.as_object().unwrap().keys().collect();
    assert_eq!(members, ["apiVersion", "kind", "metadata", "spec", "status"]);
}

#[test]
fn templates_see_items_of_every_kind() {
    let path = "jsonpath={range .items[*]}{.metadata.name}={.spec.to.weight}{\"\\n\"}{end}";
    assert_eq!(printed(&asked(Kind::Routes, path)), "web=90\nweb-late=90\n");
    assert_eq!(printed(&asked(Kind::Certs, "jsonpath={.items[*].host}")), "");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut streams = Streams { out: &mut Vec::new(), talk: &mut Vec::new() };
    let error = live(&asked(Kind::Routes, "table"), Some("127.0.0.1:0"), &mut streams);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:0"), "{error}");
}
