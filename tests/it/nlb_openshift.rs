//! The path of OpenShift as clients see it (spec/l4-dns.md A.2, A.14): `wharf nlb` of three zones in front
//! of two `wharf router`, all processes of their own; names are asked for anew for every request.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    harness::{
        client::Client,
        eventually,
        manifest::{self, app, route},
        pod::Pod,
    },
    nlb_api::{Nlb, free_port, value},
    nlb_manifests::router_service,
    nlb_zones::resolve,
};

const HOST: &str = "a.example.com";
/// The nodes of the load balancer, zone by zone.
const BALANCER: [&str; 3] = ["127.0.28.1", "127.0.28.2", "127.0.28.3"];
/// The nodes that the routers run on.
const ROUTERS: [&str; 2] = ["127.0.28.11", "127.0.28.12"];
/// Clients at once.
const CLIENTS: usize = 4;
/// Times at least that each of them asks DNS while something happens.
const ROUNDS: usize = 25;
/// Connections that are kept open through a node.
const KEPT: usize = 4;

/// A port that is free on all of `hosts`.
fn common_port(hosts: &[&str]) -> u16 {
    loop {
        let port = free_port(hosts[0]);
        if hosts.iter().all(|host| TcpListener::bind((*host, port)).is_ok()) {
            return port;
        }
    }
}

/// Ports that routers have on their nodes.
#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    https: u16,
    health: u16,
}

/// The Service as the ingress operator writes it, and its routers.
fn service(Ports { http, https, health }: Ports) -> String {
    router_service(ROUTERS, [http, https, health], 80)
}

/// A load balancer with its DNS, and what its routers are started with.
struct Estate {
    folder: TempDir,
    ports: Ports,
    nlb: Nlb,
    /// Port of its listener.
    port: u16,
    dns: SocketAddr,
    /// Its regional name.
    name: String,
    _pod: Pod,
}

/// What clients saw of answers that named the same zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    answers: usize,
    requests: usize,
    /// By the letter of the zone that was asked.
    failures: BTreeMap<char, usize>,
}

/// What clients saw, by the zones that DNS named, such as `ab`.
type Tally = BTreeMap<String, Seen>;

impl Estate {
    async fn start() -> Self {
        let pod = Pod::saying("hello").await;
        let folder = TempDir::new().unwrap();
        let [routes, balancer] = ["routes", "balancer"].map(|name| folder.path().join(name));
        std::fs::create_dir(&routes).unwrap();
        std::fs::create_dir(&balancer).unwrap();
        let objects = manifest::text(&app(route("a", HOST), &[pod.address]));
        std::fs::write(routes.join("main.yaml"), objects).unwrap();
        let [http, https, health] = [(); 3].map(|()| common_port(&ROUTERS));
        let ports = Ports { http, https, health };
        std::fs::write(balancer.join("router.yaml"), service(ports)).unwrap();
        let (port, dns) = (common_port(&BALANCER), free_port("127.0.0.1"));
        let dns = SocketAddr::from(([127, 0, 0, 1], dns));
        let zones = ["a", "b", "c"].iter().zip(BALANCER);
        let zones: Vec<_> = zones.map(|(zone, address)| format!("{zone}={address}")).collect();
        let (map, at) = (format!("80={port}"), dns.to_string());
        let mut arguments = vec!["--allow-fast-checks", "--dns", &at, "--listen-map", &map];
        zones.iter().for_each(|zone| arguments.extend(["--zone", zone]));
        arguments.extend(["--manifests", balancer.to_str().unwrap()]);
        let nlb = Nlb::start(&arguments).await;
        let name = eventually("the load balancer of the Service", async || {
            let told = nlb.ok("Action=DescribeLoadBalancers").await;
            told.contains("<DNSName>").then(|| value(&told, "DNSName"))
        });
        let name = name.await;
        Self { folder, ports, nlb, port, dns, name, _pod: pod }
    }

