//! Stickiness cookies of routes: names, attributes, values, and the order of endpoints.

use super::*;

const DISABLE: &str = "haproxy.router.openshift.io/disable_cookies";
const NAME: &str = "router.openshift.io/cookie_name";
const SAME_SITE: &str = "router.openshift.io/cookie-same-site";

/// A route with `annotations` and more of its spec, to service `web`.
fn annotated(annotations: &[(&str, &str)], spec: &str) -> String {
    let annotations: Vec<_> =
        annotations.iter().map(|(name, value)| format!("{name}: \"{value}\"")).collect();
    route("web", &format!(", to: {}{spec}", to("web", 1))).replace(
        "name: web, namespace: app",
        &format!("name: web, namespace: app, annotations: {{{}}}", annotations.join(", ")),
    )
}

/// The name of the cookie, and what a response of the first server gets.
fn cookie(compiler: &mut Compiler, route: &str) -> Option<(String, String)> {
    let snapshot = compile(compiler, &[route, &service("web", &["10.1.0.1"])].concat());
    let sticky = served(&snapshot, "web").backend.sticky.as_ref()?;
    let line = sticky.line(0).unwrap().to_str().unwrap();
    Some((sticky.name().to_owned(), line.to_owned()))
}

/// [STICK-1, STICK-2]: the route's name for it, the router's, or a hash; what is not a name is not
/// there.
#[test]
fn stick_2_names_of_the_route_of_the_router_and_of_nobody() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    // printf %s ' app:web' | md5sum
    let hash = "8432dd1f99d71495736b61162208397e";
    let rows: &[Row<'_>] = &[
        (&[], "", Some(hash)),
        (&[], "router_1", Some("router_1")),
        (&[(NAME, "Own-1")], "router_1", Some("Own-1")),
        (&[(NAME, "no name")], "router_1", Some("router_1")),
        (&[(NAME, "")], "", Some(hash)),
        (&[(DISABLE, "true")], "", None),
        (&[(DISABLE, "T"), (NAME, "own")], "", None),
        (&[(DISABLE, "false")], "", Some(hash)),
        (&[(DISABLE, "yes")], "", Some(hash)),
    ];
    for (annotations, router, expected) in rows {
        let mut compiler = compiler_with(|settings| settings.cookie_name = (*router).to_owned());
        let found = cookie(&mut compiler, &annotated(annotations, ""));
        assert_eq!(found.as_ref().map(|(name, _)| &**name), *expected, "{annotations:?} {router}");
    }
}

/// [STICK-3, STICK-4]: `Secure` and `SameSite` only where there is nothing but TLS.
#[test]
fn stick_4_attributes_by_termination_and_policy() {
    // printf %s 'pod:pod-10.1.0.1:web:http:10.1.0.1:8080' | md5sum
    let plain = "c=9a1961ff9cdb60c7dd36b0f122a3ada1; path=/; HttpOnly";
    let secure = |site: &str| format!("{plain}; Secure; SameSite={site}");
    let rows: &[(&str, &str, String)] = &[
        ("", "Lax", plain.to_owned()),
        (", tls: {termination: edge}", "", secure("None")),
        (", tls: {termination: edge}", "Lax", secure("Lax")),
        (", tls: {termination: edge}", "Strict", secure("Strict")),
        (", tls: {termination: edge}", "None", secure("None")),
        (", tls: {termination: edge}", "lax", secure("None")),
        (
            ", tls: {termination: edge, insecureEdgeTerminationPolicy: Redirect}",
            "Lax",
            secure("Lax"),
        ),
        (
            ", tls: {termination: edge, insecureEdgeTerminationPolicy: Allow}",
            "Lax",
            plain.to_owned(),
        ),
        (", tls: {termination: reencrypt}", "Lax", secure("Lax")),
        (
            ", tls: {termination: reencrypt, insecureEdgeTerminationPolicy: Allow}",
            "",
            plain.to_owned(),
        ),
    ];
    for (tls, site, expected) in rows {
        let route = annotated(&[(NAME, "c"), (SAME_SITE, site)], tls);
        let found = cookie(&mut compiler(), &route).unwrap().1;
        assert_eq!(found, *expected, "{tls} {site}");
    }
    assert_eq!(cookie(&mut compiler(), &annotated(&[], ", tls: {termination: passthrough}")), None);
}

/// [STICK-9]: two routers, and one after another, know the same cookies; where endpoints come and go,
/// the cookies of the others stay.
#[test]
fn stick_9_a_value_stays_with_its_endpoint() {
    let value_of = |snapshot: &Snapshot, label: &str| {
        let backend = &served(snapshot, "web").backend;
        let index = backend.servers.iter().position(|server| &*server.label == label).unwrap();
        let sticky = backend.sticky.as_ref().unwrap();
        let line = sticky.line(index).unwrap().to_str().unwrap();
        let value = line.split(['=', ';']).nth(1).unwrap().to_owned();
        assert_eq!(sticky.server(value.as_bytes()), Some(index));
        value
    };
    let text = |addresses: &[&str]| [annotated(&[], ""), service("web", addresses)].concat();
    let mut first = compiler();
    let before = compile(&mut first, &text(&["10.1.0.1", "10.1.0.2"]));
    let after = compile(&mut first, &text(&["10.1.0.0", "10.1.0.2", "10.1.0.3"]));
    let other = compile(&mut compiler(), &text(&["10.1.0.2"]));
    let values = [before, after, other].map(|snapshot| value_of(&snapshot, "10.1.0.2:8080"));
    assert_eq!(values[0], values[1]);
    assert_eq!(values[0], values[2]);
    assert!(!values[0].contains("10"), "R-47: {values:?} may say it by chance, but not here");
}

/// [W-5]: an endpoint of weight 0 keeps its cookie.
#[test]
fn w_5_weight_0_keeps_its_cookie() {
    let spec = format!(", to: {}, alternateBackends: [{}]", to("on", 1), to("off", 0));
    let text = [route("web", &spec), service("on", &["10.1.0.1"]), service("off", &["10.1.0.2"])];
    let snapshot = compile(&mut compiler(), &text.concat());
    assert_eq!(
        servers(&snapshot, "web")[0],
        ("10.1.0.2:8080".to_owned(), 0),
        "services are in alphabetical order [W-6]"
    );
    let sticky = served(&snapshot, "web").backend.sticky.as_ref().unwrap();
    assert!(sticky.line(0).is_some());
}
