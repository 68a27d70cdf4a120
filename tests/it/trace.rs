//! `wharf trace` against a load balancer with two routers behind it, as `wharf up` has them.

#![expect(clippy::expect_used, clippy::panic, reason = "a step that fails fails the test")]

use std::{net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wharf::{
    app::nlb::serve_api,
    health::State,
    nlb::{NlbHandle, config::parse},
    tls::mint::Authority,
};

use crate::harness::{
    client::Client,
    manifest::{With as _, app, edge as edge_route, reencrypt, route, with_all},
    pod::{Pod, Refusing, ok},
    router::Edge,
    tls,
    tlspod::TlsPod,
    within,
};

/// Two routers with a pod each, and a load balancer in front of them.
struct Bed {
    routers: [Edge; 2],
    balancer: NlbHandle,
    api: SocketAddr,
    folder: tempfile::TempDir,
    pod: Pod,
    _walled: TlsPod,
    _serving: tokio::task::JoinHandle<()>,
}

impl Bed {
    async fn start() -> Self {
        let authority = tls::authority("trace");
        let pod = Pod::start(|_| ok("hi")).await;
        let alpn: &[&str] = &["http/1.1"];
        let shown = tls::server(&tls::leaf(&authority, "pass.example.com"), alpn);
        let walled = TlsPod::telling(shown).await;
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("certs")).expect("a folder");
        let ca = folder.path().join("certs/ca.pem");
        std::fs::write(ca, &authority.pair().cert_pem).expect("it is writable");
        let objects = objects(&authority, pod.address, walled.address);
        let start = async || {
            Edge::with(&objects, |settings| {
                settings.proxy_protocol = true;
                settings.dns = Some(([127, 0, 0, 1], 0).into());
            })
            .await
        };
        let routers = [start().await, start().await];
        let targets = |port: fn(&Edge) -> SocketAddr| {
            let one = |router: &Edge, zone| target(port(router), router.admin.port(), zone);
            [one(&routers[0], 'a'), one(&routers[1], 'b')]
        };
        let config = config(&targets(|router| router.http), &targets(|router| router.https));
        let balancer = balancer(&config).await;
        let (api, _serving) = api(&balancer).await;
        healthy(&balancer).await;
        Self { routers, balancer, api, folder, pod, _walled: walled, _serving }
    }

    fn listener(&self, name: &str) -> SocketAddr {
        let all = self.balancer.local_addrs();
        all.iter().find(|(known, _)| **known == *name).expect("a listener").1
    }

    /// Exit code and output of `wharf trace` with these arguments and the bed's ports.
    async fn trace(&self, arguments: &[&str]) -> (i32, String) {
        let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        for router in &self.routers {
            all.extend(["--admin".to_owned(), router.admin.to_string()]);
        }
        all.extend(["--nlb-server".to_owned(), self.api.to_string()]);
        if !arguments.contains(&"--via") && arguments[0].contains("://") {
            let name = if arguments[0].starts_with("https") { "https" } else { "http" };
            all.extend(["--via".to_owned(), self.listener(name).to_string()]);
        }
        wharf(self.folder.path(), all).await
    }

    /// The same as JSON.
    async fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.trace(&[arguments, &["-o", "json"]].concat()).await;
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    async fn finish(self) {
        self.balancer.drain(Duration::ZERO).await;
        for router in self.routers {
            router.finish().await;
        }
    }
}

async fn wharf(folder: &std::path::Path, arguments: Vec<String>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.env_clear().current_dir(folder).arg("trace").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = within("wharf trace", output).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().expect("no signal"), said)
}

fn objects(authority: &Authority, pod: SocketAddr, walled: SocketAddr) -> Vec<Value> {
    let dead = Refusing::bound().address;
    with_all([
        app(route("web", "web.example.com"), &[pod]),
        app(
            edge_route("shop", "shop.example.com", Some(&tls::leaf(authority, "shop.example.com")))
                .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect"),
            &[pod],
        ),
        app(
            route("pass", "pass.example.com").with("/spec/tls/termination", "passthrough"),
            &[walled],
        ),
        app(
            reencrypt("vault", "vault.example.com", Some(&authority.pair().cert_pem))
                .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow")
                .annotated("haproxy.router.openshift.io/rewrite-target", "/in"),
            &[walled],
        ),
        app(
            route("wall", "wall.example.com")
                .annotated("haproxy.router.openshift.io/ip_allowlist", "10.9.9.9"),
            &[pod],
        ),
        app(route("dead", "dead.example.com"), &[dead]),
    ])
}

