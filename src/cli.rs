//! L7: the command line: types of clap, and the dispatch to `app`.
//!
//! Flags win over the environment, which wins over the defaults.

mod answering;
mod dispatch;
mod dns;
mod flags;
mod small;

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use self::answering::{AnsweringArgs, ForwardArgs, Prefixed};
use crate::{
    app::{
        get::Resource,
        nlb::{
            manifests::{ListenMap, parse_zone},
            parse_bucket, parse_certificate, parse_instance,
        },
        output::Output,
        trace::DnsServer,
    },
    model::selector::LabelSelector,
    net::address_map::AddressMap,
    nlb::{account::Instance, config::ZoneConfig},
    services::schedulers::Kind,
    settings::env,
    telemetry::logs,
};

/// The OpenShift-on-AWS ingress path in one binary: NLB emulator, Route router, cluster DNS.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, propagate_version = true)]
pub struct Cli {
    /// Log level of the process log on stderr: error, warn, info, debug, or TARGET=LEVEL,...
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    log: String,
    /// Writes the process log as JSON lines.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The edge router: serves Routes.
    Router(Box<RouterArgs>),
    /// The AWS NLB emulator.
    Nlb(Box<NlbArgs>),
    /// The cluster DNS server.
    Dns(Box<dns::DnsArgs>),
    /// Services on their virtual addresses, as kube-proxy serves them on a node.
    Proxy(ProxyArgs),
    /// A sample pod.
    Backend(BackendArgs),
    /// The whole path in one process: NLB, two routers, DNS, sample pods.
    Up(Box<UpArgs>),
    /// Validates manifests offline; exit code 1 when there are errors.
    Check(CheckArgs),
    /// Says which route serves a URL and why the others do not, or explains a finding code.
    Explain(ExplainArgs),
    /// Shows routes, services, endpoints, targets or certs.
    Get(GetArgs),
    /// Shows all about routes, services, endpoints or targets.
    Describe(DescribeArgs),
    /// Sends one request and says hop by hop where it went, how long it took and where it breaks.
    Trace(Box<TraceArgs>),
    /// Mints a development CA and certificates.
    Cert(CertArgs),
    /// Asks a health endpoint; exit code 0 when it is well.
    Healthcheck(HealthcheckArgs),
    /// Prints the version.
    Version,
}

#[derive(Debug, Args)]
struct RouterArgs {
    #[command(flatten)]
    flags: flags::Flags,
    /// Prints every setting with where its value came from, and starts nothing
    #[arg(long)]
    print_config: bool,
    /// Output of --print-config: table, wide, json or yaml
    #[arg(short, long, value_name = "FORMAT", default_value = "table", requires = "print_config")]
    output: Output,
    #[command(flatten)]
    dns: Prefixed<AnsweringArgs>,
}

#[derive(Debug, Args)]
struct NlbArgs {
    /// Configuration file; edits are taken over while it runs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Manifest file or folder whose Services of type LoadBalancer get a load balancer each; may be
    /// repeated
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
    /// Where ports of these Services listen: `80=8080`, `443=127.0.0.2:443`,
    /// `NAMESPACE/NAME:80=8081`, `*=+8000` for all others; separated by commas
    #[arg(long, value_name = "MAP", requires = "manifests")]
    listen_map: Vec<ListenMap>,
    /// Enabled zone of these load balancers, and the address of its node; for the API, a zone with a
    /// subnet `subnet-NAME`; may be repeated [default: all zones, on every address; for the API,
    /// us-east-1a to us-east-1c, on 127.0.1.1 to 127.0.1.3 for the first load balancer]
    #[arg(long, value_name = "NAME[=ADDR]", value_parser = parse_zone)]
    zone: Vec<ZoneConfig>,
    /// Machine that targets of the type `instance` may be, for the API: its id, its address and its
    /// zone; may be repeated
    #[arg(long, value_name = "ID=ADDR[@ZONE]", value_parser = parse_instance)]
    instance: Vec<(String, Instance)>,
    /// Certificate that TLS listeners of the API and of Services may have: its ARN and a PEM file
    /// with the chain and the key; may be repeated
    #[arg(long, value_name = "ARN=FILE", value_parser = parse_certificate)]
    certificate: Vec<(String, PathBuf)>,
    /// Bucket that access logs of the API and of Services may go to: its name and a folder; may be
    /// repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = parse_bucket)]
    bucket: Vec<(String, PathBuf)>,
    /// Where the load balancers made by the API stay over restarts [default: beside the
    /// configuration file; without one, nowhere]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Checks Services with externalTrafficPolicy Cluster at kube-proxy's port 10256, as
    /// ServiceLoadBalancerHealthProbeMode=Shared does
    #[arg(long, requires = "manifests")]
    shared_health_probe: bool,
    /// Lets targets see the addresses of clients where Services ask for it
    /// (preserve_client_ip.enabled); needs CAP_NET_ADMIN, and targets whose answers come back through
    /// this machine
    #[arg(long, requires = "manifests")]
    keep_client_addresses: bool,
    /// The node of each zone checks every target, as at AWS, for load balancers of the API and of
    /// manifests; a configuration file has `healthCheckers`
    #[arg(long)]
    check_from_each_zone: bool,
    /// How long changes of targets take to reach flows and DNS, 20 to 120 at AWS, for load balancers
    /// of the API and of manifests; a configuration file has `propagationDelaySeconds`
    #[arg(long, value_name = "SECONDS", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=600))]
    propagation_delay: u16,
    /// Drops, without an answer, what comes to ports of the load balancers' addresses that have no
    /// listener, as AWS does; needs nft and CAP_NET_ADMIN, and leaves loopback alone
    #[arg(long)]
    drop_unmatched: bool,
    /// Allows checks more often than AWS does, for tests
    #[arg(long, requires = "manifests")]
    allow_fast_checks: bool,
    /// API and metrics [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// DNS names of the load balancer and its zones, on UDP and TCP [default: off]
    #[arg(long, value_name = "ADDR")]
    dns: Option<SocketAddr>,
    /// Threads that carry flows [default: number of cores]
    #[arg(long, value_name = "COUNT")]
    workers: Option<std::num::NonZeroUsize>,
    /// Seconds that flows get to end after SIGTERM [default: 10]
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    #[command(flatten)]
    forward: Prefixed<ForwardArgs>,
}

