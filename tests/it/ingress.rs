//! Ingress objects in the manifests: served as the Routes that OpenShift would make of them
//! (spec/route.md 21).

use serde_json::{Value, json};
use wharf::app::get::{self, Get, Resource, Selected, Streams};

use crate::harness::{
    client::Client,
    manifest::{With as _, route, secret, service},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, certificates, chain, hello},
};

/// An Ingress in namespace `app`.
fn ingress(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "app"},
        "spec": {"rules": rules},
    })
}

/// A rule that sends these paths to the Service `a`; an empty path is none.
fn rule(host: &str, paths: &[&str]) -> Value {
    let path = |path: &&str| {
        let backend = json!({"service": {"name": "a", "port": {"name": "http"}}});
        match *path {
            "" => json!({"pathType": "ImplementationSpecific", "backend": backend}),
            path => json!({"path": path, "pathType": "Prefix", "backend": backend}),
        }
    };
    json!({"host": host, "http": {"paths": paths.iter().map(path).collect::<Vec<_>>()}})
}

async fn secure(edge: &Edge, host: &'static str, path: &str) -> u16 {
    let wanted = Hello { alpn: &["http/1.1"], ..hello(host) };
    let stream = tls::connect(edge.https, wanted).await.expect("a handshake");
    Client::over(stream).get(host, path).await.status()
}

/// [ING-12]: the worked example, with the certificate of the Secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ing_12_the_worked_example() {
    let pod = Pod::saying("pod").await;
    let pair = tls::pair("three.example.com");
    let mut objects = service("a", &[pod.address]);
    objects.push(secret("pair", &pair));
    let rules = [
        rule("one.example.com", &["/test", "/other"]),
        rule("two.example.com", &[""]),
        rule("three.example.com", &["/"]),
    ];
    objects.push(
        ingress("app", &rules)
            .with("/spec/tls", json!([{"hosts": ["three.example.com"], "secretName": "pair"}])),
    );
    let edge = Edge::start(&objects).await;
    for (host, path, status) in [
        ("one.example.com", "/test", 200),
        ("one.example.com", "/other/deep", 200),
        ("one.example.com", "/otherwise", 503),
        ("one.example.com", "/", 503),
        ("two.example.com", "/", 200),
        ("two.example.com", "/any", 200),
        ("three.example.com", "/", 302),
    ] {
        assert_eq!(edge.get(host, path).await.status(), status, "{host}{path}");
    }
    assert_eq!(secure(&edge, "three.example.com", "/").await, 200);
    assert_eq!(secure(&edge, "one.example.com", "/test").await, 503);
    let stream = tls::connect(edge.https, hello("three.example.com")).await.unwrap();
    assert_eq!(chain(&stream), certificates(&pair.cert_pem));
    let snapshot = edge.router.live.load();
    assert!(snapshot.findings.is_empty(), "{:?}", snapshot.findings);
    let names: Vec<_> = snapshot.routes.iter().map(|state| &*state.source.key.name).collect();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.starts_with("app-") && name.len() == 9), "{names:?}");
}

/// [ING-4, ING-6]: a wildcard host, and a termination asked for by annotation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ing_4_6_wildcards_and_edge_by_annotation() {
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    objects.push(ingress("wild", &[rule("*.w.example.com", &["/"])]));
    objects.push(
        ingress("edge", &[rule("e.example.com", &["/"])])
            .annotated("route.openshift.io/termination", "edge"),
    );
    let edge = Edge::with(&objects, |settings| settings.allow_wildcard_routes = true).await;
    for (host, status) in [
        ("x.w.example.com", 200),
        ("wildcard.w.example.com", 200),
        ("x.y.w.example.com", 503),
        ("e.example.com", 302),
    ] {
        assert_eq!(edge.get(host, "/").await.status(), status, "{host}");
    }
    assert_eq!(secure(&edge, "e.example.com", "/").await, 200);
}

/// Decisions 4: an Ingress that is no longer valid keeps its last valid version, with a finding at its
/// place; without its document it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_ingress_keeps_its_last_version() {
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    objects.push(route("a", "other.example.com"));
    let edge = Edge::start(&objects).await;
    let good = ingress("app", &[rule("one.example.com", &["/"])]);
    edge.write("ingress.yaml", std::slice::from_ref(&good));
    edge.until("the Route", |snapshot| snapshot.routes.len() == 2).await;
    let name = edge.router.live.load().routes[1].source.key.clone();
    let bad = good.clone().with("/spec/rules/0/http/paths/0/pathType", "Regex");
    edge.write("ingress.yaml", &[bad]);
    edge.until("the finding", |snapshot| {
        let mut findings = snapshot.findings.iter();
        findings.any(|it| it.code.number == 1121 && it.place.line > 5 && it.place.column > 1)
    })
    .await;
    assert_eq!(edge.get("one.example.com", "/").await.status(), 200);
    // Another path, and the old one under its old name.
    edge.write("ingress.yaml", &[ingress("app", &[rule("one.example.com", &["/", "/b"])])]);
    edge.until("both Routes", |snapshot| snapshot.routes.len() == 3).await;
    let snapshot = edge.router.live.load_full();
    assert!(snapshot.routes.iter().any(|state| state.source.key == name));
    assert!(snapshot.findings.is_empty(), "{:?}", snapshot.findings);
    edge.remove("ingress.yaml");
    edge.until("the end", |snapshot| snapshot.routes.len() == 1).await;
    assert_eq!(edge.get("one.example.com", "/").await.status(), 503);
}