fn target(traffic: SocketAddr, checked: u16, zone: char) -> String {
    format!(
        "{{ id: 127.0.0.1, port: {}, healthCheckPort: {checked}, availabilityZone: {zone} }}",
        traffic.port()
    )
}

fn config(http: &[String], https: &[String]) -> String {
    let group = |name: &str, targets: &[String]| {
        format!(
            "  - name: {name}\n    port: 1\n    healthCheck: {{ protocol: HTTP, path: \
             /healthz/ready, intervalSeconds: 5, healthyThresholdCount: 2, \
             unhealthyThresholdCount: 2 }}\n    attributes: {{ proxy_protocol_v2.enabled: \
             \"true\" }}\n    targets: [{}]\n",
            targets.join(", ")
        )
    };
    format!(
        "name: bed\nlisteners:\n  - {{ name: http, address: \"127.0.0.1:0\", targetGroup: http \
         }}\n  - {{ name: https, address: \"127.0.0.1:0\", targetGroup: https \
         }}\ntargetGroups:\n{}{}",
        group("http", http),
        group("https", https)
    )
}

async fn balancer(config: &str) -> NlbHandle {
    let config = parse(config).unwrap_or_else(|error| panic!("{error}\n{config}"));
    NlbHandle::start(config, CancellationToken::new()).await.expect("free ports")
}

async fn api(balancer: &NlbHandle) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (address, tokio::spawn(serve_api(listener, balancer.clone(), None)))
}

async fn healthy(balancer: &NlbHandle) {
    let mut changes = balancer.changes();
    within("healthy targets", async {
        while !balancer.targets().iter().all(|target| target.state == State::Healthy) {
            changes.changed().await.expect("it runs");
        }
    })
    .await;
}

/// The hops with their states.
fn hops(report: &Value) -> Vec<String> {
    let hops = report["hops"].as_array().expect("a list");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    hops.iter().map(|hop| format!("{} {}", word(&hop["hop"]), word(&hop["state"]))).collect()
}

fn hop<'a>(report: &'a Value, name: &str) -> &'a Value {
    let hops = report["hops"].as_array().expect("a list");
    hops.iter().find(|hop| hop["hop"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

/// Good paths: plain, edge, redirect, passthrough; each hop is named, and the whole path answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_path_is_shown_hop_by_hop() {
    let bed = Bed::start().await;
    let (code, plain) = bed.json(&["http://web.example.com/x?secret=1"]).await;
    assert_eq!(code, 0, "{plain:#}");
    let expected =
        ["dns unknown", "nlb ok", "router ok", "route ok", "service ok", "pod ok", "answer ok"];
    assert_eq!(hops(&plain), expected);
    assert_eq!(bed.pod.attempts(), 1, "one real request");
    assert_eq!(hop(&plain, "pod")["what"], format!("web-pod-0 at {}", bed.pod.address));
    assert_eq!(hop(&plain, "answer")["what"], "status 200");
    // The target that the load balancer is said to have chosen is the router that noted the request.
    let router = hop(&plain, "router")["what"].as_str().unwrap().to_owned();
    let zone = if router.contains(&bed.routers[0].admin.to_string()) { "zone a" } else { "zone b" };
    let target = hop(&plain, "nlb")["facts"]["target"].as_str().unwrap().to_owned();
    assert!(router.contains(zone) && target.contains(zone), "{router} {target}");
    for (name, fact) in
        [("nlb", "connect"), ("pod", "connect"), ("pod", "response"), ("answer", "outside")]
    {
        assert!(hop(&plain, name)["facts"][fact].is_string(), "{name} {fact}: {plain:#}");
    }

    let (code, edge) = bed.json(&["https://shop.example.com/"]).await;
    assert_eq!((code, &edge["ok"]), (0, &Value::Bool(true)), "{edge:#}");
    assert_eq!(hops(&edge)[2], "tls ok");
    assert!(hop(&edge, "tls")["us"].is_u64());
    assert_eq!(hop(&edge, "route")["facts"]["termination"], "edge");
    assert_eq!(hop(&edge, "router")["facts"]["frontend"], "fe_sni");

    let (code, redirect) = bed.json(&["http://shop.example.com/"]).await;
    assert_eq!((code, &hop(&redirect, "answer")["what"]), (0, &"status 302".into()));
    assert_eq!(
        hops(&redirect),
        ["dns unknown", "nlb ok", "router ok", "route ok", "answer ok"],
        "no pod has it"
    );

    let (code, pass) = bed.json(&["https://pass.example.com/"]).await;
    assert_eq!(code, 0, "{pass:#}");
    assert!(hop(&pass, "tls")["what"].as_str().unwrap().contains("at the pod"));
    assert_eq!(hop(&pass, "router")["facts"]["frontend"], "public_ssl");
    assert_eq!(hop(&pass, "pod")["state"], "ok");

    let (code, vault) = bed.json(&["http://vault.example.com/"]).await;
    assert_eq!(code, 0, "{vault:#}");
    assert_eq!(hop(&vault, "route")["facts"]["termination"], "reencrypt");
    assert_eq!(hop(&vault, "route")["facts"]["rewrite"], "the path becomes /in");
    bed.finish().await;
}

/// Where it breaks is said, with why and what to do, and the exit code is 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_path_says_where_why_and_what_to_do() {
    let bed = Bed::start().await;
    for url in ["http://wob.example.com/", "https://wob.example.com/"] {
        let (code, unknown) = bed.json(&[url]).await;
        assert_eq!((code, &unknown["broken"]["hop"]), (1, &"route".into()), "{unknown:#}");
        assert_eq!(hop(&unknown, "route")["facts"]["near"][0], "web.example.com");
        let routers = hop(&unknown, "route")["facts"]["routers"].as_array().unwrap();
        assert_eq!(routers.len(), 2, "both know none");
        assert!(unknown["broken"]["fix"].as_str().unwrap().contains("web.example.com"));
    }

    let (code, dead) = bed.json(&["http://dead.example.com/"]).await;
    assert_eq!((code, &dead["broken"]["hop"]), (1, &"pod".into()), "{dead:#}");
    assert!(dead["broken"]["why"].as_str().unwrap().starts_with("connect_failed"));
    assert_eq!(hop(&dead, "service")["what"], "app/dead");

    let (code, denied) = bed.json(&["http://wall.example.com/"]).await;
    assert_eq!((code, &denied["broken"]["hop"]), (1, &"route".into()), "{denied:#}");
    assert!(denied["broken"]["why"].as_str().unwrap().starts_with("denied_allowlist"));

    let (code, strange) = bed.trace(&["https://shop.example.com/", "--cacert", "/dev/null"]).await;
    assert_eq!((code, &*strange), (2, ""));
    bed.finish().await;
}

