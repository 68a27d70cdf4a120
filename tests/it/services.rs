//! Services in user space over real sockets (spec/l4-dns.md B.6).

mod udp;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, ErrorKind},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use wharf::{
    model::{
        objects::{ObjectKey, Objects, Stored},
        service::Service,
        slice::EndpointSlice,
    },
    services::{Node, build::build, schedulers::Kind},
    vip::{VipOptions, Vips},
};

use crate::harness::{eventually, manifest, within};

/// Range that the virtual addresses of these tests are in, and its place.
const MAP: &str = "172.30.0.0/16=127.96.0.0/16";

/// A pod: says its letter, then returns what it gets.
struct Pod {
    address: SocketAddr,
    _serves: JoinSet<()>,
}

impl Pod {
    fn serve(listener: TcpListener, letter: u8) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let mut serves = JoinSet::new();
        serves.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    if write.write_all(&[letter]).await.is_ok() {
                        let _ended = tokio::io::copy(&mut read, &mut write).await;
                    }
                });
            }
        });
        Self { address, _serves: serves }
    }
}

async fn bound(address: &str) -> TcpListener {
    TcpListener::bind(address).await.expect("a free port")
}

/// A pod for each letter, in the order of their addresses, which is that of turns.
async fn pods(letters: &str) -> Vec<Pod> {
    let mut listeners = Vec::new();
    for _ in letters.bytes() {
        listeners.push(bound("127.0.0.1:0").await);
    }
    listeners.sort_by_key(|listener| listener.local_addr().expect("it is bound"));
    listeners
        .into_iter()
        .zip(letters.bytes())
        .map(|(one, letter)| Pod::serve(one, letter))
        .collect()
}

/// Adds the fields of `more`.
fn extend(object: &mut Value, more: &Value) {
    let more = more.as_object().expect("fields").clone();
    object.as_object_mut().expect("an object").extend(more);
}

/// A slice with one endpoint, and more fields of it.
fn slice(name: &str, address: SocketAddr, more: &Value) -> Value {
    let mut endpoint = json!({"addresses": [address.ip()], "nodeName": "here"});
    extend(&mut endpoint, more);
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": "app", "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": if address.is_ipv6() { "IPv6" } else { "IPv4" },
        "ports": [{"port": address.port()}], "endpoints": [endpoint],
    })
}

/// One slice for each pod.
fn slices<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Vec<Value> {
    let pods = pods.into_iter().enumerate();
    pods.map(|(index, pod)| slice(&format!("web-{index}"), pod.address, &json!({}))).collect()
}

/// A Service with its virtual address.
struct Vip {
    service: Value,
    address: SocketAddr,
}

/// The Service `web` with a virtual address of its own, and more fields of its `spec`.
fn vip(last: u8, more: &Value) -> Vip {
    let any = SocketAddr::from(([127, 96, 0, last], 0));
    let place = std::net::TcpListener::bind(any).expect("all of 127/8 is here");
    let address = place.local_addr().expect("it is bound");
    let mut spec = json!({
        "clusterIP": format!("172.30.0.{last}"), "ports": [{"port": address.port()}],
    });
    extend(&mut spec, more);
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "app"}, "spec": spec,
    });
    Vip { service, address }
}

fn options(scheduler: Kind) -> VipOptions {
    VipOptions {
        node: Node { name: "here".into(), zone: "a".into() },
        scheduler,
        maps: vec![MAP.parse().expect("a map")],
        node_addresses: Vec::new(),
        cluster: Vec::new(),
        connections: 1000,
        totals: Arc::default(),
    }
}

fn stored<T: serde::de::DeserializeOwned>(object: &Value) -> Arc<Stored<T>> {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let typed = serde_json::from_value(object.clone()).expect("its kind");
    Arc::new(Stored::in_memory(ObjectKey::new("app", name), typed, "test"))
}

/// Applies the Service with these slices; every address must be had. How many of them listen.
async fn apply(vips: &mut Vips, service: &Value, slices: &[Value]) -> usize {
    let objects = Objects {
        services: vec![stored::<Service>(service)],
        slices: slices.iter().map(stored::<EndpointSlice>).collect(),
        ..Objects::default()
    };
    let services: Vec<_> = build(&objects).into_iter().map(Arc::new).collect();
    let applied = within("the listeners", vips.apply(&services)).await;
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    applied.listening
}

