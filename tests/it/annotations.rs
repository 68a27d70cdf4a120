//! What is said of annotations: by `wharf check`, at the admin port, in the status and in a metric
//! (spec/route.md 14, ANN-0).

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wharf::app::get;

use crate::harness::{
    manifest::{self, With as _, app, route},
    pod::Pod,
    router::Edge,
    within,
};

const H: &str = "haproxy.router.openshift.io/";

/// A page of the admin port as text.
async fn page(edge: &Edge, path: &'static str) -> Value {
    let server = edge.admin.to_string();
    let asked = tokio::task::spawn_blocking(move || get::fetch(&server, path));
    within("the admin port", asked).await.expect("no panic").expect("an answer")
}

/// The conditions of the only route.
async fn conditions(edge: &Edge) -> Vec<Value> {
    let list = page(edge, "/api/v1/routes").await;
    list["items"][0]["status"]["ingress"][0]["conditions"].as_array().expect("conditions").clone()
}

/// The series of a family, by what stands behind its name.
async fn series(edge: &Edge, family: &str) -> Vec<String> {
    let mut client = crate::harness::client::Client::connect(edge.admin).await;
    let text = client.get("admin", "/metrics").await.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(family));
    lines.filter(|rest| rest.starts_with('{')).map(str::to_owned).collect()
}

/// A route with one annotation of each kind of fault.
fn faulty() -> Value {
    route("a", "a.example.com")
        .annotated(&format!("{H}timeout"), "1.5s")
        .annotated(&format!("{H}timeut"), "5s")
        .annotated(&format!("{H}hsts_header"), "max-age=1")
        .annotated(&format!("{H}ip_allowlist"), "127.0.0.1 nobody")
        .annotated(&format!("{H}rewrite-target"), "/x y")
        .annotated("example.com/timeut", "5s")
}

/// [ANN-0]: a route with faulty annotations is admitted as ever; a condition of wharf's own, behind
/// OpenShift's, says what is wrong, and goes when it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ann_0_the_status_says_what_is_wrong_and_stays_admitted() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::start(&app(faulty(), &[pod.address])).await;
    assert_eq!(edge.get("a.example.com", "/").await.status(), 200);
    let all = conditions(&edge).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let admitted = &all[0];
    assert_eq!((&admitted["type"], &admitted["status"]), (&json!("Admitted"), &json!("True")));
    assert_eq!((admitted.get("reason"), admitted.get("message")), (None, None), "as in OpenShift");
    let own = &all[1];
    assert_eq!(own["type"], "AnnotationsInEffect");
    assert_eq!((&own["status"], &own["reason"]), (&json!("False"), &json!("AnnotationsIgnored")));
    let message = own["message"].as_str().unwrap();
    for part in [
        "WH2004: timeout must be a duration such as 30s, not \"1.5s\"; the router's server timeout",
        "did you mean haproxy.router.openshift.io/timeout?",
        "WH2007: hsts_header has no effect on a route with no TLS",
        "WH2005: \"nobody\" is not an address or network",
        "WH2110: pods see \"/x%20y\" in place of \"/x y\"",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(!message.contains("example.com/timeut"), "{message}");
    let family = "wharf_route_annotations_ignored";
    let count = edge.router.live.load().findings.len();
    assert_eq!(series(&edge, family).await, [format!("{{namespace=\"app\",route=\"a\"}} {count}")]);
    let mut mended = app(route("a", "a.example.com"), &[pod.address]);
    edge.write("main.yaml", &mended);
    edge.until("no findings", |snapshot| snapshot.findings.is_empty()).await;
    assert_eq!(conditions(&edge).await.len(), 1);
    assert_eq!(series(&edge, family).await, Vec::<String>::new());
    // What the allow list is worth is known to compile only.
    let list = format!("{H}ip_allowlist");
    mended.pop();
    mended.push(route("a", "a.example.com").annotated(&list, "nobody"));
    edge.write("main.yaml", &mended);
    edge.until("findings", |snapshot| !snapshot.findings.is_empty()).await;
    let all = conditions(&edge).await;
    assert_eq!(all[0]["status"], "True");
    assert!(all[1]["message"].as_str().unwrap().contains("WH1050"), "{all:?}");
    // So is what a limit does to everybody.
    let switch = format!("{H}rate-limit-connections");
    mended.pop();
    let limited = route("a", "a.example.com").annotated(&switch, "true");
    mended.push(limited.annotated(&format!("{switch}.rate-tcp"), "1"));
    edge.write("main.yaml", &mended);
    edge.until("the limit", |snapshot| !snapshot.rated.is_empty()).await;
    let all = conditions(&edge).await;
    assert!(all[1]["message"].as_str().unwrap().contains("WH2141"), "{all:?}");
}

/// [ANN-0]: `wharf check` says the same with places, and judges allow lists by the router's variables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ann_0_check_says_it_with_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, manifest::text(&app(faulty(), &[]))).unwrap();
    let only = folder.path().join("only.yaml");
    let blank = route("b", "b.example.com").annotated(&format!("{H}ip_allowlist"), "::1,::2");
    std::fs::write(&only, manifest::text(&app(blank, &[]))).unwrap();
    let check = async |path: &std::path::Path, open: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.arg("check").arg(path).env_clear().stdin(Stdio::null());
        command.env("WHARF_COMPAT_ALLOWLIST_FAIL_OPEN", open);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = within("check", run).await.expect("no panic").expect("the binary runs");
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    };
    let (said, good) = check(&file, "false").await;
    assert!(good, "warnings are no errors: {said}");
    for part in [
        "warning[WH2003]: the annotation haproxy.router.openshift.io/timeut is unknown",
        "help: did you mean haproxy.router.openshift.io/timeout?",
        "warning[WH2004]: timeout must be",
        "warning[WH2005]: \"nobody\"",
        "warning[WH2007]: hsts_header",
        "warning[WH2110]: pods see",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let line = said.lines().find(|line| line.contains("WH2004")).unwrap();
    assert!(line.starts_with(&format!("{}:", file.display())), "{line}");
    let (said, good) = check(&only, "false").await;
    assert!(good && !said.contains("WH1110"), "commas separate: {said}");
    let (said, good) = check(&only, "true").await;
    assert!(!good && said.contains("error[WH1110]: the list has no valid entry"), "{said}");
}
