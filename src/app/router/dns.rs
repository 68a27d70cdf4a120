//! The DNS server of `wharf router --dns`: the same map that the router serves from.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::dns::bind,
    dns::{server, stats::DnsStats},
    proxy::stats::RouterStats,
    zone::Zone,
};

/// Binds `address` on UDP and TCP and starts to serve `zone`; what it counts is among the metrics of `router`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    zone: Arc<ArcSwap<Zone>>,
    router: &RouterStats,
    cancel: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let sockets = bind(address)?;
    let bound = sockets.udp.local_addr()?;
    let stats = Arc::new(DnsStats::default());
    let _only_one = router.dns.set((Arc::clone(&stats), bound));
    tasks.spawn(server::serve(sockets.udp, sockets.tcp, zone, None, stats, cancel.clone()));
    Ok(bound)
}
