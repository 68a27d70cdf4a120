//! A node with pods and a client, each in a network namespace of its own that lives as long as the
//! test.
//!
//! ```text
//! client 192.0.2.10 ── 192.0.2.1 node 10.0.N.1 ── 10.0.N.2 pod N
//! ```

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::agent::Agent;
use crate::harness::manifest;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Longest time for a change to be applied.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a tool to its end, which must be a good one; what it printed.
pub(super) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{tool} is not installed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A namespace that is deleted when it is dropped.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(name: String) -> Self {
        run("ip", &["netns", "add", &name]);
        let made = Self(name);
        made.ip("link set lo up");
        made
    }

    /// Runs `ip` within it.
    pub(crate) fn ip(&self, arguments: &str) {
        let within = ["-n", &self.0];
        let arguments: Vec<&str> = within.into_iter().chain(arguments.split(' ')).collect();
        run("ip", &arguments);
    }

    /// Runs a tool within it.
    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.0, tool], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A pod and its namespace.
pub(super) struct Pod {
    pub(super) agent: Agent,
    pub(super) address: String,
    pub(super) namespace: Namespace,
}

/// Node, client and pods.
pub(super) struct Net {
    // Agents end before their namespaces.
    pub(super) client: Agent,
    pub(super) on_node: Agent,
    pub(super) pods: Vec<Pod>,
    pub(super) node: Namespace,
    pub(super) outside: Namespace,
    folder: TempDir,
    changes: usize,
}

impl Net {
    /// Pods `A`, `B`, ... that answer at TCP 8080 and UDP 5353.
    pub(super) fn new(pods: usize) -> Self {
        let number = COUNT.fetch_add(1, Relaxed);
        let name = |rest: &str| format!("wnft{}-{number}{rest}", std::process::id());
        let (node, outside) = (Namespace::new(name("n")), Namespace::new(name("c")));
        let link = format!("link add c0 type veth peer name n0 netns {}", outside.0);
        node.ip(&link);
        node.ip("link set c0 up");
        node.ip("addr add 192.0.2.1/24 dev c0");
        node.ip("route add default via 192.0.2.10");
        // Without a limit of refusals, of which the kernel else sends one in a second.
        for (name, value) in [("ip_forward", 1), ("icmp_ratelimit", 0)] {
            let set = format!("echo {value} > /proc/sys/net/ipv4/{name}");
            node.run("sh", &["-c", &set]);
        }
        outside.ip("link set n0 up");
        for last in [10, 11, 200] {
            outside.ip(&format!("addr add 192.0.2.{last}/24 dev n0"));
        }
        outside.ip("route add default via 192.0.2.1");
        let (client, on_node) = (Agent::start(&outside.0), Agent::start(&node.0));
        let pods = (1..=pods).map(|index| Self::pod(&node, &name(&format!("p{index}")), index));
        let pods = pods.collect();
        let folder = TempDir::new().expect("a temporary folder");
        Self { client, on_node, pods, node, outside, folder, changes: 0 }
    }

    fn pod(node: &Namespace, name: &str, index: usize) -> Pod {
        let namespace = Namespace::new(name.to_owned());
        node.ip(&format!("link add p{index} type veth peer name n0 netns {name}"));
        node.ip(&format!("link set p{index} up"));
        node.ip(&format!("addr add 10.0.{index}.1/24 dev p{index}"));
        namespace.ip("link set n0 up");
        let address = format!("10.0.{index}.2");
        namespace.ip(&format!("addr add {address}/24 dev n0"));
        namespace.ip(&format!("route add default via 10.0.{index}.1"));
        let mut agent = Agent::start(name);
        let letter = char::from(b'A' + u8::try_from(index - 1).expect("few pods"));
        agent.does(&format!("tcp 0.0.0.0:8080 {letter}"));
        agent.does(&format!("udp 0.0.0.0:5353 {letter}"));
        Pod { agent, address, namespace }
    }

    /// One slice for each of these pods, each `here`, with more fields of the endpoint.
    pub(super) fn slices(&self, pods: &[(usize, Value)]) -> Vec<Value> {
        let slices = pods.iter().map(|(index, more)| {
            let mut endpoint =
                json!({"addresses": [self.pods[*index].address], "nodeName": "here"});
            let more = more.as_object().expect("fields").clone();
            endpoint.as_object_mut().expect("an object").extend(more);
            slice(&format!("web-{index}"), "web", &endpoint)
        });
        slices.collect()
    }

