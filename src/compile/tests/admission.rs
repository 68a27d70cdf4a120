//! Which routes the settings let in, and under which host. Objects are written as manifests.

use super::*;
use crate::settings::admission::AdmissionSettings;

/// A compiler with these settings of admission and wildcard routes.
fn compiler_of(change: impl FnOnce(&mut AdmissionSettings)) -> Compiler {
    compiler_with(|settings| {
        settings.allow_wildcard_routes = true;
        change(&mut settings.admission);
    })
}

/// A route `name` in `namespace` with labels and more of its spec, both in flow style.
fn at(namespace: &str, name: &str, labels: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: route.openshift.io/v1\nkind: Route\n\
         metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{to: {{name: web}}, {spec}}}\n"
    )
}

fn namespace(name: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
    )
}

/// The routes of a snapshot that are admitted.
fn admitted(snapshot: &Snapshot) -> Vec<String> {
    let states = snapshot.routes.iter().filter(|state| state.admission.is_admitted());
    states.map(|state| state.source.key.to_string()).collect()
}

/// The routes that a snapshot knows.
fn known(snapshot: &Snapshot) -> Vec<String> {
    snapshot.routes.iter().map(|state| state.source.key.to_string()).collect()
}

/// [PIPE-3, HOST-1, HOST-2]: claims, messages and what is served go by the rewritten host; the object
/// keeps its own.
#[test]
fn pipe_3_everything_behind_the_rewrite_sees_the_new_host() {
    let mut compiler = compiler_with(|settings| {
        "d.test".clone_into(&mut settings.domain);
        "${namespace}.apps.test".clone_into(&mut settings.admission.hostname_template);
        settings.admission.override_domains = vec!["old.test".to_owned()];
    });
    let text = [
        at("app", "first", "", "host: a.old.test"),
        at("app", "second", "", "host: b.old.test"),
        at("app", "sub", "", "subdomain: s"),
        at("app", "own", "", "host: own.test"),
    ];
    let snapshot = compile(&mut compiler, &text.concat());
    assert_eq!(admitted(&snapshot), ["app/first", "app/own", "app/sub"]);
    let hosts: Vec<&str> = ["first", "second", "sub", "own"]
        .iter()
        .map(|name| &*state(&snapshot, name).host)
        .collect();
    assert_eq!(hosts, ["app.apps.test", "app.apps.test", "s.d.test", "own.test"]);
    assert_eq!(&*served(&snapshot, "first").host, "app.apps.test");
    assert_eq!(state(&snapshot, "first").source.object.spec.host, "a.old.test");
    let held = "route first already exposes app.apps.test and is older".to_owned();
    assert_eq!(rejection(&snapshot, "second"), (RejectReason::HostAlreadyClaimed, held));
}

/// [HOST-4]: a subdomain without a domain is no host. A template may make one that is no name.
#[test]
fn host_4_a_route_that_stays_without_host_is_refused() {
    let text = at("app", "sub", "", "subdomain: s");
    let none = rejection(&compile(&mut compiler(), &text), "sub");
    let want = "no host value was defined for the route".to_owned();
    assert_eq!(none, (RejectReason::NoHostValue, want));
    let mut odd = compiler_of(|settings| "${name}_x".clone_into(&mut settings.hostname_template));
    assert_eq!(rejection(&compile(&mut odd, &text), "sub").0, RejectReason::InvalidHost);
}

/// [ADM-1, ADM-2, PIPE-3]: the lists see the rewritten host.
#[test]
fn adm_2_domain_lists_are_asked_after_the_rewrite() {
    let mut compiler = compiler_of(|settings| {
        "${name}.apps.test".clone_into(&mut settings.hostname_template);
        settings.override_domains = vec!["old.test".to_owned()];
        settings.allowed_domains = vec!["apps.test".to_owned()];
        settings.denied_domains = vec!["bad.apps.test".to_owned()];
    });
    let text = [
        at("app", "good", "", "host: x.old.test"),
        at("app", "bad", "", "host: y.old.test"),
        at("app", "out", "", "host: z.test"),
    ];
    let snapshot = compile(&mut compiler, &text.concat());
    assert_eq!(admitted(&snapshot), ["app/good"]);
    let refused = |text: &str| (RejectReason::RouteNotAdmitted, text.to_owned());
    assert_eq!(rejection(&snapshot, "bad"), refused("host in list of denied domains"));
    assert_eq!(rejection(&snapshot, "out"), refused("host not in the allowed list of domains"));
}

