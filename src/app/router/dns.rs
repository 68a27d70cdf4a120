//! The DNS server of `wharf router --dns`: the same map that the router serves from.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::dns::bind,
    dns::{server, stats::DnsStats},
    zone::Zone,
};

/// Binds `address` on UDP and TCP and starts to serve `zone`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    zone: Arc<ArcSwap<Zone>>,
    cancel: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let sockets = bind(address)?;
    let bound = sockets.udp.local_addr()?;
    let stats = Arc::new(DnsStats::default());
    tasks.spawn(server::serve(sockets.udp, sockets.tcp, zone, None, stats, cancel.clone()));
    Ok(bound)
}