#[derive(Debug, Args)]
struct ProxyArgs {
    /// Manifest file or folder; may be repeated
    #[arg(long, value_name = "PATH", default_value = "routes")]
    manifests: Vec<PathBuf>,
    /// How connections reach endpoints
    #[arg(long, value_name = "MODE", default_value = "userspace")]
    mode: ProxyMode,
    /// How connections are shared in user space: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq or mh
    #[arg(long, value_name = "NAME", default_value = "rr")]
    scheduler: Kind,
    /// Node that this is, for traffic policies and hints [default: a node without endpoints]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    node_name: String,
    /// Zone of the node, for hints [default: none]
    #[arg(long, value_name = "ZONE", default_value = "", hide_default_value = true)]
    zone: String,
    /// Where virtual addresses are on this machine, such as 10.96.0.0/16=127.96.0.0/16; may be repeated
    #[arg(long, value_name = "CIDR=CIDR")]
    vip_map: Vec<AddressMap>,
    /// Address of this machine for node ports; may be repeated [default: no node ports]
    #[arg(long, value_name = "ADDR")]
    node_address: Vec<IpAddr>,
    /// Sources that are pods: they reach outer addresses whatever their policy; may be repeated
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Vec<IpNet>,
    /// Most connections and UDP flows at a time, in user space
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    max_connections: usize,
    /// Seconds that connections of user space get to end after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    grace: u64,
    /// Range of the cluster IPs: nftables drops what comes to one that no Service has; may be repeated
    #[arg(long, value_name = "CIDR")]
    service_cidr: Vec<IpNet>,
    /// Seconds after which rules of nftables that somebody else has changed are made right
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    sync_period: u64,
    /// Leaves the rules of nftables in place after SIGTERM
    #[arg(long)]
    keep_rules: bool,
    /// Port of /healthz and /livez [default: 127.0.0.1:10256, when it is free]
    #[arg(long, value_name = "ADDR")]
    healthz_bind_address: Option<SocketAddr>,
    /// Port of /metrics [default: 127.0.0.1:10249, when it is free]
    #[arg(long, value_name = "ADDR")]
    metrics_bind_address: Option<SocketAddr>,
}

/// How `wharf proxy` carries connections.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ProxyMode {
    /// Listeners and relays of this process; TCP and UDP
    Userspace,
    /// Rules of the kernel in this network namespace; needs root and the tool nft
    Nftables,
}

#[derive(Debug, Args)]
struct BackendArgs {
    /// Listener
    #[arg(long, value_name = "ADDR", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Name of the pod
    #[arg(long, default_value = "backend")]
    name: String,
    /// Namespace of the pod
    #[arg(long, default_value = "default")]
    namespace: String,
    /// PEM certificate chain
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM private key
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Seconds to keep serving after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    lame_duck: u64,
}

