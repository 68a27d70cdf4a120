//! The flags of `wharf dns`: what the zone shows, how names outside are asked for, and what the process
//! tells of itself.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use crate::{
    app::dns::{DnsOptions, Ports, Serving, parse_forward, parse_service, run},
    dns::{
        log::Classes,
        resolver::{CacheOptions, ForwardOptions, ForwardZone, Policy, PoolOptions, Prefetch},
        server::Settings,
    },
    model::objects::ObjectKey,
    zone::{
        PodMode, ZoneOptions,
        options::{MAX_TTL, REVERSE_ZONES},
        reverse_zone,
    },
};

#[derive(Debug, Args)]
pub(super) struct DnsArgs {
    /// Manifest file or folder; may be repeated
    #[arg(long, value_name = "PATH", default_value = "routes")]
    manifests: Vec<PathBuf>,
    /// UDP and TCP listener
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:53")]
    listen: SocketAddr,
    /// Cluster domain
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    forward: ForwardArgs,
    #[command(flatten)]
    serving: ServingArgs,
}

#[derive(Debug, Args)]
struct ZoneArgs {
    /// Which names below pod.<domain> exist
    #[arg(long, value_name = "MODE", default_value = "insecure")]
    pods: PodsMode,
    /// TTL of the records of Services and pods, seconds
    #[arg(long, value_name = "SECONDS", default_value = "5",
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_TTL)))]
    ttl: u32,
    /// Namespace whose names are shown; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
    /// Names an endpoint without a host name like its pod instead of its address
    #[arg(long)]
    endpoint_pod_names: bool,
    /// Services with a cluster IP but no ready endpoint do not exist
    #[arg(long)]
    ignore_empty_service: bool,
    /// Addresses that are answered here: a network such as 10.0.0.0/16, or a name below in-addr.arpa or
    /// ip6.arpa; may be repeated
    #[arg(long, value_name = "ZONE", value_parser = reverse_zone, default_values = REVERSE_ZONES)]
    reverse_zone: Vec<std::sync::Arc<str>>,
    /// An address that nothing here has does not exist, instead of being asked for outside
    #[arg(long)]
    no_fallthrough: bool,
    /// The Service that clients reach this server by, which the zone names as its name server
    /// [default: the one that has the address of --listen]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_service)]
    dns_service: Option<ObjectKey>,
}

#[derive(Debug, Args)]
struct ForwardArgs {
    /// Name servers for names outside the cluster domain, up to 15, for every name or for those of one
    /// zone; the longest zone counts; may be repeated
    #[arg(long, value_name = "[ZONE=]ADDR[,ADDR...]", value_parser = parse_forward)]
    forward: Vec<ForwardZone>,
    /// Asks the name servers of the system for names that no --forward is for
    #[arg(long)]
    forward_system: bool,
    /// Which name server of a zone is asked first
    #[arg(long, value_name = "POLICY", default_value = "sequential")]
    forward_policy: PolicyArg,
    /// Questions that wait for a name server at once; more are refused
    #[arg(long, value_name = "COUNT", default_value = "256",
          value_parser = clap::value_parser!(u16).range(1..))]
    forward_max_concurrent: u16,
    /// Longest time that an answer from outside is kept, seconds
    #[arg(long, value_name = "SECONDS", default_value = "900",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    cache_ttl: u64,
    /// The same for a name or type that does not exist
    #[arg(long, value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    cache_denial_ttl: u64,
    /// Answers kept at once, and as many denials; 0 keeps none
    #[arg(long, value_name = "COUNT", default_value = "9984",
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    cache_entries: u32,
    /// How long after its end an answer is given while it is asked for again, seconds; 0 is never
    #[arg(long, value_name = "SECONDS", default_value = "0",
          value_parser = clap::value_parser!(u64).range(..=86_400))]
    serve_stale: u64,
    /// Asks again before its end for what has been asked for this often, no more than a minute apart;
    /// 0 is never
    #[arg(long, value_name = "COUNT", default_value = "0")]
    prefetch: u32,
}

