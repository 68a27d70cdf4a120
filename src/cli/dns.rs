//! The flags of `wharf dns`: those of every DNS server (`answering`), and what the process tells of itself.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::answering::AnsweringArgs;
use crate::{
    app::dns::{DnsOptions, Ports, Serving, run},
    dns::log::Classes,
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
    answering: AnsweringArgs,
    #[command(flatten)]
    serving: ServingArgs,
}

#[derive(Debug, Args)]
struct ServingArgs {
    /// Threads that answer, among which the clients are divided
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
    DnsOptions {
        manifests: args.manifests,
        listen: args.listen,
        cluster_domain: args.cluster_domain,
        answering: args.answering.into(),
    }
}