/// [ING-5, ING-8, ING-9]: Routes come and go with what the Ingress refers to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ing_8_routes_follow_services_and_secrets() {
    let pod = Pod::saying("pod").await;
    let rules = [rule("one.example.com", &["/"])];
    let tls = json!([{"hosts": ["one.example.com"], "secretName": "pair"}]);
    let edge = Edge::start(&[ingress("app", &rules).with("/spec/tls", tls)]).await;
    let incomplete = |edge: &Edge| {
        let snapshot = edge.router.live.load();
        let texts = snapshot.findings.iter().filter(|finding| finding.code.number == 1123);
        texts.map(|finding| format!("{}: {}", finding.field, finding.text)).collect::<Vec<_>>()
    };
    let missing =
        "spec.tls[0].secretName: the Secret app/pair for host one.example.com does not exist";
    assert_eq!(incomplete(&edge), [missing]);
    edge.write("secret.yaml", &[secret("pair", &tls::pair("one.example.com"))]);
    edge.until("the Secret", |snapshot| {
        snapshot.findings.iter().all(|finding| !finding.text.contains("Secret"))
    })
    .await;
    let service_text =
        "spec.rules[0].http.paths[0].backend.service.name: the Service app/a does not exist";
    assert_eq!(incomplete(&edge), [service_text]);
    edge.write("service.yaml", &service("a", &[pod.address]));
    edge.until("the Route", |snapshot| snapshot.routes.len() == 1).await;
    assert_eq!(secure(&edge, "one.example.com", "/").await, 200);
    assert_eq!(incomplete(&edge), [""; 0]);
    edge.remove("secret.yaml");
    edge.until("no Route", |snapshot| snapshot.routes.is_empty()).await;
    assert_eq!(secure(&edge, "one.example.com", "/").await, 503);
    assert_eq!(incomplete(&edge), [missing]);
}

/// The Routes take part in claims with the age of their Ingress [ING-3].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ing_3_the_age_of_the_ingress_counts_in_claims() {
    let pod = Pod::saying("pod").await;
    for (year, admitted) in [("2024", true), ("2026", false)] {
        let created = |year: &str| format!("{year}-01-01T00:00:00Z");
        let mut objects = service("a", &[pod.address]);
        objects.push(
            route("a", "one.example.com").with("/metadata/creationTimestamp", created("2025")),
        );
        let rules = [rule("one.example.com", &[""])];
        objects.push(ingress("app", &rules).with("/metadata/creationTimestamp", created(year)));
        let edge = Edge::start(&objects).await;
        assert_eq!(edge.route("a", |state| state.compiled.is_none()), admitted, "{year}");
        let snapshot = edge.router.live.load();
        assert_eq!(snapshot.routes.len(), 2);
        let refused: Vec<_> = snapshot.findings.iter().map(|it| it.code.number).collect();
        assert_eq!(refused, [1042], "{year}");
    }
}

/// [ING-10]: the Ingress shows the canonical name of the router once a Route of it is admitted, beside
/// what others have written; `wharf get` prints it as `kubectl` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ing_10_the_address_is_the_router_that_admits() {
    let mut objects = service("a", &[]);
    let others = json!([{"hostname": "other.example.com"}]);
    objects.extend([
        ingress(
            "served",
            &[rule("one.example.com", &["/", "/b"]), rule("two.example.com", &["/"])],
        )
        .with("/status/loadBalancer/ingress", others),
        ingress("waiting", &[rule("three.example.com", &["/"])])
            .with("/spec/rules/0/http/paths/0/backend/service/name", "none"),
        ingress("foreign", &[rule("four.example.com", &["/"])])
            .with("/spec/ingressClassName", "nginx")
            .with("/spec/tls", json!([{"hosts": ["four.example.com"]}])),
    ]);
    let edge = Edge::with(&objects, |settings| {
        settings.canonical_hostname = "router.example.com".to_owned();
    })
    .await;
    let mut client = Client::connect(edge.admin).await;
    let list = client.get("127.0.0.1", "/api/v1/ingresses").await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("IngressList"), &json!("Ingress"))
    );
    let hostnames = |index: usize| &list["items"][index]["status"]["loadBalancer"]["ingress"];
    assert_eq!(hostnames(0), &Value::Null);
    let both = json!([{"hostname": "other.example.com"}, {"hostname": "router.example.com"}]);
    assert_eq!(hostnames(1), &both);
    assert_eq!(hostnames(2), &Value::Null);
    let server = edge.admin.to_string();
    let printed = tokio::task::spawn_blocking(move || {
        let selected = Selected {
            kind: "ing".parse::<Resource>().unwrap().kind,
            names: Vec::new(),
            namespace: Some("app".to_owned()),
            labels: None,
        };
        let get = Get { selected, output: "wide".parse().unwrap(), headers: true };
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        let mut streams = Streams { out: &mut out, talk: &mut talk };
        get::live(&get, Some(&server), &mut streams).unwrap();
        String::from_utf8(out).unwrap()
    });
    let lines = printed.await.unwrap();
    let lines: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"]);
    let hosts = "one.example.com,two.example.com";
    let address = "other.example.com,router.example.com";
    assert_eq!(lines[2], ["served", "<none>", hosts, address, "80", "<unknown>"]);
    assert_eq!(lines[1], ["foreign", "nginx", "four.example.com", "80, 443", "<unknown>"]);
}