/// Connects from `source`; the letter of the pod, with the connection.
async fn connect_from(source: &str, address: SocketAddr) -> std::io::Result<(char, TcpStream)> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0))?;
    let mut stream = within("the connection", socket.connect(address)).await?;
    let letter = within("the pod's letter", stream.read_u8()).await?;
    Ok((char::from(letter), stream))
}

async fn connect(address: SocketAddr) -> (char, TcpStream) {
    connect_from("127.0.0.1", address).await.expect("an endpoint")
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.expect("it is open");
    let mut answer = [0; 4];
    within("the echo", stream.read_exact(&mut answer)).await.expect("it is open");
    assert_eq!(&answer, b"ping");
}

/// [SVC-01]: a turn for each.
#[tokio::test]
async fn svc_1_four_hundred_connections_are_shared_evenly() {
    let (pods, vip) = (pods("ABCD").await, vip(1, &json!({})));
    let mut vips = Vips::new(options(Kind::Rr));
    assert_eq!(apply(&mut vips, &vip.service, &slices(&pods)).await, 1);
    let mut counts = BTreeMap::new();
    for _ in 0..400 {
        *counts.entry(connect(vip.address).await.0).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([('A', 100), ('B', 100), ('C', 100), ('D', 100)]));
}

/// [SVC-01] [B.4]: connections that last, by what each scheduler counts.
#[tokio::test]
async fn svc_1_each_scheduler_shares_connections_by_its_formula() {
    wharf::net::descriptors::raise().expect("room for four sockets of each connection");
    let (pods, vip) = (pods("ABCD").await, vip(2, &json!({})));
    for kind in Kind::ALL {
        let mut vips = Vips::new(options(kind));
        apply(&mut vips, &vip.service, &slices(&pods)).await;
        let (mut counts, mut held) = (BTreeMap::new(), Vec::new());
        for _ in 0..400 {
            let (letter, stream) = connect(vip.address).await;
            *counts.entry(letter).or_insert(0) += 1;
            held.push(stream);
        }
        let mut counts: Vec<i32> = counts.into_values().collect();
        counts.sort_unstable();
        let expected = match kind {
            // One client at one address.
            Kind::Sh | Kind::Dh => &[400][..],
            // By its port, too: more than five standard deviations to either side.
            Kind::Mh => {
                assert!(counts.len() == 4 && counts.iter().all(|c| (50..=150).contains(c)));
                &counts.clone()
            },
            // A server is left once it has more than its weight while another is idle.
            Kind::Lblc => &[2, 2, 2, 394],
            _ => &[100, 100, 100, 100],
        };
        assert_eq!(counts, expected, "{kind}");
        drop(held);
        assert!(within("the end", vips.drain(Duration::from_secs(5))).await, "{kind}");
    }
}