/// A certificate of somebody else is where a client stops, unless it is told not to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_breaks_at_tls() {
    let bed = Bed::start().await;
    let other = bed.folder.path().join("other.pem");
    std::fs::write(&other, &tls::authority("other").pair().cert_pem).unwrap();
    let other = other.to_str().unwrap();
    let (code, refused) = bed.json(&["https://shop.example.com/", "--cacert", other]).await;
    assert_eq!((code, &refused["broken"]["hop"]), (1, &"tls".into()), "{refused:#}");
    assert!(refused["broken"]["fix"].as_str().unwrap().contains("--insecure"));
    let (code, taken) = bed.json(&["https://shop.example.com/", "--insecure"]).await;
    assert_eq!(code, 0, "{taken:#}");
    let certificate = hop(&taken, "tls")["facts"]["certificate"].as_str().unwrap();
    assert!(certificate.ends_with("not verified"), "{certificate}");
    bed.finish().await;
}

/// Targets that are all down: the load balancer fails open, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_are_all_down_break_at_the_load_balancer() {
    let gone = Refusing::bound();
    let down = [target(gone.address, gone.address.port(), 'a')];
    let balancer = balancer(&config(&down, &down)).await;
    let (api, _serving) = api(&balancer).await;
    let mut changes = balancer.changes();
    within("an unhealthy target", async {
        while balancer.targets().iter().any(|target| target.state != State::Unhealthy) {
            changes.changed().await.unwrap();
        }
    })
    .await;
    let via = balancer.local_addrs()[0].1.to_string();
    let folder = tempfile::TempDir::new().unwrap();
    let nobody = gone.address.to_string();
    for mode in ["--insecure", "--explain"] {
        let arguments = ["http://web.example.com/", "--via", &via, "--admin", &nobody, mode];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        arguments.extend(["--nlb-server".to_owned(), api.to_string(), "-ojson".to_owned()]);
        let (code, text) = wharf(folder.path(), arguments).await;
        let report: Value = serde_json::from_str(&text).unwrap();
        let why = hop(&report, "nlb")["facts"]["why"].as_str().unwrap();
        assert!(why.contains("fail-open"), "{why}");
        if mode == "--explain" {
            // The load balancer would try, and only a real request shows what comes of it.
            assert_eq!(hops(&report)[1], "nlb ok");
            continue;
        }
        assert_eq!((code, &report["broken"]["hop"]), (1, &"nlb".into()), "{report:#}");
        let why = report["broken"]["why"].as_str().unwrap();
        assert!(why.contains("no target is healthy"), "{why}");
    }
    balancer.drain(Duration::ZERO).await;
}