    /// Starts the router of a zone. It stays for `delay` after SIGTERM.
    fn router(&self, index: usize, delay: &str) -> Router {
        let at = |port: u16| format!("{}:{port}", ROUTERS[index]);
        let [http, https, health, admin] =
            [self.ports.http, self.ports.https, self.ports.health, 0].map(at);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["router", "--no-access-log", "--workers", "1", "--proxy-protocol"]);
        command.args(["--http", &http, "--https", &https, "--admin", &admin]);
        command.args(["--node-health", &health, "--allow-loopback-endpoints", "--manifests"]);
        command.arg(self.folder.path().join("routes"));
        command.env_clear().env("ROUTER_GRACEFUL_SHUTDOWN_DELAY", delay).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Router { process: command.spawn().unwrap(), health: health.parse().unwrap() }
    }

    /// The zones that DNS names now, in order.
    async fn zones(&self) -> String {
        resolve(self.dns, &self.name).await.into_iter().map(zone_of).collect()
    }

    async fn until_dns_names(&self, zones: &str) {
        eventually(zones, async || (self.zones().await == zones).then_some(())).await;
    }

    /// One client: asks DNS and then each address of the answer, on a connection of its own.
    async fn ask(&self, tally: &Mutex<Tally>) {
        let addresses = resolve(self.dns, &self.name).await;
        let named: String = addresses.iter().copied().map(zone_of).collect();
        let mut failed = Vec::new();
        for address in &addresses {
            if !succeeds((*address, self.port).into()).await {
                failed.push(zone_of(*address));
            }
        }
        let mut tally = tally.lock().unwrap();
        let seen = tally.entry(named).or_default();
        seen.answers += 1;
        seen.requests += addresses.len();
        failed.into_iter().for_each(|zone| *seen.failures.entry(zone).or_default() += 1);
    }

    /// What clients see until `event` has happened, and at least `ROUNDS` times.
    fn load<'a, T: 'a>(
        &'a self,
        event: impl Future<Output = T> + 'a,
    ) -> Pin<Box<dyn Future<Output = (Tally, T)> + 'a>> {
        Box::pin(async move {
            let (tally, over) = (Mutex::default(), AtomicBool::new(false));
            let client = async || {
                let mut rounds = 0;
                while rounds < ROUNDS || !over.load(Relaxed) {
                    self.ask(&tally).await;
                    rounds += 1;
                }
            };
            let event = async {
                let outcome = event.await;
                over.store(true, Relaxed);
                outcome
            };
            let (outcome, ..) = tokio::join!(event, client(), client(), client(), client());
            (tally.into_inner().unwrap(), outcome)
        })
    }

    /// Connections through the node of a zone that are kept open, used once.
    async fn keep(&self, zone: usize) -> Vec<Client<TcpStream>> {
        let node = SocketAddr::new(BALANCER[zone].parse().unwrap(), self.port);
        let mut kept = Vec::new();
        for _ in 0..KEPT {
            let mut client = Client::connect(node).await;
            assert_eq!(client.get(HOST, "/").await.status(), 200);
            kept.push(client);
        }
        kept
    }

    /// What CloudWatch would show as `name` of each zone.
    async fn by_zone(&self, name: &str) -> [u64; 3] {
        let metrics = Client::connect(self.nlb.api).await.get("localhost", "/metrics").await.text();
        ['a', 'b', 'c'].map(|zone| {
            let label = format!("availability_zone=\"{zone}\"");
            let mut lines = metrics.lines();
            let sample =
                lines.find(|line| line.starts_with(name) && line.contains(&label)).unwrap();
            sample.rsplit(' ').next().unwrap().parse().unwrap()
        })
    }

    async fn healthy_zones(&self) -> [u64; 3] {
        self.by_zone("aws_networkelb_zonal_health_status{").await
    }

    async fn routed_to_unhealthy(&self) -> [u64; 3] {
        self.by_zone("aws_networkelb_unhealthy_routing_flow_count_total{").await
    }
}

