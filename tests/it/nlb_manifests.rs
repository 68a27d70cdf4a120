//! Load balancers out of manifests (spec/l4-dns.md A.14): the samples, the compose stack, and the
//! OpenShift scenario with real routers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a step that fails fails the test")]

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};
use wharf::{
    app::nlb::{
        Fleet, fleet,
        manifests::{Balancers, Options, balancers},
    },
    health::{Code, State},
    nlb::config::{CheckProtocol, NlbConfig, parse},
    source::{directory::Directory, watch::Update},
    task::workers::Workers,
};

use crate::harness::{
    eventually,
    manifest::{app, route},
    pod::Pod,
    router::Edge,
    within,
};

fn sample(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(sample(path)).unwrap()
}

fn update(paths: &[PathBuf]) -> Update {
    let mut directory = Directory::new(paths.to_vec(), String::new());
    directory.scan(Instant::now());
    Update { objects: directory.objects(), findings: directory.findings() }
}

/// The load balancers of samples that nothing is wrong with.
fn of_samples(paths: &[&str], options: &Options) -> Vec<NlbConfig> {
    let paths: Vec<_> = paths.iter().map(|path| sample(path)).collect();
    let update = update(&paths);
    let Balancers { wanted, findings } = balancers(&update.objects, options);
    // Routes and Ingresses may wait for certificates.
    let of_services = update.findings.into_iter().filter(|its| its.object.starts_with("Service"));
    assert_eq!(of_services.chain(findings).collect::<Vec<_>>(), []);
    wanted.into_iter().map(|wanted| wanted.config.expect("it is not refused")).collect()
}

/// A.14: the sample is the Service that the ingress operator writes.
#[test]
fn the_router_service_sample_is_an_nlb() {
    let configs = of_samples(&["balancer/router-service.yaml"], &Options::default());
    let [config] = &configs[..] else { panic!("{configs:?}") };
    let ports: Vec<_> = config.listeners.iter().map(|its| its.address.port()).collect();
    assert_eq!(ports, [80, 443]);
    for group in &config.groups {
        assert_eq!(
            (group.check.port, group.check.interval),
            (Some(32500), Duration::from_secs(10))
        );
        assert_eq!(group.check.timeout, Duration::from_secs(6), "not the 4 s of the annotation");
        assert!(group.proxy_protocol);
        let zones: Vec<_> = group.targets.iter().filter_map(|its| its.zone.as_deref()).collect();
        assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    }
}

/// The estate has a listener and a group of its own for each port.
#[test]
fn the_estate_sample_is_a_configuration() {
    let config = parse(&text("balancer/estate.yaml")).unwrap();
    let ports: Vec<_> = config.listeners.iter().map(|its| its.address.port()).collect();
    assert_eq!(ports, [22, 25, 53, 80, 443, 3389, 5000, 6443, 8080, 8200, 9090, 9418]);
    assert_eq!(config.groups.len(), ports.len());
    let datagrams = config.listeners.iter().filter(|listener| listener.protocol.has_udp());
    assert_eq!(datagrams.map(|listener| listener.address.port()).collect::<Vec<_>>(), [53]);
    for (listener, group) in config.listeners.iter().zip(&config.groups) {
        assert!(listener.forwards_to(&group.name), "{} and {}", listener.name, group.name);
        assert_eq!(group.targets.len(), 2);
    }
    let http: Vec<_> = config
        .groups
        .iter()
        .filter(|group| matches!(group.check.protocol, CheckProtocol::Http { .. }))
        .map(|group| &*group.name)
        .collect();
    assert_eq!(http, ["router-http", "router-https", "registry", "web", "vault", "prometheus"]);
}

/// Puts the same names into both.
fn without_names(mut config: NlbConfig) -> NlbConfig {
    config.name = "".into();
    for (index, group) in config.groups.iter_mut().enumerate() {
        for listener in &mut config.listeners {
            for weighted in &mut listener.forward {
                if weighted.group == group.name {
                    weighted.group = format!("group {index}").into();
                }
            }
        }
        group.name = format!("group {index}").into();
    }
    for (index, listener) in config.listeners.iter_mut().enumerate() {
        listener.name = format!("listener {index}").into();
    }
    config
}

/// The compose stack gets the same load balancer from its file and from its manifests.
#[test]
fn the_compose_stack_has_one_load_balancer_in_two_ways() {
    let from_file = parse(&text("tests/compose/nlb.yaml")).unwrap();
    let options =
        Options { listen: vec!["80=8080,443=8443".parse().unwrap()], ..Options::default() };
    let mut from_manifests = of_samples(&["routes", "tests/compose/manifests"], &options);
    assert_eq!(from_manifests.len(), 1);
    let from_manifests = from_manifests.remove(0);
    assert_eq!(without_names(from_manifests), without_names(from_file));
}

