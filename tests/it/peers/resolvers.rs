//! Resolver libraries as pods have them: a network namespace with a resolv.conf of `ndots:5` and a search
//! list, `wharf dns` at its name server, and glibc, musl and dnspython asking. Needs root.
//!
//! ```text
//! resolver ── 127.0.0.1:53 wharf dns, cluster.local ── 127.0.0.2:53 wharf dns, upstream.test
//! ```

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tempfile::TempDir;

use super::{LONG, output_of, python, says, wanted};
use crate::{
    harness::{eventually, within},
    nft::net::Namespace,
};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Names and what they mean in namespace `testns`, sorted: short, of another namespace, absolute,
/// dual-stack, headless, an alias, forwarded, and names that do not exist.
const ROWS: [(&str, &str); 12] = [
    ("svc1", "10.0.0.1"),
    ("SVC1", "10.0.0.1"),
    ("svc1.testns", "10.0.0.1"),
    ("svc1.testns.svc", "10.0.0.1"),
    ("svc1.testns.svc.cluster.local", "10.0.0.1"),
    ("svc1.testns.svc.cluster.local.", "10.0.0.1"),
    ("svc-dual-stack", "10.0.0.3 10::3"),
    ("dup-name.hdls1", "172.0.0.4 172.0.0.5"),
    ("external-to-service", "10.0.0.1"),
    ("svc2.testns.svc.upstream.test", "10.0.0.4"),
    ("svc0.testns.svc.cluster.local", "none"),
    ("a.b.upstream.test", "none"),
];

/// A server that is killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A pod's view: its namespace, its resolv.conf, and both servers.
struct Pod {
    // Servers end before their namespace.
    _servers: [Server; 2],
    namespace: Namespace,
    configuration: PathBuf,
}

impl Pod {
    async fn start() -> Self {
        let number = COUNT.fetch_add(1, Relaxed);
        let namespace = Namespace::new(format!("wdns{}-{number}", std::process::id()));
        // Without an address of its own a machine is not asked for either family.
        namespace.ip("addr add 10.99.0.1/32 dev lo");
        namespace.ip("addr add fd99::1/128 dev lo");
        let configuration = PathBuf::from("/etc/netns").join(&namespace.0);
        std::fs::create_dir_all(&configuration).expect("this runs as root");
        let resolv = "search testns.svc.cluster.local svc.cluster.local cluster.local\n\
                      nameserver 127.0.0.1\noptions ndots:5\n";
        std::fs::write(configuration.join("resolv.conf"), resolv).expect("a new folder");
        let servers = [
            serve(&namespace, &["--listen", "127.0.0.2:53", "--cluster-domain", "upstream.test"]),
            serve(
                &namespace,
                &["--listen", "127.0.0.1:53", "--forward", "upstream.test=127.0.0.2"],
            ),
        ];
        let pod = Self { _servers: servers, namespace, configuration };
        for (server, domain) in
            [("127.0.0.1:53", "cluster.local"), ("127.0.0.2:53", "upstream.test")]
        {
            let arguments = ["healthcheck", "--dns", server, "--cluster-domain", domain];
            eventually("the server's first zone", async || {
                let asked = pod.output(env!("CARGO_BIN_EXE_wharf"), &arguments).await;
                asked.status.success().then_some(())
            })
            .await;
        }
        pod
    }

    async fn output(&self, tool: &str, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0, tool]).args(arguments);
        output_of(command, LONG).await
    }

    /// The lines that a tool prints within the namespace, after it ended well.
    async fn lines(&self, tool: &str, arguments: &[&str]) -> Vec<String> {
        let output = self.output(tool, arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {arguments:?}: {}: {errors}", output.status);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.configuration);
    }
}

fn serve(namespace: &Namespace, arguments: &[&str]) -> Server {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dns/c4.yaml");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.0, env!("CARGO_BIN_EXE_wharf"), "dns"]);
    command.args(["--manifests", fixture]).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Server(child.expect("ip is installed"))
}

/// Addresses of a line, sorted.
fn sorted(line: &str) -> String {
    let mut addresses: Vec<&str> = line.split(' ').collect();
    addresses.sort_unstable();
    addresses.join(" ")
}

/// [DNS-F] glibc, by getent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn glibc_resolves_as_a_pod_does() {
    if !wanted("glibc_resolves_as_a_pod_does") {
        return;
    }
    let pod = Pod::start().await;
    for (name, addresses) in ROWS {
        let output = pod.output("getent", &["ahosts", name]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut found: Vec<&str> =
            text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        found.sort_unstable();
        found.dedup();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(" ") };
        assert_eq!(found, addresses, "{name}: {output:?}");
    }
    let back = pod.lines("getent", &["hosts", "10.0.0.1"]).await;
    assert!(back.concat().ends_with("svc1.testns.svc.cluster.local"), "{back:?}");
}

/// [DNS-F] musl, by a program linked with it: A and AAAA go out together on one socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn musl_resolves_as_a_pod_does() {
    if !wanted("musl_resolves_as_a_pod_does") {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let program = folder.path().join("resolve");
    let program = program.to_str().expect("a name");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/resolve.c");
    says("musl-gcc", &["-static", "-o", program, source]).await;
    let pod = Pod::start().await;
    let names: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    let lines = within("getaddrinfo", pod.lines(program, &names)).await;
    for ((name, addresses), line) in ROWS.iter().zip(lines) {
        assert_eq!(sorted(&line), *addresses, "{name}");
    }
}

/// [DNS-F] dnspython.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dnspython_resolves_as_a_pod_does() {
    if !wanted("dnspython_resolves_as_a_pod_does") {
        return;
    }
    let pod = Pod::start().await;
    let rows = [
        ("svc1/A", "10.0.0.1"),
        ("svc1/AAAA", "NODATA"),
        ("svc1.testns/A", "10.0.0.1"),
        ("svc1.testns.svc.cluster.local./A", "10.0.0.1"),
        ("svc-dual-stack/AAAA", "10::3"),
        (
            "_http._tcp.svc1.testns.svc.cluster.local./SRV",
            "0 100 80 svc1.testns.svc.cluster.local.",
        ),
        ("external.testns.svc.cluster.local./CNAME", "ext.interwebs.test."),
        ("1.0.0.10.in-addr.arpa./PTR", "svc1.testns.svc.cluster.local."),
        ("svc2.testns.svc.upstream.test./A", "10.0.0.4"),
        ("svc0.testns.svc.cluster.local/A", "NXDOMAIN"),
        ("a.b.com.testns.svc.cluster.local./A", "NXDOMAIN"),
    ];
    let interpreter = python::interpreter();
    let script = python::path("resolve.py");
    let questions = rows.iter().map(|(question, _)| *question);
    let arguments: Vec<&str> = std::iter::once(script.as_str()).chain(questions).collect();
    let lines = pod.lines(interpreter.to_str().expect("a name"), &arguments).await;
    assert_eq!(lines.len(), rows.len(), "{lines:?}");
    for ((question, found), line) in rows.iter().zip(lines) {
        assert_eq!(line, *found, "{question}");
    }
}
