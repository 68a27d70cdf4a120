//! Route status of a running router: what the API says is what serves, the command line prints the same
//! from a router and from manifests, and times follow the rules of section 7.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use wharf::{
    admin::routes,
    app::{get, offline},
    settings::RouterSettings,
};

use crate::harness::{
    eventually,
    manifest::{self, With as _, app, edge, route},
    pod::Pod,
    router::Edge,
    tls, within,
};

/// Long before any test runs.
const LONG_AGO: &str = "2020-02-02T02:02:02Z";

/// A page of the admin port.
async fn page(edge: &Edge, path: &'static str) -> Value {
    let server = edge.admin.to_string();
    let asked = tokio::task::spawn_blocking(move || get::fetch(&server, path));
    within("the admin port", asked).await.expect("no panic").expect("an answer")
}

/// Our entry in the status of the route called `name`.
async fn entry(edge: &Edge, name: &str) -> Value {
    let list = page(edge, "/api/v1/routes").await;
    let items = list["items"].as_array().expect("a list");
    let found = items.iter().find(|item| item["metadata"]["name"] == name);
    let found = found.expect("the route is listed");
    let entries = found["status"]["ingress"].as_array().expect("a status");
    let own = entries.iter().find(|entry| entry["routerName"] == "default");
    own.expect("our entry").clone()
}

/// Runs the binary to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    within("the command", output).await.expect("no panic").expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every time, wherever it stands, is the same one.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                *member = match name.as_str() {
                    "lastTransitionTime" => json!(LONG_AGO),
                    _ => without_times(member.take()),
                };
            }
        },
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = without_times(item.take()));
        },
        _ => {},
    }
    value
}

/// A folder of everything that status has a word for.
fn samples(pod: std::net::SocketAddr) -> Vec<Value> {
    let pair = tls::pair("edge.example.com");
    let mut all = app(route("plain", "plain.example.com"), &[pod]);
    all.extend(app(edge("edge", "edge.example.com", Some(&pair)), &[pod]));
    all.push(route("late", "plain.example.com"));
    all.push(route("wild", "w.example.com").with("/spec/wildcardPolicy", "Subdomain"));
    all.push(
        route("split", "split.example.com")
            .with("/spec/to/weight", 90)
            .with("/spec/alternateBackends", json!([{"name": "plain", "weight": 10}]))
            .with("/metadata/labels", json!({"tier": "web"}))
            .with(
                "/status",
                json!({"ingress": [{
                    "host": "split.example.com",
                    "routerName": "other",
                    "conditions": [{"type": "Admitted", "status": "False", "reason": "NoHostValue"}],
                }]}),
            ),
    );
    all
}

/// [STAT-1, PIPE-3]: one code makes both; S-92: neither has the key.
#[tokio::test(flavor = "multi_thread")]
async fn running_routers_and_manifests_give_the_same_routes() {
    let pod = Pod::saying("hi").await;
    let edge = Edge::start(&samples(pod.address)).await;
    let folder = edge.file("main.yaml");
    let snapshot = offline::snapshot(&[folder], &RouterSettings::default()).expect("it compiles");
    for (path, offline) in [
        ("/api/v1/routes", routes::list(&snapshot)),
        (
            "/api/v1/details?name=edge&namespace=app",
            json!(routes::details(&snapshot, Some("app"), Some("edge"))),
        ),
    ] {
        let live = page(&edge, path).await;
        assert!(!live.to_string().contains("PRIVATE KEY"), "{path}");
        let mut live = without_times(live);
        // Paths are the same file, once by its folder and once by itself.
        let mut offline = without_times(offline);
        for value in [&mut live, &mut offline] {
            if let Some(list) = value.get_mut("metadata") {
                list.take();
            }
        }
        assert_eq!(live, offline, "{path}");
    }
    assert_eq!(page(&edge, "/api/v1/details?name=no").await, json!([]));
}