#[derive(Debug, Args)]
struct ServingArgs {
    /// Threads that answer datagrams, among which the kernel divides the clients
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Serves /health: 200 as long as the process answers, such as 0.0.0.0:8080 [default: off]
    #[arg(long, value_name = "ADDR")]
    health: Option<SocketAddr>,
    /// Serves /ready: 503 until there is a zone, such as 0.0.0.0:8181 [default: off]
    #[arg(long, value_name = "ADDR")]
    ready: Option<SocketAddr>,
    /// Serves /metrics for Prometheus under CoreDNS's names, such as 127.0.0.1:9153 [default: off]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Writes a line to standard output for each answer of the class; may be repeated [default: none]
    #[arg(long, value_name = "CLASS")]
    log_queries: Vec<QueryClass>,
    /// How long to go on serving, no longer ready, after the signal to stop, seconds
    #[arg(long, value_name = "SECONDS", default_value = "0",
          value_parser = clap::value_parser!(u32).range(..=3600))]
    lameduck: u32,
}

/// Answers, as CoreDNS's plugin `log` divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum QueryClass {
    /// Every answer
    All,
    /// The name or the type does not exist
    Denial,
    /// SERVFAIL, REFUSED and other codes
    Error,
    /// There is an answer
    Success,
}

/// Names of pods, as CoreDNS's option `pods` has them.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PodsMode {
    /// None
    Disabled,
    /// Every address, in a namespace that exists
    Insecure,
    /// Addresses of pods that an endpoint of the namespace names
    Verified,
}

/// Order of name servers, as CoreDNS's option `policy` has it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PolicyArg {
    /// The first that answers, in the order of the flags
    Sequential,
    /// Any
    Random,
    /// Each in turn
    #[value(name = "round_robin")]
    RoundRobin,
}

/// Runs `wharf dns`.
pub(super) async fn serve(args: DnsArgs) -> anyhow::Result<ExitCode> {
    let serving = serving(&args.serving);
    run(options(args), serving).await
}

fn serving(args: &ServingArgs) -> Serving {
    Serving {
        workers: usize::from(args.workers),
        ports: Ports { health: args.health, ready: args.ready, metrics: args.metrics },
        log: query_classes(&args.log_queries),
        lameduck: Duration::from_secs(args.lameduck.into()),
    }
}

fn query_classes(named: &[QueryClass]) -> Option<Classes> {
    let has = |class| named.contains(&QueryClass::All) || named.contains(&class);
    let classes = Classes {
        denial: has(QueryClass::Denial),
        error: has(QueryClass::Error),
        success: has(QueryClass::Success),
    };
    (!named.is_empty()).then_some(classes)
}

fn options(args: DnsArgs) -> DnsOptions {
    let ForwardArgs { forward_max_concurrent, forward_system, .. } = args.forward;
    DnsOptions {
        manifests: args.manifests,
        listen: args.listen,
        cluster_domain: args.cluster_domain,
        zone: zone(args.zone),
        asking: asking(&args.forward),
        forward: args.forward.forward,
        forward_system,
        settings: Settings { max_forwards: forward_max_concurrent.into(), ..Settings::default() },
    }
}

fn zone(args: ZoneArgs) -> ZoneOptions {
    ZoneOptions {
        pods: match args.pods {
            PodsMode::Disabled => PodMode::Disabled,
            PodsMode::Insecure => PodMode::Insecure,
            PodsMode::Verified => PodMode::Verified,
        },
        ttl: args.ttl,
        namespaces: args.namespace.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
        endpoint_pod_names: args.endpoint_pod_names,
        ignore_empty_service: args.ignore_empty_service,
        reverse_zones: args.reverse_zone,
        fallthrough: !args.no_fallthrough,
        dns_service: args.dns_service,
        ..ZoneOptions::default()
    }
}

fn asking(args: &ForwardArgs) -> ForwardOptions {
    let entries = usize::try_from(args.cache_entries).unwrap_or(usize::MAX);
    ForwardOptions {
        pool: PoolOptions {
            policy: match args.forward_policy {
                PolicyArg::Sequential => Policy::Sequential,
                PolicyArg::Random => Policy::Random,
                PolicyArg::RoundRobin => Policy::RoundRobin,
            },
            ..PoolOptions::default()
        },
        cache: CacheOptions {
            max_ttl: Duration::from_secs(args.cache_ttl),
            max_denial_ttl: Duration::from_secs(args.cache_denial_ttl),
            entries,
            denial_entries: entries,
            serve_stale: Duration::from_secs(args.serve_stale),
            prefetch: (args.prefetch > 0).then(|| Prefetch::after(args.prefetch)),
            ..CacheOptions::default()
        },
        ..ForwardOptions::default()
    }
}