/// `--explain` sends nothing; the text shows what the JSON holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_sends_nothing_and_text_says_what_json_says() {
    let bed = Bed::start().await;
    let arguments = ["http://web.example.com/", "--explain"];
    let (code, report) = bed.json(&arguments).await;
    assert_eq!((code, &report["mode"]), (0, &"explain".into()));
    let (code, text) = bed.trace(&arguments).await;
    assert_eq!((code, bed.pod.attempts()), (0, 0), "{text}");
    let mut words = Vec::new();
    strings(&report["hops"], &mut words);
    assert!(words.len() > 20, "{words:?}");
    for word in words.iter().filter(|word| *word != "unknown") {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
    let (code, _) = bed.trace(&["http://dead.example.com/", "--explain"]).await;
    assert_eq!(code, 0, "nobody has found out that its only pod is dead");
    let (code, _) = bed.trace(&["http://none.example.com/", "--explain"]).await;
    assert_eq!(code, 1);
    let (code, text) = bed.trace(&["ftp://web.example.com/", "--via", "127.0.0.1:1"]).await;
    assert_eq!((code, &*text), (2, ""));
    bed.finish().await;
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| strings(one, found)),
        Value::Object(all) => all.iter().for_each(|(key, one)| {
            if !["hop", "state", "us", "what", "facts"].contains(&key.as_str()) {
                found.push(key.clone());
            }
            strings(one, found);
        }),
        _ => {},
    }
}

/// The name of a headless Service leads to its pods, one that nobody has to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_service_leads_to_its_pods() {
    let bed = Bed::start().await;
    let dns = bed.routers[0].router.dns.expect("its DNS").to_string();
    let ask = async |name: &'static str| bed.json(&[name, "--dns", &dns]).await;
    let (code, web) = ask("web.app.svc.cluster.local").await;
    assert_eq!(code, 0, "{web:#}");
    assert_eq!(hops(&web), ["dns ok", "service ok", "pod ok"]);
    assert_eq!(hop(&web, "service")["what"], "app/web headless");
    assert!(hop(&web, "pod")["what"].as_str().unwrap().contains(&bed.pod.address.to_string()));
    let (code, dead) = ask("dead.app.svc").await;
    assert_eq!((code, &dead["broken"]["hop"]), (1, &"pod".into()), "{dead:#}");
    let (code, none) = ask("none.app.svc").await;
    assert_eq!((code, &none["broken"]["hop"]), (1, &"dns".into()), "{none:#}");
    bed.finish().await;
}

/// Who may not read the admin port may not have requests noted, and who may gets nothing but the
/// request of the connection that was named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_for_one_connection_and_bounded() {
    let pod = Pod::start(|_| ok("hi")).await;
    let edge = Edge::start(&app(route("web", "web.example.com"), &[pod.address])).await;
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let source = stream.local_addr().unwrap().to_string();
    let mut client = Client::over(stream);
    let mut admin = Client::connect(edge.admin).await;
    let ask = format!("GET /api/v1/trace?client={source} HTTP/1.1\r\nHost: a\r\n\r\n");
    admin.send(&ask).await;
    crate::harness::eventually("the watch", async || {
        edge.router.stats.watches.is_armed().then_some(())
    })
    .await;
    // Another client's request is none of its business.
    assert_eq!(edge.get("web.example.com", "/").await.status(), 200);
    assert!(edge.router.stats.watches.is_armed());
    assert_eq!(client.get("web.example.com", "/secret?query=1").await.status(), 200);
    let noted = admin.response().await.text();
    let seen: Value = serde_json::from_str(&noted).unwrap();
    assert_eq!((&seen["client"], &seen["status"]), (&source.into(), &200.into()), "{seen:#}");
    assert_eq!(seen["route"]["name"], "web");
    assert!(!noted.contains("secret"), "{noted}");
    assert!(!edge.router.stats.watches.is_armed());
    let bad = admin.get("a", "/api/v1/trace?client=web").await;
    assert_eq!(bad.status(), 400);
    edge.finish().await;
}
