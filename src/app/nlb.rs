//! `wharf nlb`: starts load balancers from a file and from manifests, follows both, drains at
//! SIGTERM.
//!
//! Called by `main`. [`serve_api`] is also used by `wharf up`. Always holds: a bad edit of a file is
//! logged with its place and changes nothing.

mod api;
mod dns;
mod elbv2;
mod explain;
pub mod fleet;
pub mod manifests;
mod metrics;
mod silence;
mod watch;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

pub use api::serve_api;
pub use dns::{Names, serve_names};
pub use elbv2::Elbv2;
pub use fleet::Fleet;

use super::{
    bind,
    dns::{self as cluster_dns, Forwarding},
    signal::Signals,
};
use crate::{
    nlb::{
        NlbHandle,
        account::{Environment, Instance},
        config::{parse_file, read_text},
        server::Drained,
    },
    source::{
        directory::Directory,
        watch::{self as source_watch, Update},
    },
    task::workers::Workers,
};

/// Options of `wharf nlb`.
#[derive(Clone, Debug)]
pub struct NlbOptions {
    /// Configuration file of one load balancer.
    pub config: Option<PathBuf>,
    /// Manifest files and directories, whose Services of type LoadBalancer get a load balancer each.
    pub manifests: Vec<PathBuf>,
    /// How those load balancers are made.
    pub services: manifests::Options,
    /// What surrounds the account of the API.
    pub environment: Environment,
    /// Where that account stays over restarts; beside the configuration file when absent, and
    /// nowhere without one.
    pub state: Option<PathBuf>,
    /// Address of the API and metrics; off when absent.
    pub api: Option<SocketAddr>,
    /// Address of the DNS server for the names of the load balancers; off when absent.
    pub dns: Option<SocketAddr>,
    /// How that DNS server asks for other names.
    pub forwarding: Forwarding,
    /// Threads that carry flows.
    pub workers: usize,
    /// Drops what comes to ports of the load balancers' addresses that have no listener.
    pub drop_unmatched: bool,
    /// How long open flows may go on after SIGTERM.
    pub grace: Duration,
}

/// Default of [`NlbOptions::api`].
pub const DEFAULT_API: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
/// Default of [`NlbOptions::grace`].
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The configuration file is wrong, or an address cannot be bound. What is wrong with manifests is
/// logged.
pub async fn run(options: NlbOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let workers = Workers::start(options.workers)?;
    let file = match &options.config {
        Some(path) => {
            let text = read_text(path)?;
            let config = parse_file(path, &text)?;
            let cancel = CancellationToken::new();
            let handle = NlbHandle::start_on(workers.clone(), config, cancel).await?;
            Some((path.clone(), text, handle))
        },
        None => None,
    };
    let fleet = file.as_ref().map_or_else(Fleet::default, |(_, _, handle)| handle.clone().into());
    let api = options.api.map(bind::tokio_tcp).transpose()?;
    let beside = options.config.as_deref().and_then(std::path::Path::parent);
    let elbv2 = Elbv2::open(
        options.environment.clone(),
        options.state.as_deref().or(beside),
        fleet.clone(),
        workers.clone(),
        options.grace,
    )
    .await?;
    let serve = async {
        if let Some(listener) = api {
            serve_api(listener, fleet.clone(), Some(elbv2)).await;
        }
    };
    let names = options.dns.map(cluster_dns::bind).transpose()?;
    let bound = names.as_ref().map(|sockets| sockets.udp.local_addr()).transpose()?;
    let forward = bound.map(|at| cluster_dns::forwarder(&options.forwarding, at)).transpose()?;
    let outside = (forward.flatten(), options.forwarding.settings.clone());
    let names = async {
        if let Some(sockets) = names {
            serve_names(sockets, fleet.clone(), outside, CancellationToken::new()).await;
        }
    };
    let file = async {
        if let Some((path, text, handle)) = file {
            watch::follow(path, text, &handle).await;
        }
    };
    let own: Vec<SocketAddr> = options.api.into_iter().chain(options.dns).collect();
    let silence = async {
        match options.drop_unmatched {
            true => silence::follow(&fleet, &own).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.stop() => tracing::info!("draining"),
        ended = silence => ended.context("--drop-unmatched")?,
        _never = async {
            tokio::join!(serve, names, file, follow_manifests(&options, &fleet, &workers));
            std::future::pending::<()>().await;
        } => {},
    }
    let stop = async {
        if fleet.drain(options.grace).await == Drained::Reset {
            tracing::warn!("flows that outlived the grace period were reset");
        }
        Ok(())
    };
    let code = signals.unless_again(stop).await;
    if options.drop_unmatched {
        silence::end().await;
    }
    code
}

/// Reads the manifests, if there are any, and follows them for ever.
async fn follow_manifests(options: &NlbOptions, fleet: &Fleet, workers: &Workers) {
    if options.manifests.is_empty() {
        return;
    }
    let (updates, changed) = tokio::sync::watch::channel(Arc::new(Update::default()));
    // Generated hosts do not matter: Routes are for routers.
    let directory = Directory::new(options.manifests.clone(), String::new());
    tokio::join!(
        source_watch::watch(directory, updates, CancellationToken::new()),
        fleet::follow(changed, fleet, workers, &options.services, options.grace),
    );
}

/// `ID=ADDRESS` or `ID=ADDRESS@ZONE`: a machine.
///
/// # Errors
/// It is neither.
pub fn parse_instance(text: &str) -> Result<(String, Instance), String> {
    let (id, place) = text.split_once('=').ok_or("a machine is ID=ADDRESS or ID=ADDRESS@ZONE")?;
    let (address, zone) = match place.split_once('@') {
        Some((address, zone)) => (address, Some(zone.into())),
        None => (place, None),
    };
    let address = address.parse().map_err(|_not_one| format!("`{address}` is not an address"))?;
    Ok((id.to_owned(), Instance { address, zone }))
}

/// `NAME=DIR`: a bucket for access logs.
///
/// # Errors
/// It is not.
pub fn parse_bucket(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        },
        _ => Err("a bucket is NAME=DIR".to_owned()),
    }
}

/// `ARN=FILE`: a certificate.
///
/// # Errors
/// It is not.
pub fn parse_certificate(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((arn, path)) if arn.starts_with("arn:") && !path.is_empty() => {
            Ok((arn.to_owned(), path.into()))
        },
        _ => Err("a certificate is ARN=FILE".to_owned()),
    }
}