/// A `wharf router`, killed when dropped.
struct Router {
    process: Child,
    health: SocketAddr,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Router {
    /// Sends SIGTERM. The shell's own `kill`: the standard library has none.
    fn terminate(&self) {
        let id = self.process.id().to_string();
        let status = Command::new("/bin/sh").args(["-c", "kill -TERM $0", &id]).status();
        assert!(status.unwrap().success());
    }

    async fn ended(&mut self) -> bool {
        let ended = async || self.process.try_wait().unwrap();
        eventually("the end of the router", ended).await.success()
    }

    /// Status of its node's healthCheckNodePort.
    async fn node_health(&self) -> u16 {
        Client::connect(self.health).await.get("node", "/healthz").await.status()
    }
}

fn zone_of(address: IpAddr) -> char {
    let index = BALANCER.iter().position(|node| address.to_string() == **node).unwrap();
    ['a', 'b', 'c'][index]
}

/// A request on a connection of its own.
async fn succeeds(address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let mut client = Client::over(stream);
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    client.send(request).await;
    let answer = client.response().await;
    !answer.cut && answer.line == "HTTP/1.1 200 OK"
}

/// How many of `kept` answer once more.
async fn still_served(kept: &mut [Client<TcpStream>]) -> usize {
    let mut served = 0;
    for client in kept {
        let answer = client.get(HOST, "/").await;
        served += usize::from(!answer.cut && answer.line == "HTTP/1.1 200 OK");
    }
    served
}

/// All requests of all answers in `tally`, none of which failed.
fn without_failure(tally: &Tally) -> usize {
    let failed: Vec<_> = tally.iter().filter(|(_, seen)| !seen.failures.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    tally.values().map(|seen| seen.requests).sum()
}

/// [NLB-24], [NLB-10] Three zones, routers in two of them, cross-zone off. The zone without a router is
/// in no answer of DNS. A router that is killed takes its zone with it: what fails until then fails at
/// that zone's node, nothing that asks DNS afterwards fails, and the other router's flows go on. When it
/// is back, so is its zone. One that is stopped in order answers its node's checks with 503, and nothing
/// fails at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nlb_24_routers_die_and_drain_and_come_back_behind_dns() {
    let estate = Estate::start().await;
    let mut first = estate.router(0, "3600s");
    let _second = estate.router(1, "3600s");
    estate.until_dns_names("ab").await;
    assert_eq!(estate.healthy_zones().await, [1, 1, 0]);
    let (steady, ()) = estate.load(async {}).await;
    assert_eq!(steady.keys().collect::<Vec<_>>(), ["ab"], "the zone without a router is not named");
    assert_eq!(without_failure(&steady), 2 * CLIENTS * ROUNDS);

    let (mut of_first, mut of_second) = (estate.keep(0).await, estate.keep(1).await);
    let (around, ()) = estate
        .load(async {
            first.process.kill().unwrap();
            estate.until_dns_names("b").await;
        })
        .await;
    let [before, after] = ["ab", "b"].map(|zones| around.get(zones).cloned().unwrap_or_default());
    assert_eq!(
        around.values().map(|seen| seen.answers).sum::<usize>(),
        before.answers + after.answers
    );
    assert!(before.failures.keys().all(|zone| *zone == 'a'), "{around:?}");
    assert!(after.failures.is_empty(), "after the zone left DNS: {around:?}");
    assert_eq!(still_served(&mut of_first).await, 0, "flows of a router that is gone");
    assert_eq!(still_served(&mut of_second).await, KEPT, "flows of the other router");
    assert_eq!(estate.healthy_zones().await, [0, 1, 0]);
    let (without, ()) = estate.load(async {}).await;
    assert_eq!(without.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(without_failure(&without), CLIENTS * ROUNDS);
    let zonal = resolve(estate.dns, &format!("a.{}", estate.name)).await;
    assert_eq!(zonal, [BALANCER[0].parse::<IpAddr>().unwrap()], "the zonal name stays");

    first = estate.router(0, "6s");
    let (back, ()) = estate.load(estate.until_dns_names("ab")).await;
    assert!(without_failure(&back) >= CLIENTS * ROUNDS);
    assert_eq!(estate.healthy_zones().await, [1, 1, 0]);

    let mut of_first = estate.keep(0).await;
    let (drained, ()) = estate
        .load(async {
            first.terminate();
            eventually("503", async || (first.node_health().await == 503).then_some(())).await;
            assert_eq!(still_served(&mut of_first).await, KEPT, "a router that drains serves");
            estate.until_dns_names("b").await;
            assert!(succeeds((zonal[0], estate.port).into()).await, "its node fails open");
            assert!(first.ended().await);
        })
        .await;
    assert!(drained["b"].requests > 0);
    let [of_a, of_b, of_c] = estate.routed_to_unhealthy().await;
    assert!(of_a > 0, "UnhealthyRoutingFlowCount of the node that failed open");
    assert_eq!([of_b, of_c], [0, 0]);
    assert!(without_failure(&drained) >= CLIENTS * ROUNDS, "{drained:?}");
    print(&[
        ("steady", &steady),
        ("killed", &around),
        ("gone", &without),
        ("back", &back),
        ("drained", &drained),
    ]);
}

/// Prints the counts (`cargo test -- --nocapture`).
#[expect(clippy::print_stdout, reason = "the counts are what is shown")]
fn print(phases: &[(&str, &Tally)]) {
    for (phase, tally) in phases {
        for (named, Seen { answers, requests, failures }) in *tally {
            println!(
                "{phase}: {answers} answers of DNS named {named}, {requests} requests, failed {failures:?}"
            );
        }
    }
}