/// [ADM-5]
#[test]
fn adm_5_where_wildcards_are_off_a_route_is_served_as_its_host_alone() {
    let objects = objects(&at("app", "w", "", "host: w.test, wildcardPolicy: Subdomain"));
    let mut compiler = compiler();
    let zone = Zone::default();
    let found = &mut Vec::new();
    let candidate = compiler.candidates(&objects.routes, found).remove(0);
    assert!(!compiler.route(&candidate, Given::default(), &zone, found).wildcard);
    let mut compiler = compiler_of(|_| {});
    let candidate = compiler.candidates(&objects.routes, found).remove(0);
    assert!(compiler.route(&candidate, Given::default(), &zone, found).wildcard);
}

/// [SHARD-1]: by labels and fields; a route that is not selected claims nothing and is not known.
#[test]
fn shard_1_routes_that_are_not_selected_are_as_if_absent() {
    let text = [
        at("app", "a", "shard: one", "host: x.test"),
        at("app", "b", "shard: two", "host: x.test"),
        at("web", "c", "", "host: c.test"),
    ];
    let text = text.concat();
    let all = compile(&mut compiler(), &text);
    assert_eq!(known(&all), ["app/a", "app/b", "web/c"]);
    assert_eq!(admitted(&all), ["app/a", "web/c"]);
    for (labels, fields, want) in [
        ("shard=two", "", &["app/b"][..]),
        ("shard!=one", "", &["app/b", "web/c"]),
        ("", "metadata.namespace=web", &["web/c"]),
        ("", "spec.host=x.test,metadata.name!=a", &["app/b"]),
        ("shard", "metadata.namespace=web", &[]),
    ] {
        let mut compiler = compiler_of(|settings| {
            settings.route_labels = labels.parse().unwrap();
            settings.route_fields = fields.parse().unwrap();
        });
        let snapshot = compile(&mut compiler, &text);
        assert_eq!(known(&snapshot), want, "{labels} {fields}");
        assert_eq!(admitted(&snapshot), want, "{labels} {fields}");
        assert!(snapshot.findings.iter().all(|f| !f.object.contains("app/a")), "{labels} {fields}");
    }
}

/// [SHARD-1]
#[test]
fn shard_1_one_namespace_alone() {
    let mut compiler = compiler_of(|settings| settings.namespace = Some("web".to_owned()));
    let text = at("app", "a", "", "host: x.test") + &at("web", "c", "", "host: x.test");
    assert_eq!(admitted(&compile(&mut compiler, &text)), ["web/c"]);
}

/// [SHARD-2, CLAIM-18]: labels of namespaces count as they are now, and what leaves lets go of its
/// claims.
#[test]
fn shard_2_namespaces_join_and_leave_by_their_labels() {
    let mut compiler =
        compiler_of(|settings| settings.namespace_labels = Some("shard=a".parse().unwrap()));
    let routes = [
        at("one", "r", "", "host: x.test"),
        at("two", "r", "", "host: x.test"),
        at("bare", "r", "", "host: bare.test"),
    ];
    let routes = routes.concat();
    for (one, two, want) in [
        ("a", "a", &["one/r"][..]),
        ("b", "a", &["two/r"]),
        ("b", "b", &[]),
        ("a", "b", &["one/r"]),
        ("a", "a", &["one/r"]),
    ] {
        let label = |value| format!("shard: {value}");
        let text = namespace("one", &label(one)) + &namespace("two", &label(two)) + &routes;
        let snapshot = compile(&mut compiler, &text);
        assert_eq!(admitted(&snapshot), want, "{one} {two}");
        assert_eq!(snapshot.table.len(), want.len(), "{one} {two}");
    }
    let snapshot = compile(&mut compiler, &routes);
    assert_eq!(known(&snapshot), Vec::<String>::new(), "no manifest, no labels");
}

/// [SHARD-1]: the name of a namespace is one of its labels, as in the cluster; a namespace without a
/// manifest is said once.
#[test]
fn shard_1_a_namespace_without_a_manifest_is_a_finding() {
    let mut compiler = compiler_of(|settings| {
        let labels = "kubernetes.io/metadata.name in (one, two)".parse().unwrap();
        settings.project_labels = Some(crate::settings::admission::ProjectLabels::Labels(labels));
    });
    let routes = at("one", "a", "", "host: a.test")
        + &at("two", "b", "", "host: b.test")
        + &at("two", "c", "", "host: c.test");
    let snapshot = compile(&mut compiler, &(namespace("one", "") + &routes));
    assert_eq!(known(&snapshot), ["one/a"]);
    let unlisted: Vec<String> = snapshot
        .findings
        .iter()
        .filter(|finding| finding.code == codes::UNLISTED_NAMESPACE)
        .map(|finding| format!("{}:{} {}", finding.place.line, finding.place.column, finding.field))
        .collect();
    assert_eq!(unlisted, ["13:21 metadata.namespace"]);
}