/// Two addresses of this machine with the same three ports free: plain, TLS, node health.
fn two_hosts() -> ([&'static str; 2], [u16; 3]) {
    let hosts = ["127.0.24.1", "127.0.24.2"];
    let free = |_| {
        loop {
            let first = TcpListener::bind((hosts[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            if TcpListener::bind((hosts[1], port)).is_ok() {
                return port;
            }
        }
    };
    (hosts, [0, 1, 2].map(free))
}

/// The Service of OpenShift with PROXY, checks ten times as fast, and its routers in two zones.
pub(crate) fn router_service(
    hosts: [&str; 2],
    [http, https, health]: [u16; 3],
    port: u16,
) -> String {
    let prefix = "service.beta.kubernetes.io/aws-load-balancer";
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: router-default
  namespace: openshift-ingress
  annotations:
    {prefix}-type: nlb
    {prefix}-healthcheck-interval: \"1\"
    {prefix}-healthcheck-healthy-threshold: \"2\"
    {prefix}-healthcheck-unhealthy-threshold: \"2\"
    {prefix}-target-group-attributes: preserve_client_ip.enabled=false,proxy_protocol_v2.enabled=true
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: {health}
  ports: [{{ name: http, port: {port} }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: router-default-1
  namespace: openshift-ingress
  labels: {{ kubernetes.io/service-name: router-default }}
addressType: IPv4
ports: [{{ name: http, port: {http} }}, {{ name: https, port: {https} }}]
endpoints:
  - {{ addresses: [{}], zone: a }}
  - {{ addresses: [{}], zone: b }}
",
        hosts[0], hosts[1]
    )
}

async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// [NLB-24] The Service of OpenShift in front of two routers that answer at healthCheckNodePort: a
/// router that begins to drain answers 503 there, and its target becomes unhealthy because of that
/// code, long before the router stops to accept; clients reach the other one.
#[tokio::test(flavor = "multi_thread")]
async fn nlb_24_a_router_that_drains_leaves_the_load_balancer_of_its_service() {
    let pod = Pod::saying("hello").await;
    let (hosts, ports) = two_hosts();
    let objects = app(route("a", "a.example.com"), &[pod.address]);
    let mut edges = Vec::new();
    for host in hosts {
        let at = |port| SocketAddr::new(host.parse().unwrap(), port);
        let edge = Edge::with(&objects, |settings| {
            settings.http = vec![at(ports[0])];
            settings.https = vec![at(ports[1])];
            settings.node_health = Some(at(ports[2]));
            settings.proxy_protocol = true;
            settings.timeouts.drain_delay = Duration::from_secs(3600);
        });
        edges.push(edge.await);
    }

    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("router.yaml");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&file, router_service(hosts, ports, port)).unwrap();
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    let fleet = Fleet::default();
    let mut tasks = JoinSet::new();
    let followed = fleet.clone();
    tasks.spawn(async move {
        let options = Options { fast_checks: true, ..Options::default() };
        fleet::follow(changed, &followed, &Workers::default(), &options, Duration::ZERO).await;
    });
    updates.send_replace(Arc::new(update(&[file])));

    let states = || -> Vec<_> {
        let handles = fleet.handles();
        let targets = handles.iter().flat_map(wharf::nlb::NlbHandle::targets);
        targets.map(|target| (target.state, target.reason)).collect()
    };
    let healthy = (State::Healthy, None);
    eventually("both routers are healthy", async || (states() == [healthy, healthy]).then_some(()))
        .await;
    let front = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..8 {
        assert_eq!(get(front).await, "HTTP/1.1 200 OK");
    }

    let leaving = edges.remove(0);
    tasks.spawn(async move { leaving.router.finish().await });
    let code = (State::Unhealthy, Some(Code::ResponseCodeMismatch));
    eventually("the router that drains is unhealthy", async || {
        (states() == [code, healthy]).then_some(())
    })
    .await;
    for _ in 0..8 {
        assert_eq!(get(front).await, "HTTP/1.1 200 OK");
    }
}

/// A command that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `wharf nlb --manifests`: flags to listeners, and an edit of the file is taken over; a bad one is
/// not.
#[tokio::test]
async fn the_command_follows_its_manifests() {
    let pods = [Pod::saying("one").await, Pod::saying("two").await];
    let folder = tempfile::TempDir::new().unwrap();
    let write = |pod: &Pod, interval: &str| {
        let service = format!(
            "apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: app
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-type: nlb
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: \"{interval}\"
spec: {{ type: LoadBalancer, ports: [{{ port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: web-1, namespace: app, labels: {{ kubernetes.io/service-name: web }} }}
addressType: IPv4
ports: [{{ port: {} }}]
endpoints: [{{ addresses: [127.0.0.1] }}]
",
            pod.address.port()
        );
        std::fs::write(folder.path().join("draft"), service).unwrap();
        std::fs::rename(folder.path().join("draft"), folder.path().join("web.yaml")).unwrap();
    };
    write(&pods[0], "5");
    let port = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command
        .args(["nlb", "--api", "127.0.0.1:0", "--manifests"])
        .arg(folder.path())
        .args(["--listen-map", &format!("app/web:80=127.0.0.2:{port}"), "--zone", "a"])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let front = SocketAddr::from(([127, 0, 0, 2], port));
    let says = async |wanted: &str| {
        eventually(wanted, async || {
            let mut stream = TcpStream::connect(front).await.ok()?;
            let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            // The pod keeps its connections.
            while !answer.ends_with(b"one") && !answer.ends_with(b"two") {
                (stream.read_buf(&mut answer).await.ok()? > 0).then_some(())?;
            }
            answer.ends_with(wanted.as_bytes()).then_some(())
        })
        .await;
    };
    says("one").await;
    write(&pods[1], "5s");
    let refused = tokio::task::spawn_blocking(move || {
        let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("WH1071")));
        (line.unwrap().unwrap(), log)
    });
    let (line, _log) = within("the finding", refused).await.unwrap();
    assert!(line.contains("web.yaml:8:5"), "{line}");
    says("one").await;
    write(&pods[1], "5");
    says("two").await;
}
