//! The data path of `wharf proxy`: user space or the kernel's packet filter, driven alike.
//!
//! Held by the parent module. Always holds: an address that cannot be served is said once, and tried
//! again at every change.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    services::{Node, Service},
    vip::{
        VipOptions, Vips,
        nft::{Filter, NftOptions},
    },
};

/// How connections reach endpoints.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Listeners and relays of this process.
    Userspace(VipOptions),
    /// Rules of the kernel.
    Nftables {
        /// What the rules are made with.
        options: NftOptions,
        /// The rules stay when this process ends.
        keep: bool,
    },
}

impl Mode {
    /// The node that choices are made for.
    #[must_use]
    pub const fn node(&self) -> &Node {
        match self {
            Self::Userspace(options) => &options.node,
            Self::Nftables { options, .. } => &options.node,
        }
    }

    /// Addresses of this node.
    #[must_use]
    pub fn node_addresses(&self) -> &[IpAddr] {
        match self {
            Self::Userspace(options) => &options.node_addresses,
            Self::Nftables { options, .. } => &options.node_addresses,
        }
    }
}

/// The running path.
pub(super) enum Path {
    Userspace(Vips),
    Nftables { filter: Filter, keep: bool },
}

/// What came of a change.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Virtual addresses that take connections.
    pub(super) serving: usize,
    /// What is not served as its Service wants it, in words.
    pub(super) failed: BTreeSet<String>,
    /// Ports whose policy leaves no endpoint here, internal and external.
    pub(super) no_local: [usize; 2],
}

impl Path {
    pub(super) fn new(mode: Mode) -> Self {
        match mode {
            Mode::Userspace(options) => Self::Userspace(Vips::new(options)),
            Mode::Nftables { options, keep } => {
                Self::Nftables { filter: Filter::new(options), keep }
            },
        }
    }

    /// Takes over what the Services are now.
    pub(super) async fn apply(&mut self, services: &[Arc<Service>]) -> std::io::Result<Applied> {
        match self {
            Self::Userspace(vips) => {
                let applied = vips.apply(services).await;
                let failed = applied.failed.iter().map(|(address, failure)| {
                    format!("virtual address {address} is not served: {failure}")
                });
                let (serving, no_local) = (applied.listening, applied.no_local);
                Ok(Applied { serving, failed: failed.collect(), no_local })
            },
            Self::Nftables { filter, .. } => {
                let applied = filter.apply(services).await?;
                let failed = applied.taken.iter().map(|taken| {
                    format!(
                        "virtual address {} is not served: {} has it, and {} cannot have it too",
                        taken.address, taken.winner, taken.loser
                    )
                });
                let (serving, no_local) = (applied.serving, applied.no_local);
                Ok(Applied { serving, failed: failed.collect(), no_local })
            },
        }
    }

    /// Looks whether all is as it was made, and makes it so. True when there was something to do.
    pub(super) async fn check(&mut self) -> std::io::Result<bool> {
        match self {
            Self::Userspace(_) => Ok(false),
            Self::Nftables { filter, .. } => filter.check().await,
        }
    }

    /// Ends it; what goes on gets `grace`.
    pub(super) async fn stop(self, grace: Duration) -> anyhow::Result<()> {
        match self {
            Self::Userspace(vips) => {
                if !vips.drain(grace).await {
                    tracing::warn!("connections that outlived the grace period were reset");
                }
            },
            Self::Nftables { keep: true, .. } => {},
            Self::Nftables { filter, keep: false } => filter.remove().await?,
        }
        Ok(())
    }
}