/// [SVC-02]: at once, for as long as there is none.
#[tokio::test]
async fn svc_2_without_an_endpoint_a_client_is_refused() {
    let (pods, vip) = (pods("A").await, vip(3, &json!({})));
    let mut vips = Vips::new(options(Kind::Rr));
    for _ in 0..2 {
        assert_eq!(apply(&mut vips, &vip.service, &[]).await, 0);
        let refused = connect_from("127.0.0.1", vip.address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(apply(&mut vips, &vip.service, &slices(&pods)).await, 1);
        assert_eq!(connect(vip.address).await.0, 'A');
    }
}

/// [SVC-03]: policy Local and no endpoint here: no answer at all.
#[tokio::test]
async fn svc_3_without_a_local_endpoint_a_client_has_no_answer() {
    let (pods, vip) = (pods("A").await, vip(4, &json!({"internalTrafficPolicy": "Local"})));
    let mut vips = Vips::new(options(Kind::Rr));
    let there = [slice("web-0", pods[0].address, &json!({"nodeName": "there"}))];
    for _ in 0..2 {
        assert_eq!(apply(&mut vips, &vip.service, &there).await, 0);
        let silence = Duration::from_millis(200);
        let connected = tokio::time::timeout(silence, TcpStream::connect(vip.address)).await;
        assert!(connected.is_err(), "{connected:?}");
        assert_eq!(apply(&mut vips, &vip.service, &slices(&pods)).await, 1);
        assert_eq!(connect(vip.address).await.0, 'A');
    }
}

/// [SVC-04]: a client keeps its endpoint, and has another once it is gone.
#[tokio::test]
async fn svc_4_a_client_keeps_its_endpoint() {
    let (pods, vip) = (pods("ABC").await, vip(5, &json!({"sessionAffinity": "ClientIP"})));
    let mut vips = Vips::new(options(Kind::Rr));
    apply(&mut vips, &vip.service, &slices(&pods)).await;
    let ask = async |source| connect_from(source, vip.address).await.unwrap().0;
    for _ in 0..4 {
        assert_eq!(ask("127.0.0.2").await, 'A');
        assert_eq!(ask("127.0.0.3").await, 'B');
        // A change elsewhere forgets nobody.
        apply(&mut vips, &vip.service, &slices(&pods)).await;
    }
    apply(&mut vips, &vip.service, &slices(&pods[1..])).await;
    let other = ask("127.0.0.2").await;
    assert_ne!(other, 'A');
    apply(&mut vips, &vip.service, &slices(&pods)).await;
    assert_eq!(ask("127.0.0.2").await, other);
    assert_eq!(ask("127.0.0.3").await, 'B');
}

/// [SVC-05] [SVC-10]
#[tokio::test]
async fn svc_5_terminating_endpoints_serve_until_one_is_ready() {
    let (pods, vip) = (pods("AB").await, vip(6, &json!({})));
    let mut vips = Vips::new(options(Kind::Rr));
    let leaving = json!({"conditions": {"ready": false, "serving": true, "terminating": true}});
    let not_ready = json!({"conditions": {"ready": false}});
    let first = slice("web-0", pods[0].address, &leaving);
    let second = |more| slice("web-1", pods[1].address, &more);
    for (more, expected) in [(not_ready, "AAA"), (leaving.clone(), "ABA"), (json!({}), "BBB")] {
        apply(&mut vips, &vip.service, &[first.clone(), second(more)]).await;
        let mut letters = String::new();
        for _ in 0..3 {
            letters.push(connect(vip.address).await.0);
        }
        // Whose turn it is depends on what was before.
        letters = letters.replace("BAB", "ABA");
        assert_eq!(letters, expected);
    }
}

/// [SVC-11]: its endpoint leaves, then the whole Service, and the connection goes on.
#[tokio::test]
async fn svc_11_a_live_connection_outlives_its_endpoint_and_service() {
    let (pods, vip) = (pods("AB").await, vip(7, &json!({})));
    let mut vips = Vips::new(options(Kind::Rr));
    apply(&mut vips, &vip.service, &slices(&pods)).await;
    let (letter, mut live) = connect(vip.address).await;
    assert_eq!(letter, 'A');
    apply(&mut vips, &vip.service, &slices(&pods[1..])).await;
    for _ in 0..3 {
        assert_eq!(connect(vip.address).await.0, 'B');
    }
    echoes(&mut live).await;
    let applied = within("the listeners", vips.apply(&[])).await;
    assert_eq!(applied.listening, 0);
    let refused = connect_from("127.0.0.1", vip.address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    echoes(&mut live).await;
    // The end of the process is its end, after the grace.
    assert!(!within("the end", vips.drain(Duration::from_millis(1))).await);
    let ended = within("the reset", live.read_u8()).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
}

/// [SVC-13]: a reset takes the place of silence, for the connection is accepted before its source is
/// known.
#[tokio::test]
async fn svc_13_a_source_outside_the_ranges_is_reset() {
    let (pods, mut vip) = (pods("A").await, vip(8, &json!({})));
    vip.service["spec"]["type"] = json!("LoadBalancer");
    vip.service["spec"]["loadBalancerSourceRanges"] = json!(["127.0.0.8/29"]);
    vip.service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "172.30.1.8"}]}});
    let balancer = SocketAddr::from(([127, 96, 1, 8], vip.address.port()));
    let mut vips = Vips::new(options(Kind::Rr));
    assert_eq!(apply(&mut vips, &vip.service, &slices(&pods)).await, 2);
    assert_eq!(connect_from("127.0.0.9", balancer).await.unwrap().0, 'A');
    let denied = connect_from("127.0.0.1", balancer).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::ConnectionReset);
    assert_eq!(connect(vip.address).await.0, 'A', "the cluster IP takes all");
}

