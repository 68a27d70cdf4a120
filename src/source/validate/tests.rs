//! Table tests: one small manifest, the findings it must have.

use super::cross_check;
use crate::{
    model::{finding::codes, objects::Objects},
    source::document::{Outcome, read},
};

const HEAD: &str = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: r\n";

/// `line:col code field` of every finding of a route with this text behind its name.
fn route(tail: &str) -> Vec<String> {
    let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
    content
        .findings
        .iter()
        .map(|f| format!("{}:{} {} {}", f.place.line, f.place.column, f.code, f.field))
        .collect()
}

/// [CONV-7]
#[test]
fn spec_errors_are_found_at_their_field() {
    let cases = [
        ("host: \"*.a.test\"", "WH1020 spec.host"),
        ("host: a..test", "WH1020 spec.host"),
        ("subdomain: A", "WH1021 spec.subdomain"),
        ("path: shop", "WH1022 spec.path"),
        ("path: \"/a b\"", "WH1022 spec.path"),
        ("wildcardPolicy: Sub", "WH1026 spec.wildcardPolicy"),
        ("wildcardPolicy: Subdomain", "WH1026 spec.wildcardPolicy"),
        ("port: {targetPort: 0}", "WH1027 spec.port"),
        ("port: {targetPort: \"\"}", "WH1027 spec.port"),
        ("tls: {termination: egde}", "WH1028 spec.tls"),
        ("tls: {destinationCACertificate: x}", "WH1028 spec.tls"),
        ("tls: {insecureEdgeTerminationPolicy: allow}", "WH1030 spec.tls"),
        ("alternateBackends: [{name: a, weight: 257}]", "WH1024 spec.alternateBackends[0].weight"),
        ("alternateBackends: [{name: a, kind: Pod}]", "WH1023 spec.alternateBackends[0].kind"),
        (
            "alternateBackends: [{name: a},{name: b},{name: c},{name: d}]",
            "WH1025 spec.alternateBackends",
        ),
        ("alternateBackends: [{name: s}]", "WH2011 spec.alternateBackends[0].name"),
    ];
    for (line, want) in cases {
        let found = route(&format!("spec:\n  to: {{name: s}}\n  {line}\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("7:"), "{line}: {found:?}");
        assert!(found[0].contains(want), "{line}: {found:?}");
    }
}

/// [API-2]: every field of the table with every termination, found at its own place.
#[test]
fn the_table_of_terminations_api_2() {
    let fields = [
        ("path: /a", "spec.path"),
        ("tls.certificate: x", "spec.tls.certificate"),
        ("tls.key: x", "spec.tls.key"),
        ("tls.caCertificate: x", "spec.tls.caCertificate"),
        ("tls.externalCertificate: {name: x}", "spec.tls.externalCertificate"),
        ("tls.destinationCACertificate: x", "spec.tls.destinationCACertificate"),
        ("tls.insecureEdgeTerminationPolicy: Allow", "spec.tls.insecureEdgeTerminationPolicy"),
        ("tls.insecureEdgeTerminationPolicy: Redirect", ""),
        ("tls.insecureEdgeTerminationPolicy: None", ""),
        ("tls.insecureEdgeTerminationPolicy: \"\"", ""),
        ("tls.insecureEdgeTerminationPolicy: x", "spec.tls.insecureEdgeTerminationPolicy"),
        (
            "httpHeaders: {actions: {request: [{name: a, action: {type: Delete}}]}}",
            "spec.httpHeaders",
        ),
        (
            "httpHeaders: {actions: {response: [{name: a, action: {type: Delete}}]}}",
            "spec.httpHeaders",
        ),
        ("httpHeaders: {actions: {response: []}}", ""),
        ("wildcardPolicy: Subdomain", ""),
    ];
    // One letter for each field: y for yes, n for no, - where there is no such field.
    let allowed = [
        ("", "y----------yyyy"),
        ("edge", "yyyyynyyyynyyyy"),
        ("reencrypt", "yyyyyyyyyynyyyy"),
        ("passthrough", "nnnnnnnyyynnnyy"),
    ];
    for (termination, row) in allowed {
        for ((field, at), allowed) in fields.iter().zip(row.chars()) {
            let (inner, outer) = match field.strip_prefix("tls.") {
                Some(_) if allowed == '-' => continue,
                Some(inner) => (format!(", {inner}"), ""),
                None => (String::new(), *field),
            };
            let tls = match termination {
                "" => String::new(),
                _ => format!("  tls: {{termination: {termination}{inner}}}\n"),
            };
            let found =
                route(&format!("spec:\n  host: a.test\n  to: {{name: s}}\n{tls}  {outer}\n"));
            let case = format!("{termination} {field}: {found:?}");
            match allowed {
                'y' => assert!(found.is_empty(), "{case}"),
                _ => {
                    assert_eq!(found.len(), 1, "{case}");
                    assert!(found[0].ends_with(&format!(" {at}")), "{case}");
                    let line = if inner.is_empty() { "9:" } else { "8:" };
                    assert!(found[0].starts_with(line), "{case}");
                },
            }
        }
    }
}

/// [API-2]: the two sources of a certificate exclude each other.
#[test]
fn api_2_a_certificate_comes_from_one_place() {
    for field in ["certificate: x", "key: x"] {
        let tail = format!(
            "spec:\n  to: {{name: s}}\n  tls: {{termination: edge, externalCertificate: {{name: x}}, {field}}}\n"
        );
        assert_eq!(route(&tail), ["7:28 WH1029 spec.tls.externalCertificate"], "{field}");
    }
}

/// Section 1.1: the annotation allows long labels, and nothing else.
#[test]
fn a_host_with_long_labels_needs_an_annotation() {
    let long = format!("{}.test", "a".repeat(64));
    let with = |value: &str, host: &str| {
        route(&format!(
            "  annotations: {{route.openshift.io/allow-non-dns-compliant-host: \"{value}\"}}\n\
             spec:\n  host: \"{host}\"\n  to: {{name: s}}\n"
        ))
    };
    let refused = ["7:3 WH1020 spec.host"];
    assert_eq!(with("true", &long), Vec::<String>::new());
    assert_eq!(with("false", &long), refused);
    for value in ["True", "1", ""] {
        let found = with(value, &long);
        assert!(found.contains(&refused[0].to_owned()), "{value}");
        assert!(found.iter().any(|line| line.contains("WH2004")), "{value}");
    }
    for host in ["A.test", "a_b.test", "*.test", "a..b", "-a.test", &"a.".repeat(130)] {
        assert_eq!(with("true", host), refused, "{host}");
    }
}

/// Section 1.1: name and kind are the key of the list of alternates; `to` stands beside it.
#[test]
fn alternate_backends_have_a_key() {
    for (alternates, want) in [
        ("[{name: a}, {name: b}, {name: c}]", None),
        ("[{name: a}, {name: b}, {name: a}]", Some("WH1070 spec.alternateBackends[2].name")),
        ("[{name: a}, {name: s}]", Some("WH2011 spec.alternateBackends[1].name")),
        ("[{name: s}, {name: s}]", Some("WH2011 spec.alternateBackends[0].name")),
    ] {
        let tail = format!("spec:\n  to: {{name: s}}\n  alternateBackends: {alternates}\n");
        let found = route(&tail);
        assert_eq!(found.is_empty(), want.is_none(), "{alternates}: {found:?}");
        let first = found.first().map_or("", |found| found.as_str());
        assert!(first.ends_with(want.unwrap_or_default()), "{alternates}: {found:?}");
    }
    let tail = "spec:\n  to: {name: s}\n  alternateBackends: [{name: s}, {name: s}]\n";
    assert_eq!(route(tail).len(), 2, "both the warning and the error");
}

/// Section 1.1: weights end at 256, and a path is what it says.
#[test]
fn limits_of_weights_and_paths() {
    for (spec, good) in [
        ("to: {name: s, weight: 0}", true),
        ("to: {name: s, weight: 256}", true),
        ("to: {name: s, weight: 257}", false),
        ("to: {name: s, weight: -1}", false),
        ("to: {name: \"\"}", false),
        ("to: {name: s, kind: Pod}", false),
        ("to: {name: s}\n  path: /", true),
        ("to: {name: s}\n  path: \"/%23/\\xe9?;\"", true),
        ("to: {name: s}\n  path: \"/a#b\"", false),
        ("to: {name: s}\n  path: \"/a b\"", false),
        ("to: {name: s}\n  path: a/", false),
        ("to: {name: s}\n  host: a.test\n  wildcardPolicy: Subdomain", true),
        ("to: {name: s}\n  subdomain: a.b\n  wildcardPolicy: Subdomain", false),
        ("to: {name: s}\n  wildcardPolicy: \"\"", true),
        ("to: {name: s}\n  port: {targetPort: 1}", true),
        ("to: {name: s}\n  port: {targetPort: web}", true),
    ] {
        let found = route(&format!("spec:\n  {spec}\n"));
        assert_eq!(found.is_empty(), good, "{spec}: {found:?}");
    }
}

/// A route with these actions, one to a line, in a list.
fn with_actions(list: &str, actions: &[String]) -> String {
    let lines: String = actions.iter().map(|action| format!("      - {action}\n")).collect();
    format!("spec:\n  to: {{name: s}}\n  httpHeaders:\n    actions:\n      {list}:\n{lines}")
}

/// [HDR-1..4]: each mistake at its own field.
#[test]
fn header_actions_follow_hdr_1_to_hdr_4() {
    let delete = |name: &str| format!("{{name: {name}, action: {{type: Delete}}}}");
    let set = |value: &str| format!("{{name: a, action: {{type: Set, set: {{value: {value}}}}}}}");
    let rows = [
        (delete("\"a b\""), "WH1031", ".name"),
        (delete("\"\""), "WH1031", ".name"),
        (delete("\"a:\""), "WH1031", ".name"),
        (delete(&"a".repeat(256)), "WH1031", ".name"),
        (delete("Cookie"), "WH1031", ".name"),
        (delete("set-COOKIE"), "WH1031", ".name"),
        (delete("Proxy"), "WH1031", ".name"),
        (delete("Strict-Transport-Security"), "WH1031", ".name"),
        ("{name: a, action: {type: Set}}".to_owned(), "WH1031", ".action.set"),
        (set("\"\""), "WH1031", ".action.set.value"),
        (set("100%"), "WH1031", ".action.set.value"),
        (set("\"%[req.hdr(a)]\""), "WH1031", ".action.set.value"),
        ("{name: a, action: {type: Delete, set: {value: x}}}".to_owned(), "WH1031", ".action.set"),
        ("{name: a, action: {type: Add}}".to_owned(), "WH1031", ".action.type"),
        ("{name: a}".to_owned(), "WH1003", ".action"),
        ("{action: {type: Delete}}".to_owned(), "WH1003", ".name"),
        ("{name: a, action: {}}".to_owned(), "WH1003", ".action.type"),
        ("{name: a, action: {type: Set, set: {}}}".to_owned(), "WH1003", ".action.set.value"),
        (
            "{name: a, action: {type: Set, set: {value: 1}}}".to_owned(),
            "WH1002",
            ".action.set.value",
        ),
    ];
    for (action, code, field) in rows {
        let found = route(&with_actions("response", std::slice::from_ref(&action)));
        let want = format!(" spec.httpHeaders.actions.response[0]{field}");
        assert_eq!(found.len(), 1, "{action:.80}: {found:?}");
        assert!(found[0].ends_with(&want), "{action:.80}: {found:?}");
        assert!(found[0].starts_with("10:") && found[0].contains(code), "{action:.80}: {found:?}");
    }
    for good in [
        delete("\"!#$%&'*+-.^_`|~09azAZ\""),
        delete(&"a".repeat(255)),
        delete("Host"),
        delete("cookie2"),
        set("'\"shouldn''t break\"\\'"),
        set("foo if bar"),
        set("\"%{+Q}[ssl_c_der,base64]\""),
        set("\"%[res.hdr(a),lower]\""),
    ] {
        let found = route(&with_actions("response", std::slice::from_ref(&good)));
        assert!(found.is_empty(), "{good:.80}: {found:?}");
    }
}

/// [HDR-1]: letter by letter, within one list.
#[test]
fn hdr_1_a_name_stands_once_in_a_list() {
    let delete = |name: &str| format!("{{name: {name}, action: {{type: Delete}}}}");
    let found = route(&with_actions("request", &[delete("a"), delete("A"), delete("a")]));
    assert_eq!(found, ["12:10 WH1031 spec.httpHeaders.actions.request[2].name"]);
    let both = format!(
        "{}      response:\n      - {}\n",
        with_actions("request", &[delete("a")]),
        delete("a")
    );
    assert_eq!(route(&both), Vec::<String>::new());
}

/// [HDR-4, HDR-6]: each side has its own sample, and at most 20 actions.
#[test]
fn hdr_6_the_sample_of_the_other_side_is_refused() {
    for (list, sample, good) in [
        ("request", "req", true),
        ("request", "res", false),
        ("response", "res", true),
        ("response", "req", false),
    ] {
        let action =
            format!("{{name: a, action: {{type: Set, set: {{value: \"%[{sample}.hdr(x)]\"}}}}}}");
        let found = route(&with_actions(list, &[action]));
        assert_eq!(found.is_empty(), good, "{list} {sample}: {found:?}");
    }
    let many = |count: usize| -> Vec<String> {
        (0..count).map(|at| format!("{{name: a{at}, action: {{type: Delete}}}}")).collect()
    };
    for list in ["request", "response"] {
        assert_eq!(route(&with_actions(list, &many(20))), Vec::<String>::new());
        let found = route(&with_actions(list, &many(21)));
        assert_eq!(found, [format!("30:9 WH1031 spec.httpHeaders.actions.{list}[20]")]);
    }
}

/// [HDR-7] What would break framing is accepted as by the API server, and said to do nothing.
#[test]
fn hdr_7_actions_on_framing_are_said_to_do_nothing() {
    let actions = "actions: {response: [{name: a, action: {type: Delete}}, \
                   {name: Content-Length, action: {type: Delete}}]}";
    let tail = format!("spec:\n  to: {{name: s}}\n  httpHeaders:\n    {actions}\n");
    let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
    let found: Vec<_> = content.findings.iter().map(|f| (f.code, f.field.as_str())).collect();
    let field = "spec.httpHeaders.actions.response[1].name";
    assert_eq!(found, [(codes::FRAMING_ACTION, field)]);
}

/// [HSTS-1, HSTS-2] A value that is dropped is told with what was perhaps meant.
#[test]
fn hsts_1_a_value_that_is_none_comes_with_what_was_meant() {
    for (value, meant) in [
        ("max-age=1;", "max-age=1"),
        (" max-age=1", "max-age=1"),
        ("max-age=1;includesubdomain", "max-age=1; includeSubDomains"),
        ("Max-Age = 1 ; includeSubDomain; preload;", "max-age=1; includeSubDomains; preload"),
        ("max-age=1, preload", "max-age=1; preload"),
        ("maxage=1", "max-age=1"),
        ("max-age", ""),
        ("max-age=1;foo", ""),
        ("max-age=-1", ""),
        ("", ""),
    ] {
        let name = "haproxy.router.openshift.io/hsts_header";
        let head = format!("{HEAD}  annotations: {{{name}: {value:?}}}\n");
        let tail = "spec:\n  to: {name: s}\n  tls: {termination: edge}\n";
        let content = read("f.yaml", &format!("{head}{tail}"), "apps.test");
        let found: Vec<_> = content.findings.iter().map(|f| (f.code, f.fix.as_str())).collect();
        let fix = if meant.is_empty() { String::new() } else { format!("did you mean {meant}?") };
        assert_eq!(found, [(codes::BAD_ANNOTATION, fix.as_str())], "{value:?}");
    }
}

#[test]
fn annotations_never_invalidate_conv_7() {
    let cases = [
        ("haproxy.router.openshift.io/timeut: 5s", vec!["WH2003"]),
        ("haproxy.router.openshift.io/cookie_name: a", vec!["WH2003"]),
        ("haproxy.router.openshift.io/timeout: 1.5s", vec!["WH2004"]),
        ("haproxy.router.openshift.io/timeout: 5s", vec![]),
        ("haproxy.router.openshift.io/disable_cookies: \"yes\"", vec!["WH2004"]),
        ("router.openshift.io/cookie_name: a-B_1", vec![]),
        ("router.openshift.io/cookie_name: a.b", vec!["WH2004"]),
        ("router.openshift.io/cookie-same-site: Lax", vec!["WH2007"]),
        ("haproxy.router.openshift.io/pool-size: \"5\"", vec!["WH2003"]),
        ("router.openshift.io/pool-size: \"5\"", vec!["WH2007"]),
        ("haproxy.router.openshift.io/balance: RoundRobin", vec!["WH2004"]),
        ("haproxy.router.openshift.io/rewrite-target: x", vec!["WH2004"]),
        ("haproxy.router.openshift.io/rewrite-target: /x # y", vec![]),
        ("haproxy.router.openshift.io/rewrite-target: \"/x # y\"", vec!["WH2110"]),
        ("haproxy.router.openshift.io/log-send-hostname: \"true\"", vec!["WH2003"]),
        ("haproxy.router.openshift.io/hsts_header: max-age=1", vec!["WH2007"]),
        // Compile judges what is in it.
        ("haproxy.router.openshift.io/ip_allowlist: nobody", vec![]),
        ("example.com/timeut: 5s", vec![]),
    ];
    for (line, want) in cases {
        let tail = format!("  annotations:\n    {line}\nspec:\n  to: {{name: s}}\n");
        let content = read("f.yaml", &format!("{HEAD}{tail}"), "apps.test");
        let mut found: Vec<_> = content.findings.iter().map(|f| f.code.to_string()).collect();
        found.sort();
        assert_eq!(found, want, "{line}");
        assert!(
            content.findings.iter().all(|f| (f.place.line, f.place.column) == (6, 5)),
            "{line}"
        );
        assert!(matches!(content.outcomes[..], [Outcome::Valid(_)]), "{line}");
    }
}

#[test]
fn a_misspelled_annotation_gets_the_full_name() {
    let text = format!(
        "{HEAD}  annotations:\n    haproxy.router.openshift.io/cookie_name: a\nspec: {{to: {{name: s}}}}\n"
    );
    let findings = read("f.yaml", &text, "x").findings;
    assert_eq!(findings[0].fix, "did you mean router.openshift.io/cookie_name?");
}

#[test]
fn names_are_checked() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a.b\n  namespace: N\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a.b}\n";
    let content = read("f.yaml", text, "x");
    let found: Vec<_> =
        content.findings.iter().map(|f| (f.place.line, f.code, f.field.as_str())).collect();
    assert_eq!(
        found,
        [(4, codes::BAD_NAME, "metadata.name"), (5, codes::BAD_NAME, "metadata.namespace")]
    );
}

fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    for outcome in read("f.yaml", text, "apps.test").outcomes {
        match outcome {
            Outcome::Valid(object) => object.add_to(&mut objects),
            Outcome::Invalid(id) => panic!("{id:?}"),
        }
    }
    objects
}

#[test]
fn references_are_checked_across_objects() {
    let rest = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80, targetPort: 8080}]}\n\
        ---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: other}\n\
        ---\napiVersion: v1\nkind: Service\nmetadata: {name: sliced}\nspec: {ports: [{port: 80, targetPort: web}]}\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s1, labels: {kubernetes.io/service-name: sliced}}\n\
        addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: [{name: metrics, port: 9000}]\n";
    let cases = [
        ("to: {name: web}\n  port: {targetPort: http}", None),
        ("to: {name: web}\n  port: {targetPort: 8080}", None),
        ("to: {name: web}\n  port: {targetPort: 80}", Some("WH1062 its endpoints have 8080, http")),
        ("to: {name: wbe}", Some("WH1060 did you mean web?")),
        ("to: {name: far}", Some("WH1060 there is one in namespace other")),
        ("to: {name: sliced}\n  port: {targetPort: metrics}", None),
        (
            "to: {name: sliced}\n  port: {targetPort: web}",
            Some("WH1062 its endpoints have 9000, metrics"),
        ),
        // Compile judges Secrets, and says so once.
        ("to: {name: web}\n  tls: {externalCertificate: {name: no}}", None),
    ];
    for (spec, want) in cases {
        let found: Vec<_> = cross_check(&objects(&format!("{HEAD}spec:\n  {spec}\n{rest}")))
            .iter()
            .map(|f| format!("{} {}", f.code, f.fix))
            .collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}
