//! The DNS server of `wharf router --dns`: the same map that the router serves from.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    dns::server::{self, DnsStats},
    net::listen,
    zone::Zone,
};

/// Binds `address` on UDP and TCP and starts to serve `zone`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    zone: Arc<ArcSwap<Zone>>,
    cancel: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let help = |error: std::io::Error| anyhow::anyhow!(listen::bind_help(address, &error));
    let udp = listen::udp(address).map_err(help)?;
    let bound = udp.local_addr()?;
    let tcp = listen::tcp(bound).map_err(help)?;
    let udp = tokio::net::UdpSocket::from_std(udp)?;
    let tcp = tokio::net::TcpListener::from_std(tcp)?;
    let stats = Arc::new(DnsStats::default());
    tasks.spawn(server::serve(udp, tcp, zone, None, stats, cancel.clone()));
    Ok(bound)
}
