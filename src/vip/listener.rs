//! Accepts at a virtual address, connects to the endpoint, relays.
//!
//! One task for each address that listens, one for each connection. Always holds: no more connections
//! than there are permits, and who comes then waits in the kernel's queue; a connection keeps its
//! endpoint whatever changes; an endpoint that does not answer is not replaced by another, as under
//! kube-proxy.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    front::Front,
    stats::{Counted, Counts, Totals},
};
use crate::net::{
    connect, listen,
    relay::{End, Idle, Keepalives, relay_until},
    reset,
};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest time for connecting to an endpoint.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection lives without a segment, as in the kernel's table of connections: established,
/// and once one side has ended.
const IDLE: Idle = Idle {
    open: Duration::from_secs(86_400),
    a_closed: Duration::from_secs(3600),
    b_closed: Duration::from_secs(3600),
    keepalives: Keepalives::Counted,
};

/// What all listeners share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Owns the connections.
    pub(super) flows: TaskTracker,
    /// One for each connection.
    pub(super) permits: Arc<Semaphore>,
    /// Resets the connections.
    pub(super) end: CancellationToken,
    /// Counts them.
    pub(super) totals: Arc<Totals>,
}

/// Accepts until `stop`.
pub(super) async fn accept_loop(
    front: Arc<Front>,
    socket: TcpListener,
    shared: Shared,
    stop: CancellationToken,
) {
    let next = async || {
        let permit = Arc::clone(&shared.permits).acquire_owned().await;
        (permit, socket.accept().await)
    };
    while let Some((permit, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((client, _)) => {
                let (front, end) = (Arc::clone(&front), shared.end.clone());
                let counted = Counted::new(&shared.totals, |totals| &totals.tcp);
                shared.flows.spawn(async move {
                    carry(&front, client, &end, counted.counts()).await;
                    drop(permit);
                });
            },
            Err(error) if listen::concerns_one_connection(&error) => {},
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            },
        }
    }
}

/// Carries one connection to its end. What cannot be carried is reset.
async fn carry(front: &Front, mut client: TcpStream, end: &CancellationToken, counts: &Counts) {
    let (Ok(source), Ok(local)) = (client.peer_addr(), client.local_addr()) else { return };
    let Some((address, mut carried)) = front.pick(source, local.ip()) else {
        tracing::debug!(%source, %local, "no endpoint for this client");
        Counts::add(&counts.refused);
        return reset::on_close(&client);
    };
    let connected = end.run_until_cancelled(connect::tcp(address, CONNECT)).await;
    let mut endpoint = match connected {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => {
            tracing::debug!(%local, endpoint = %address, %error, "connecting failed");
            Counts::add(&counts.failed);
            return reset::on_close(&client);
        },
        None => return reset::on_close(&client),
    };
    carried.established();
    let ends = end.cancelled();
    let relayed = relay_until(&mut client, &mut endpoint, IDLE, None, ends).await;
    if !matches!(relayed.end, End::Closed) {
        reset::on_close(&client);
        reset::on_close(&endpoint);
    }
}
