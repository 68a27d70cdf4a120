//! The DNS server of `wharf router --dns`: the same map that the router serves from.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::dns::{Answering, bind, forwarder},
    dns::{server::Server, stats::DnsStats},
    proxy::stats::{DnsCounts, RouterStats},
    zone::Zone,
};

/// Binds `address` on UDP and TCP and starts to serve the zone, and what it is to answer beside it; what it
/// counts is among the metrics of `router`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    (zone, answering): (Arc<ArcSwap<Zone>>, Answering),
    router: &RouterStats,
    cancel: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let sockets = bind(address)?;
    let bound = sockets.udp.local_addr().context("reading the address of the DNS listener")?;
    let forward = forwarder(&answering.forwarding, bound)?;
    let stats = Arc::new(DnsStats::default());
    let counts = DnsCounts { stats: Arc::clone(&stats), address: bound, resolver: forward.clone() };
    let _only_one = router.dns.set(counts);
    let server = Server::new(zone, forward, stats, answering.forwarding.settings);
    let server = server.at(Some(bound.ip())).with_view(answering.view);
    tasks.spawn(Arc::new(server).run(sockets.udp, sockets.tcp, cancel.clone()));
    Ok(bound)
}