/// [B.1]: each family by itself; a node port on the addresses of the node.
#[tokio::test]
async fn families_and_node_ports_have_their_own_addresses() {
    let (four, six) = (pods("4").await.remove(0), Pod::serve(bound("[::1]:0").await, b'6'));
    let mut vip = vip(9, &json!({"type": "NodePort", "clusterIPs": ["172.30.0.9", "fd00::9"]}));
    vip.service["spec"]["ports"][0]["nodePort"] = json!(vip.address.port());
    let node = SocketAddr::from(([127, 97, 0, 9], vip.address.port()));
    let mut options = options(Kind::Rr);
    options.maps.push("fd00::9/128=::1/128".parse().unwrap());
    options.node_addresses = vec![node.ip()];
    let mut vips = Vips::new(options);
    assert_eq!(apply(&mut vips, &vip.service, &slices([&four, &six])).await, 3);
    let v6 = SocketAddr::new("::1".parse().unwrap(), vip.address.port());
    for _ in 0..2 {
        assert_eq!(connect(vip.address).await.0, '4');
        assert_eq!(connect(node).await.0, '4');
        assert_eq!(connect_from("::1", v6).await.unwrap().0, '6');
    }
}

/// [B.3]: no other endpoint is tried, as under kube-proxy.
#[tokio::test]
async fn an_endpoint_that_does_not_answer_costs_the_connection() {
    let (alive, vip) = (pods("A").await.remove(0), vip(10, &json!({})));
    let dead = std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let both = [slice("web-0", alive.address, &json!({})), slice("web-1", dead, &json!({}))];
    let mut vips = Vips::new(options(Kind::Rr));
    apply(&mut vips, &vip.service, &both).await;
    for _ in 0..3 {
        assert_eq!(connect(vip.address).await.0, 'A');
        let reset = connect_from("127.0.0.1", vip.address).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    }
}

/// Two Services that want one address: the first has it, and the other is told.
#[tokio::test]
async fn an_address_that_is_taken_is_reported() {
    let (pods, vip) = (pods("A").await, vip(11, &json!({})));
    let mut other = vip.service.clone();
    other["metadata"]["name"] = json!("zzz");
    let objects = Objects {
        services: vec![stored::<Service>(&other), stored::<Service>(&vip.service)],
        slices: slices(&pods).iter().map(stored::<EndpointSlice>).collect(),
        ..Objects::default()
    };
    let services: Vec<_> = build(&objects).into_iter().map(Arc::new).collect();
    let mut vips = Vips::new(options(Kind::Rr));
    let applied = vips.apply(&services).await;
    assert_eq!(applied.listening, 1);
    let [(address, failure)] = &applied.failed[..] else { panic!("{:?}", applied.failed) };
    assert_eq!(*address, vip.address);
    assert_eq!(failure.to_string(), "app/web has it, and app/zzz cannot have it too");
    assert_eq!(connect(vip.address).await.0, 'A');
}

/// `wharf proxy` follows its manifests, and ends in peace.
#[tokio::test]
async fn the_command_follows_manifests_and_drains() {
    let (pods, vip) = (pods("AB").await, vip(12, &json!({})));
    let folder = tempfile::TempDir::new().unwrap();
    let write = |slices: Vec<Value>| {
        let objects: Vec<Value> = std::iter::once(vip.service.clone()).chain(slices).collect();
        let aside = folder.path().join("aside");
        std::fs::write(&aside, manifest::text(&objects)).unwrap();
        std::fs::rename(aside, folder.path().join("web.yaml")).unwrap();
    };
    write(slices(&pods[..1]));
    let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .env_clear()
        .args([
            "proxy",
            "--mode",
            "userspace",
            "--scheduler",
            "wlc",
            "--vip-map",
            MAP,
            // Ports that no other test has.
            "--healthz-bind-address",
            "127.0.0.1:0",
            "--metrics-bind-address",
            "127.0.0.1:0",
            "--manifests",
        ])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let drains =
        tokio::task::spawn_blocking(move || log.lines().map_while(Result::ok).collect::<Vec<_>>());
    let wait = async |letter| {
        eventually("the pod", async || {
            let answer = connect_from("127.0.0.1", vip.address).await;
            answer.ok().filter(|(found, _)| *found == letter).map(|(_, stream)| stream)
        })
        .await
    };
    let mut live = wait('A').await;
    write(slices(&pods[1..]));
    drop(wait('B').await);
    echoes(&mut live).await;
    let id = child.id().to_string();
    assert!(Command::new("/bin/sh").args(["-c", "kill -TERM $0", &id]).status().unwrap().success());
    eventually("the listener to close", async || {
        connect_from("127.0.0.1", vip.address).await.is_err().then_some(())
    })
    .await;
    echoes(&mut live).await;
    drop(live);
    let status = within("the end", tokio::task::spawn_blocking(move || child.wait())).await;
    assert!(status.unwrap().unwrap().success());
    let said = within("its log", drains).await.unwrap().join("\n");
    assert!(said.contains("services applied") && said.contains("draining"), "{said}");
}