    /// The same without more.
    pub(super) fn plain(&self, pods: &[usize]) -> Vec<Value> {
        let pods: Vec<_> = pods.iter().map(|index| (*index, json!({}))).collect();
        self.slices(&pods)
    }

    /// Where manifests are.
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes these objects, and waits until they are applied.
    pub(super) fn apply(&mut self, proxy: &Running, objects: &[Value]) {
        let services = self.write(objects);
        proxy.wait(services);
    }

    /// Writes these objects, with one more Service than the time before, which tells that they are
    /// applied; the number of Services.
    pub(super) fn write(&mut self, objects: &[Value]) -> usize {
        self.changes += 1;
        let more = (1..=self.changes).map(|number| {
            service(
                &format!("change-{number}"),
                &json!({
                    "clusterIP": format!("172.31.{}.{}", number / 250, number % 250 + 1),
                    "ports": [{"port": 1}],
                }),
            )
        });
        let all: Vec<Value> = objects.iter().cloned().chain(more).collect();
        let aside = self.folder().join("aside");
        std::fs::write(&aside, manifest::text(&all)).expect("the folder is writable");
        std::fs::rename(aside, self.folder().join("web.yaml")).expect("the folder is writable");
        all.iter().filter(|object| object["kind"] == "Service").count()
    }

    /// Starts `wharf proxy` on the node, with these arguments more.
    pub(super) fn proxy(&self, mode: &str, arguments: &[&str]) -> Running {
        Running::proxy(&self.node.0, self.folder().to_owned(), mode, arguments)
    }

    /// Starts `wharf nlb` on the node with this configuration, and these arguments more.
    pub(super) fn balancer(&self, config: &str, arguments: &[&str]) -> Running {
        let path = self.rewrite_balancer(config);
        let mut command = wharf(&self.node.0, "nlb");
        Running::start(command.args(["--grace", "0"]).args(arguments).arg("--config").arg(path))
    }

    /// Changes the configuration of the load balancer; where it is.
    pub(super) fn rewrite_balancer(&self, config: &str) -> PathBuf {
        let path = self.folder().join("nlb.yaml");
        std::fs::write(&path, config).expect("the folder is writable");
        path
    }

    /// The rules on the node.
    pub(super) fn rules(&self) -> String {
        self.node.run("nft", &["list", "ruleset"])
    }
}

/// The command for `wharf VERB` in a namespace.
pub(super) fn wharf(namespace: &str, verb: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_wharf"), verb]);
    command
}

/// A Service of namespace `app`.
pub(super) fn service(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "app"}, "spec": spec,
    })
}

/// The Service `web` at 172.30.0.1, TCP 80 and UDP 53, with more fields of its `spec`.
pub(super) fn web(more: &Value) -> Value {
    let mut spec = json!({"clusterIP": "172.30.0.1", "ports": [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
    ]});
    let more = more.as_object().expect("fields").clone();
    spec.as_object_mut().expect("an object").extend(more);
    service("web", &spec)
}

/// A slice of `service` with one endpoint.
pub(super) fn slice(name: &str, service: &str, endpoint: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": "app", "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"},
        ],
        "endpoints": [endpoint],
    })
}

/// A `wharf` in a namespace.
pub(super) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn proxy(namespace: &str, manifests: PathBuf, mode: &str, arguments: &[&str]) -> Self {
        let mut command = wharf(namespace, "proxy");
        command.args(["--mode", mode, "--node-name", "here", "--cluster-cidr", "10.0.0.0/16"]);
        Self::start(command.args(arguments).arg("--manifests").arg(manifests))
    }

    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ip is installed");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits until it has applied that many Services.
    pub(super) fn wait(&self, services: usize) {
        self.says(&[&format!(" services={services} "), "services applied"]);
    }

    /// Waits for a line with all of these.
    pub(super) fn says(&self, words: &[&str]) {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|_| panic!("it has not said {words:?}: {said:#?}"));
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
            said.push(line);
        }
    }

    fn signal(&self, signal: &str) {
        run("kill", &[signal, &self.child.id().to_string()]);
    }

    /// SIGTERM, and its end.
    pub(super) fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().expect("it runs").success());
    }

    /// SIGKILL, and its end.
    pub(super) fn kill(mut self) {
        self.signal("-KILL");
        assert!(!self.child.wait().expect("it runs").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
