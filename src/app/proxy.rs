//! `wharf proxy`: manifests in, Services on their virtual addresses, until a signal.
//!
//! Called by `cli`. Always holds: an address that cannot be served is said once, and tried again at
//! every change.

use std::{
    collections::BTreeSet, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::signal::Signals;
use crate::{
    model::objects::Objects,
    services::{Service, build},
    source::{
        directory::Directory,
        watch::{self as manifests, Update},
    },
    vip::{Applied, VipOptions, Vips},
};

/// What `wharf proxy` is asked to do.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Manifest files and directories.
    pub manifests: Vec<PathBuf>,
    /// The data path.
    pub vip: VipOptions,
    /// How long connections may go on after SIGTERM.
    pub grace: Duration,
}

/// Serves until a signal stops it.
///
/// # Errors
/// When signals cannot be had.
pub async fn run(options: ProxyOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let cancel = CancellationToken::new();
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    // Generated hosts do not matter here: routes are not read.
    let directory = Directory::new(options.manifests, String::new());
    let watching = tokio::spawn(manifests::watch(directory, updates, cancel.clone()));
    let mut vips = Vips::new(options.vip);
    tokio::select! {
        () = signals.stop() => tracing::info!("draining"),
        () = follow(changed, &mut vips) => {},
    }
    cancel.cancel();
    let stop = async {
        if !vips.drain(options.grace).await {
            tracing::warn!("connections that outlived the grace period were reset");
        }
        watching.await?;
        Ok(())
    };
    signals.unless_again(stop).await
}

/// Applies every update.
async fn follow(mut updates: watch::Receiver<Arc<Update>>, vips: &mut Vips) {
    let (mut said, mut known) = (BTreeSet::new(), Vec::new());
    while updates.changed().await.is_ok() {
        let update = Arc::clone(&updates.borrow_and_update());
        for finding in update.findings.iter().filter(|finding| !known.contains(*finding)) {
            tracing::warn!("{finding}");
        }
        known.clone_from(&update.findings);
        let applied = vips.apply(&services(&update.objects)).await;
        report(&applied, &mut said);
    }
}

/// The Services of `objects`.
fn services(objects: &Objects) -> Vec<Arc<Service>> {
    build::build(objects).into_iter().map(Arc::new).collect()
}

/// Says how many addresses are served, and each that is not, once.
fn report(applied: &Applied, said: &mut BTreeSet<SocketAddr>) {
    tracing::info!(listening = applied.listening, "services applied");
    for (address, failure) in &applied.failed {
        if !said.contains(address) {
            tracing::warn!(%address, "virtual address is not served: {failure}");
        }
    }
    *said = applied.failed.iter().map(|(address, _)| *address).collect();
}
