//! Keeps the packet filter as the listeners are: `wharf nlb --drop-unmatched`.
//!
//! Run by `wharf nlb` beside everything else. Always holds: the filter follows the listeners within
//! [`LOOK`]; nothing of it is left at an orderly end, and what a killed process left is replaced at the
//! next start.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use super::Fleet;
use crate::{
    net::nft,
    nlb::silence::{Open, removal, script},
};

/// Between two looks at the listeners; a client whose SYN was dropped sends another one after a second.
const LOOK: Duration = Duration::from_millis(200);

/// Applies the rules for the listeners of `fleet` for ever. The first time counts: without the
/// privilege there is no silence, and the process says so and ends. `own` are the other ports of this
/// process, such as that of the API.
///
/// # Errors
/// The rules cannot be applied at the start.
pub(super) async fn follow(fleet: &Fleet, own: &[SocketAddr]) -> io::Result<()> {
    let mut applied = String::new();
    loop {
        let wanted = script(&open(fleet, own));
        if wanted != applied {
            match nft::apply(&wanted).await {
                Ok(()) => {
                    applied = wanted;
                    tracing::info!("ports without a listener are silent");
                },
                Err(error) if applied.is_empty() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the packet filter cannot follow the listeners");
                },
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes the rules away.
pub(super) async fn end() {
    if let Err(error) = nft::apply(&removal()).await {
        tracing::warn!(%error, "rules of the packet filter are left");
    }
}

fn open(fleet: &Fleet, own: &[SocketAddr]) -> Open {
    let mut open = Open::default();
    for handle in fleet.handles() {
        for (address, protocol) in handle.open_ports() {
            open.silent.insert(address.ip());
            if protocol.has_tcp() {
                open.tcp.insert(address);
            }
            if protocol.has_udp() {
                open.udp.insert(address);
            }
        }
        if let Some(config) = handle.config() {
            open.silent.extend(config.zones.iter().filter_map(|zone| zone.address));
        }
    }
    let own: BTreeSet<SocketAddr> = own.iter().copied().collect();
    open.tcp.extend(&own);
    open.udp.extend(&own);
    open
}
