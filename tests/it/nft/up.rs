//! `wharf up` as a process with its own ports, in a namespace where nobody else has them: what its one DNS
//! server answers to `dig`, and that the addresses lead somewhere.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{
    net::{Namespace, wharf},
    wanted,
};
use crate::harness::{LIMIT, manifest};

/// A process, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// Starts a `wharf`, and reads what it writes up to a line with this word.
fn start(command: &mut Command, word: &str) -> (Running, Vec<String>) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().expect("ip is installed"));
    let mut said = Vec::new();
    let mut lines = BufReader::new(running.0.stdout.take().expect("piped")).lines();
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("it ended before {word}: {said:#?}"));
        said.push(line.expect("text"));
        if said.last().is_some_and(|line| line.contains(word)) {
            // Read on, so that the process can go on to write.
            std::thread::spawn(move || lines.for_each(drop));
            return (running, said);
        }
    }
}

/// What `dig` says of the addresses of a name, sorted; its code where there are none.
fn dig(namespace: &Namespace, port: u16, transport: &str, name: &str) -> String {
    let port = port.to_string();
    let arguments =
        [transport, "-p", &port, "@127.0.0.1", name, "A", "+noall", "+comments", "+answer"];
    let said = namespace.run("dig", &arguments);
    let records = said.lines().filter(|line| !line.starts_with(';'));
    let ttl_and_address = records.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, ttl, "IN", "A", address] = fields[..] else { return None };
        Some(format!("{ttl} {address}"))
    });
    let mut found: Vec<String> = ttl_and_address.collect();
    found.sort();
    let code = said.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    if found.is_empty() { code.unwrap_or("?").to_owned() } else { found.join(", ") }
}

/// [A.2, B.4, C.9]: the cluster's names with what flags say of them, the balancer's, and those of a name
/// server outside.
#[test]
fn up_answers_for_the_cluster_the_balancer_and_the_outside() {
    if !wanted("up") {
        return;
    }
    let namespace = Namespace::new(format!("wnft{}-up", std::process::id()));
    let folder = TempDir::new().expect("a temporary folder");
    let outside = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "corp"},
        "spec": {"clusterIP": "192.0.2.7", "ports": [{"port": 5432}]},
    });
    std::fs::write(folder.path().join("db.yaml"), manifest::text(&[outside])).expect("writable");
    let mut name_server = wharf(&namespace.0, "dns");
    name_server.args([
        "--listen",
        "127.0.0.1:5300",
        "--cluster-domain",
        "corp.test",
        "--ttl",
        "77",
    ]);
    name_server.arg("--manifests").arg(folder.path());
    let name_server = name_server.stdin(Stdio::null()).stderr(Stdio::null());
    let _name_server = Running(name_server.spawn().expect("ip is installed"));
    let mut asks = wharf(&namespace.0, "healthcheck");
    asks.args(["--dns", "127.0.0.1:5300", "--cluster-domain", "corp.test"]);
    let until = Instant::now() + LIMIT;
    while !asks.stderr(Stdio::null()).status().expect("ip is installed").success() {
        assert!(Instant::now() < until, "the name server has no zone");
    }
    let mut command = wharf(&namespace.0, "up");
    command.args(["--dns-ttl", "9", "--dns-pods", "disabled"]);
    command.args(["--dns-forward", "corp.test=127.0.0.1:5300", "--manifests"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("routes"));
    command.arg("--certs").arg(folder.path().join("certs"));
    let (_up, banner) = start(&mut command, "Ctrl-C");
    let regional =
        banner.iter().find_map(|line| line.split(' ').find(|word| word.contains(".elb.")));
    let regional = regional.expect("the banner has the balancer's name");

    let zonal = format!("b.{regional}");
    let pods: Vec<String> = (1..=4).map(|pod| format!("9 127.77.1.{pod}")).collect();
    for (name, said) in [
        ("myservice.app-dev.svc.cluster.local", &*pods.join(", ")),
        ("nobody.app-dev.svc.cluster.local", "NXDOMAIN"),
        ("10-0-0-1.app-dev.pod.cluster.local", "NXDOMAIN"),
        (regional, "60 127.0.0.1, 60 127.0.0.2"),
        (&zonal, "60 127.0.0.2"),
        // As the name server there has it.
        ("db.corp.svc.corp.test", "77 192.0.2.7"),
        ("nobody.corp.svc.corp.test", "NXDOMAIN"),
        // Nothing is set up for it.
        ("example.com", "REFUSED"),
    ] {
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(dig(&namespace, 8053, transport, name), said, "{name} {transport}");
        }
    }
    // What is made over the API has its name at once.
    let made = "Action=CreateLoadBalancer&Version=2015-12-01&Name=second&Type=network&\
                Subnets.member.1=subnet-us-east-1a&Subnets.member.2=subnet-us-east-1b";
    let made = namespace.run("curl", &["-sS", "-d", made, "http://127.0.0.1:9090/"]);
    let name = made.split("<DNSName>").nth(1).and_then(|rest| rest.split('<').next());
    let name = name.unwrap_or_else(|| panic!("no name: {made}"));
    assert!(name.starts_with("second-"), "{name}");
    assert_eq!(dig(&namespace, 8053, "+notcp", name), "60 127.0.1.1, 60 127.0.1.2");
    for node in ["127.0.0.1", "127.0.0.2"] {
        let url = format!("http://{node}:8080/");
        let said = namespace.run("curl", &["-sS", "-H", "Host: app-dev.example.com", &url]);
        assert!(said.starts_with("pod: myservice-"), "{node}: {said}");
    }
}