/// The commands of the README's kind, asked of a router and of manifests.
#[tokio::test(flavor = "multi_thread")]
async fn get_and_describe_print_the_same_from_both() {
    let pod = Pod::saying("hi").await;
    let edge = Edge::start(&samples(pod.address)).await;
    let (server, file) = (edge.admin.to_string(), edge.file("main.yaml"));
    let file = file.to_str().expect("UTF-8");
    let both = async |arguments: &[&str]| {
        let live = run(&[arguments, &["--server", &server]].concat()).await;
        let offline = run(&[arguments, &["--manifests", file]].concat()).await;
        assert_eq!(live.status.code(), offline.status.code(), "{arguments:?}");
        assert_eq!(text(&live.stdout), text(&offline.stdout), "{arguments:?}");
        (live.status.code(), text(&live.stdout), text(&offline.stderr))
    };
    let table = "\
edge    edge.example.com                   edge            <all>   edge   None
late    HostAlreadyClaimed                 late            <all>          None
plain   plain.example.com                  plain           <all>          None
split   split.example.com ... 1 rejected   split(90%),plain(10%)   <all>          None
wild    RouteNotAdmitted                   wild            <all>          Subdomain
";
    let squeezed = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let (code, out, _) = both(&["get", "routes", "-n", "app", "--no-headers"]).await;
    let (got, wanted): (Vec<String>, Vec<String>) = (squeezed(&out), squeezed(table));
    assert_eq!((code, got), (Some(0), wanted));
    let (_, out, _) = both(&["get", "route", "-A", "-l", "tier in (web)", "-o", "name"]).await;
    assert_eq!(out, "route.route.openshift.io/split\n");
    let host = "jsonpath={.status.ingress[*].routerName}";
    let (_, out, _) = both(&["get", "route/split", "-o", host]).await;
    assert_eq!(out, "other default");
    let (code, out, said) = both(&["get", "routes", "plain", "no", "-o", "name"]).await;
    assert_eq!((code, &*out), (Some(1), "route.route.openshift.io/plain\n"));
    assert!(said.contains("routes.route.openshift.io \"no\" not found"), "{said}");
    let (code, out, said) = both(&["get", "routes", "-n", "none"]).await;
    assert_eq!((code, &*out), (Some(0), ""));
    assert!(said.ends_with("No resources found in none namespace.\n"), "{said}");
    // Its section on time depends on when it is run: both are put to the same line.
    let described = run(&["describe", "route", "late", "--server", &server]).await;
    let described = text(&described.stdout);
    assert!(described.starts_with("Name:\t\t\tlate\nNamespace:\t\tapp\n"), "{described}");
    let refusal = "\n\t\t\trejected by router default: HostAlreadyClaimed (";
    assert!(described.contains(refusal), "{described}");
    assert!(described.contains("\n\t\t\t  route plain already exposes "), "{described}");
    assert!(described.contains("\nwharf:\n  Source:    "), "{described}");
    let (_, out, _) = both(&["describe", "service", "plain"]).await;
    let address = format!("\nEndpoints:  {}\n", pod.address);
    assert!(out.starts_with("Name:       plain\n") && out.contains(&address), "{out}");
    let (_, out, _) = both(&["describe", "endpoints", "plain"]).await;
    assert!(out.contains(&format!("\n  Addresses:          {}\n", pod.address.ip())), "{out}");
}

/// [STAT-2]: an entry that says the same already is not written, by a restart or by another change; a
/// change of the host is a write.
#[tokio::test(flavor = "multi_thread")]
async fn time_of_an_entry_is_that_of_its_last_write() {
    let written = json!({"ingress": [{
        "host": "a.example.com", "routerName": "default", "wildcardPolicy": "None",
        "conditions": [
            {"type": "Admitted", "status": "True", "lastTransitionTime": LONG_AGO},
        ],
    }]});
    let old = |host: &str| vec![route("a", host).with("/status", written.clone())];
    let edge = Edge::start(&old("a.example.com")).await;
    let first = entry(&edge, "a").await;
    assert_eq!(first["conditions"][0]["lastTransitionTime"], LONG_AGO);
    edge.write("other.yaml", &[route("b", "b.example.com")]);
    edge.until("the other route", |snapshot| snapshot.routes.len() == 2).await;
    assert_eq!(entry(&edge, "a").await, first);
    edge.write("main.yaml", &old("moved.example.com"));
    let moved = |host: &str| host == "moved.example.com";
    edge.until("the host", |snapshot| moved(&snapshot.routes[0].host)).await;
    let second = entry(&edge, "a").await;
    assert_eq!(second["host"], "moved.example.com");
    let time = &second["conditions"][0]["lastTransitionTime"];
    assert_ne!(time, LONG_AGO);
    assert_eq!(time.as_str().map(str::len), Some(LONG_AGO.len()), "whole seconds: {time}");
    assert_eq!(entry(&edge, "b").await["conditions"][0]["status"], "True");
}

/// [PIPE-1], row 1 of the quirk register: who reads Admitted=True is served at once.
#[tokio::test(flavor = "multi_thread")]
async fn admitted_is_said_of_what_serves() {
    let pod = Pod::saying("hi").await;
    let edge = Edge::start(&manifest::service("new", &[pod.address])).await;
    for round in 0..10 {
        let host = format!("n{round}.example.com");
        edge.write("new.yaml", &[route("new", &host)]);
        eventually("the status", async || {
            let list = page(&edge, "/api/v1/routes").await;
            let entry = &list["items"][0]["status"]["ingress"][0];
            let admitted = entry["conditions"][0]["status"] == "True";
            (admitted && entry["host"] == *host).then_some(())
        })
        .await;
        assert_eq!(edge.get(&host, "/").await.status(), 200, "{host}");
    }
}

/// [STAT-1, STAT-9]
#[tokio::test(flavor = "multi_thread")]
async fn settings_decide_what_an_entry_holds() {
    let routes = [route("a", "a.example.com")];
    let named = Edge::with(&routes, |settings| {
        settings.canonical_hostname = "router.example.com".to_owned();
    })
    .await;
    assert_eq!(entry(&named, "a").await["routerCanonicalHostname"], "router.example.com");
    let silent = Edge::with(&routes, |settings| settings.update_status = false).await;
    let list = page(&silent, "/api/v1/routes").await;
    assert_eq!(list["items"][0]["status"], json!({}));
    assert_eq!(list["items"][0]["wharf"]["backend"], "be_http:app:a", "it serves all the same");
}
