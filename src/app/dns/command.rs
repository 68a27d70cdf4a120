//! `wharf dns`: manifests to a served zone, until a signal.

use std::{process::ExitCode, sync::Arc};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{DnsOptions, ZoneService, bind, forwarder, serve_zone};
use crate::{
    app::signal::Signals,
    dns::stats::DnsStats,
    model::objects::Objects,
    source::{
        directory::Directory,
        watch::{self as manifests, Update},
    },
};

/// Runs the DNS server of `options` until a signal stops it.
///
/// # Errors
/// When the address cannot be bound, or the forwarders cannot be used.
pub async fn run(options: DnsOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let sockets = bind(options.listen)?;
    tracing::info!(address = %sockets.udp.local_addr()?, "listening");
    let service = ZoneService {
        sockets,
        domain: options.cluster_domain.clone(),
        options: options.zone.clone(),
        forward: forwarder(&options)?,
        stats: Arc::new(DnsStats::default()),
    };
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (updates, changed) = watch::channel(Arc::new(Update::default()));
    let (publish, objects) = watch::channel(Arc::new(Objects::default()));
    // Generated hosts do not matter to DNS: routes have no names of their own.
    let directory = Directory::new(options.manifests, String::new());
    tasks.spawn(manifests::watch(directory, updates, cancel.clone()));
    tasks.spawn(objects_of(changed, publish));
    tasks.spawn(serve_zone(service, objects, cancel.clone()));
    signals.stop().await;
    cancel.cancel();
    let ended = async {
        while tasks.join_next().await.is_some() {}
        Ok(())
    };
    signals.unless_again(ended).await
}

/// Hands on the objects of each update.
async fn objects_of(
    mut updates: watch::Receiver<Arc<Update>>,
    publish: watch::Sender<Arc<Objects>>,
) {
    while updates.changed().await.is_ok() {
        let objects = updates.borrow_and_update().objects.clone();
        publish.send_replace(Arc::new(objects));
    }
}
