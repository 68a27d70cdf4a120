//! `wharf nlb`: starts the NLB emulator from a file, follows the file, drains at SIGTERM.
//!
//! Called by `main`. [`serve_api`] is also used by `wharf up`. Always holds: a bad edit of the file
//! is logged with its place and changes nothing.

mod api;
mod watch;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

pub use api::serve_api;

use crate::{
    net::listen,
    nlb::{
        NlbHandle,
        config::{parse_file, read_text},
        server::Drained,
    },
};

/// Options of `wharf nlb`.
#[derive(Clone, Debug)]
pub struct NlbOptions {
    /// Configuration file.
    pub config: PathBuf,
    /// Address of the API and metrics; off when absent.
    pub api: Option<SocketAddr>,
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
/// The configuration is wrong, an address cannot be bound, or a second signal ended the draining.
pub async fn run(options: NlbOptions) -> anyhow::Result<()> {
    let mut stop = Stop::new().context("cannot listen for signals")?;
    let text = read_text(&options.config)?;
    let config = parse_file(&options.config, &text)?;
    let handle = NlbHandle::start(config, CancellationToken::new()).await?;
    let api = options.api.map(bind).transpose()?;
    let serve = async {
        match api {
            Some(listener) => serve_api(listener, handle.clone()).await,
            None => std::future::pending().await,
        }
    };
    let served = async { tokio::join!(serve, watch::follow(options.config, text, &handle)) };
    tokio::select! {
        signal = stop.next() => tracing::info!(signal, "draining"),
        _never = served => {},
    }
    tokio::select! {
        drained = handle.drain(options.grace) => {
            if drained == Drained::Reset {
                tracing::warn!("flows that outlived the grace period were reset");
            }
            Ok(())
        },
        signal = stop.next() => anyhow::bail!("stopped by a second signal ({signal})"),
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = listen::tcp(address)
        .map_err(|error| anyhow::anyhow!(listen::bind_help(address, &error)))?;
    Ok(TcpListener::from_std(socket)?)
}

/// The signals that end the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