#[derive(Debug, Args)]
struct UpArgs {
    /// Manifest file or folder; may be repeated
    #[arg(long, value_name = "PATH", default_value = "routes")]
    manifests: Vec<PathBuf>,
    /// Where the development certificates are
    #[arg(long, value_name = "DIR", default_value = "certs")]
    certs: PathBuf,
    /// Writes an access log to stdout
    #[arg(long)]
    access_log: bool,
    #[command(flatten)]
    dns: Prefixed<AnsweringArgs>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Manifest files and folders
    #[arg(value_name = "PATH", required_unless_present = "schema")]
    paths: Vec<PathBuf>,
    /// Prints the JSON schema of the Route object instead
    #[arg(long)]
    schema: bool,
}

/// Where the client commands look.
#[derive(Debug, Args)]
struct Place {
    /// Admin port of a running router [default: 127.0.0.1:1936], or API of the NLB for targets
    #[arg(long, value_name = "ADDR", conflicts_with = "manifests")]
    server: Option<SocketAddr>,
    /// Looks at manifests instead of a running router; may be repeated
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// A URL such as <http://app-dev.example.com/path>, or a code such as WH1001
    #[arg(value_name = "URL|CODE")]
    what: String,
    #[command(flatten)]
    place: Place,
    /// Output: text or json
    #[arg(short, long, value_enum, default_value_t = Explained::Text)]
    output: Explained,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Explained {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For programs.
    Json,
}

/// Which objects are meant.
#[derive(Debug, Args)]
struct Which {
    /// routes, services, endpoints, certs or targets; with one name also as routes/NAME
    #[arg(value_name = "KIND")]
    resource: Resource,
    /// Only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only this namespace
    #[arg(short, long, value_name = "NS", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces, as without -n
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only routes with these labels, such as app=shop,tier in (a,b)
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<LabelSelector>,
}

#[derive(Debug, Args)]
struct GetArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
    /// Output: table, wide, json, yaml, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    /// Prints no column names
    #[arg(long)]
    no_headers: bool,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct TraceArgs {
    /// A URL such as <https://app-dev.example.com/path>, or the name of a Service such as
    /// web.shop.svc.cluster.local
    #[arg(value_name = "URL|NAME")]
    what: String,
    /// Sends nothing: says what would happen, by the APIs alone
    #[arg(long)]
    explain: bool,
    /// Where to connect, whatever names mean [default: the answer of --dns, else 127.0.0.1 with the
    /// port of the URL, or 8080 and 8443 as in `wharf up`]
    #[arg(long, value_name = "ADDR:PORT")]
    via: Option<SocketAddr>,
    /// DNS server that is asked for the host, or the word system [default: none for a URL,
    /// 127.0.0.1:8053 for a Service]
    #[arg(long, value_name = "ADDR:PORT|system")]
    dns: Option<DnsServer>,
    /// API of the load balancer
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9090")]
    nlb_server: SocketAddr,
    /// Admin port of a router; may be repeated [default: 127.0.0.1:1936 and 127.0.0.1:1937]
    #[arg(long, alias = "server", value_name = "ADDR:PORT")]
    admin: Vec<SocketAddr>,
    /// PEM authorities for TLS [default: certs/ca.pem, else those of the system]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Takes any certificate
    #[arg(long)]
    insecure: bool,
    /// Seconds for each step
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=15))]
    timeout: u64,
    /// Output: text or json
    #[arg(short, long, value_enum, default_value_t = Explained::Text)]
    output: Explained,
}

#[derive(Debug, Args)]
struct CertArgs {
    /// Folder for the CA, the certificates and the Secrets
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// Manifests whose TLS routes get a Secret; may be repeated
    #[arg(long, value_name = "PATH", default_value = "routes")]
    manifests: Vec<PathBuf>,
    /// Mints anew what exists
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct HealthcheckArgs {
    /// What to ask
    #[arg(default_value = "http://127.0.0.1:1936/healthz/ready")]
    url: String,
    /// Asks a DNS server for the zone's SOA record instead
    #[arg(long, value_name = "ADDR")]
    dns: Option<SocketAddr>,
    /// Cluster domain for --dns
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
}

/// Parses the arguments of the process and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // A DNS server holds little. The word is enough: taken for the command where it is something else, it costs
    // the process its huge pages and a second start.
    if env::has_argument("dns") {
        small::start();
    }
    let cli = Cli::parse();
    if let Err(error) = logs::init(cli.log_json, &cli.log) {
        return failed(&error.into());
    }
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// One line with the whole chain of causes.
fn failed(error: &anyhow::Error) -> ExitCode {
    let _nowhere_left_to_say_it = writeln!(std::io::stderr(), "wharf: {error:#}");
    ExitCode::FAILURE
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    if !dispatch::is_server(&command) {
        return dispatch::client(command);
    }
    // Data-path workers have runtimes of their own; this one carries control tasks and clients.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(dispatch::control_threads(&command))
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(dispatch::serve(command));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}
