//! Which routes a running router serves: shards that follow labels, hosts that the router gives, and
//! documents that the API server would refuse.

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    manifest::{With as _, app, route, service},
    pod::Pod,
    router::Edge,
};

const HOST: &str = "a.example.com";

fn namespace(name: &str, shard: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"shard": shard}}})
}

/// Objects of `app` put into another namespace.
fn moved(objects: Vec<Value>, namespace: &str) -> Vec<Value> {
    objects.into_iter().map(|object| object.with("/metadata/namespace", namespace)).collect()
}

/// [SHARD-2, CLAIM-18]: a namespace that changes its label leaves at once, its claims go to who is next,
/// and it comes back the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_2_a_namespace_joins_and_leaves_while_the_router_runs() {
    let (one, two) = (Pod::saying("one").await, Pod::saying("two").await);
    let mut objects = moved(app(route("first", HOST), &[one.address]), "one");
    objects.extend(moved(app(route("later", HOST), &[two.address]), "two"));
    let edge = Edge::with(&objects, |settings| {
        settings.admission.namespace_labels = Some("shard in (a, b)".parse().unwrap());
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503, "no namespace has the label");
    for (shards, want) in [(["a", "b"], "one"), (["c", "b"], "two"), (["b", "b"], "one")] {
        let [first, second] = shards;
        edge.write("namespaces.yaml", &[namespace("one", first), namespace("two", second)]);
        eventually("the shard", async || (edge.get(HOST, "/").await.text() == want).then_some(()))
            .await;
    }
    edge.remove("namespaces.yaml");
    eventually("the end of the shard", async || {
        (edge.get(HOST, "/").await.status() == 503).then_some(())
    })
    .await;
    edge.until("the findings", |snapshot| {
        snapshot.findings.iter().filter(|found| found.code.to_string() == "WH2070").count() == 2
    })
    .await;
}

/// [HOST-1, HOST-2, PIPE-3]: requests go by the host that the router gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_2_requests_go_by_the_host_that_the_router_gives() {
    let pod = Pod::saying("pod").await;
    let mut objects = app(route("shop", "shop.old.test"), &[pod.address]);
    let sub = route("sub", "").with("/spec/to/name", "shop").with("/spec/subdomain", "www");
    objects.push(sub);
    let edge = Edge::with(&objects, |settings| {
        "d.test".clone_into(&mut settings.domain);
        "${name}-${namespace}.apps.test".clone_into(&mut settings.admission.hostname_template);
        settings.admission.override_domains = vec!["old.test".to_owned()];
    })
    .await;
    for (host, status) in
        [("shop-app.apps.test", 200), ("shop.old.test", 503), ("www.d.test", 200), ("www", 503)]
    {
        assert_eq!(edge.get(host, "/").await.status(), status, "{host}");
    }
}

/// [HDR-4, API-2] with decisions 4: what the API server would refuse does not replace what serves, and is
/// found at its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_2_a_refused_document_leaves_the_last_good_one() {
    let pod = Pod::saying("pod").await;
    let good = app(route("r", HOST), &[pod.address]);
    let edge = Edge::start(&good).await;
    assert_eq!(edge.get(HOST, "/").await.status(), 200);
    let text = |line: &str| {
        format!(
            "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {{name: r, namespace: app}}\n\
             spec:\n  host: moved.example.com\n  to: {{name: r}}\n{line}\n"
        )
    };
    let rest = crate::harness::manifest::text(&service("r", &[pod.address]));
    for (line, place) in [
        (
            "  httpHeaders:\n    actions:\n      request:\n      - name: X-Id\n        action:\n          \
             type: Set\n          set:\n            value: \"%[res.hdr(a)]\"",
            "main.yaml:14:13: error[WH1031]",
        ),
        ("  path: /a\n  tls: {termination: passthrough}", "main.yaml:7:3: error[WH1029]"),
        ("  alternateBackends:\n  - name: b\n  - name: b", "main.yaml:9:5: error[WH1070]"),
    ] {
        edge.write_text("main.yaml", &format!("{}---\n{rest}", text(line)));
        edge.until(place, |snapshot| {
            snapshot.findings.iter().any(|found| found.to_string().contains(place))
        })
        .await;
        assert_eq!(edge.get(HOST, "/").await.status(), 200, "{place}");
        assert_eq!(edge.get("moved.example.com", "/").await.status(), 503, "{place}");
    }
    edge.write_text("main.yaml", &format!("{}---\n{rest}", text("")));
    edge.until("the mended document", |snapshot| snapshot.findings.is_empty()).await;
    assert_eq!(edge.get("moved.example.com", "/").await.status(), 200);
}
