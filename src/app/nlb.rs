//! `wharf nlb`: starts the NLB emulator from a file, follows the file, drains at SIGTERM.
//!
//! Called by `main`. [`serve_api`] is also used by `wharf up`. Always holds: a bad edit of the file
//! is logged with its place and changes nothing.

mod api;
mod dns;
mod metrics;
mod watch;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use tokio_util::sync::CancellationToken;

pub use api::serve_api;
pub use dns::serve_names;

use super::{bind, dns as cluster_dns, signal::Signals};
use crate::nlb::{
    NlbHandle,
    config::{parse_file, read_text},
    server::Drained,
};

/// Options of `wharf nlb`.
#[derive(Clone, Debug)]
pub struct NlbOptions {
    /// Configuration file.
    pub config: PathBuf,
    /// Address of the API and metrics; off when absent.
    pub api: Option<SocketAddr>,
    /// Address of the DNS server for the names of the load balancer; off when absent.
    pub dns: Option<SocketAddr>,
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
/// The configuration is wrong, or an address cannot be bound.
pub async fn run(options: NlbOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let text = read_text(&options.config)?;
    let config = parse_file(&options.config, &text)?;
    let handle = NlbHandle::start(config, CancellationToken::new()).await?;
    let api = options.api.map(bind::tokio_tcp).transpose()?;
    let serve = async {
        match api {
            Some(listener) => serve_api(listener, handle.clone()).await,
            None => std::future::pending().await,
        }
    };
    let names = options.dns.map(cluster_dns::bind).transpose()?;
    let names = async {
        if let Some(sockets) = names {
            serve_names(sockets, handle.clone(), CancellationToken::new()).await;
        }
    };
    let served = async { tokio::join!(serve, names, watch::follow(options.config, text, &handle)) };
    tokio::select! {
        () = signals.stop() => tracing::info!("draining"),
        _never = served => {},
    }
    let stop = async {
        if handle.drain(options.grace).await == Drained::Reset {
            tracing::warn!("flows that outlived the grace period were reset");
        }
        Ok(())
    };
    signals.unless_again(stop).await
}
