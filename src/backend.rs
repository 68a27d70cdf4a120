//! L4: the sample pod: a small web server that shows each request back and fails on demand.
//!
//! Called by `app::backend` (`wharf backend`) and `app::up`. It is what a newcomer's Route points
//! at, and what tests use to see what reached the pod. It is not part of the router's data path.
//! Always holds: connections, bodies, waits and messages are bounded, and no request can make the
//! process end.

mod answer;
mod body;
mod connection;
mod query;
mod reflect;
mod stream;
mod tls;
mod websocket;

use std::{
    io,
    sync::{Arc, atomic::AtomicU16},
    time::Duration,
};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::tls::{TlsError, server_config};

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// From the end of accepting to the end of the last connection.
const GRACE: Duration = Duration::from_secs(5);

/// Connections that are still taken from the kernel's queue when serving has been cancelled.
const MAX_LATE: usize = 4096;

/// Pause after an accept(2) that failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who a pod says it is, and the status of its `/health`. Clones are the same pod.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the pod.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    health: Arc<AtomicU16>,
}

impl Identity {
    /// A healthy pod.
    #[must_use]
    pub fn new(name: &str, namespace: &str) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            health: Arc::new(AtomicU16::new(200)),
        }
    }
}

/// What the connections of one listener share.
#[derive(Clone, Debug)]
struct Shared {
    identity: Identity,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Owns every task.
    tasks: TaskTracker,
    /// Finish the request in flight, then close.
    drain: CancellationToken,
    /// Close now.
    abort: CancellationToken,
}

/// Serves `listener` until `cancel`: HTTP/1.1 and h2c, or TLS when a configuration is given. Then
/// requests in flight may finish within 5 seconds.
///
/// # Errors
/// What the kernel says about the listener's own address. A connection's error ends that
/// connection only.
pub async fn serve(
    listener: TcpListener,
    identity: Identity,
    tls: Option<Arc<rustls::ServerConfig>>,
    cancel: CancellationToken,
) -> io::Result<()> {
    serve_with_grace(listener, identity, tls, cancel, GRACE).await
}

async fn serve_with_grace(
    listener: TcpListener,
    identity: Identity,
    tls: Option<Arc<rustls::ServerConfig>>,
    cancel: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let shared = Shared {
        identity,
        tls,
        tasks: TaskTracker::new(),
        drain: cancel.clone(),
        abort: CancellationToken::new(),
    };
    tracing::debug!(address = %local, pod = %shared.identity.name, "pod listening");
    accept_until_cancelled(listener, &shared, &cancel).await;
    shared.tasks.close();
    if tokio::time::timeout(grace, shared.tasks.wait()).await.is_err() {
        tracing::debug!(connections = shared.tasks.len(), "grace is over, closing connections");
        shared.abort.cancel();
        shared.tasks.wait().await;
    }
    Ok(())
}

/// Accepts connections; after `cancel`, only those that the kernel has already queued.
async fn accept_until_cancelled(
    listener: TcpListener,
    shared: &Shared,
    cancel: &CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut late = 0;
    while late < MAX_LATE {
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = cancel.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        late += usize::from(cancel.is_cancelled());
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((tcp, remote)) => {
                let connection = connection::serve(tcp, remote, shared.clone());
                let abort = shared.abort.clone();
                shared.tasks.spawn(async move {
                    abort.run_until_cancelled(connection).await;
                    drop(permit);
                });
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::select! {
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {},
                    () = cancel.cancelled() => return,
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
