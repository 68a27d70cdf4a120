//! A downstream connection from accept to the HTTP engine: PROXY header, TLS or plain, protocol.
//!
//! `accept` runs once for each worker and listener. Accept errors are counted and waited out, never
//! fatal. A connection beyond the limit waits in the kernel's queue [LSN-7].

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    detail::{Arrival, Told},
    gated::GateCell,
    hello, http1, http2, passthrough,
    record::Frontend,
    secure::{self, Secured},
    serve::Connection,
    worker::{Busy, Worker},
};
use crate::{
    model::reason::Reason,
    net::{
        listen, peek,
        proxy_protocol::{self, ReadError},
        readable::Readable,
        reset,
        timed::{Expired, Limits, Phase, PhaseCell, TimedIo},
    },
    sources::Counted,
    task,
};

/// Pause after an accept error such as EMFILE.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for `frontend` (`Public` or `PublicSsl`) until the process stops accepting.
pub async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    frontend: Frontend,
    slots: Arc<Semaphore>,
) {
    let stopped = worker.drain.stopped.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match place(&worker, &slots).await {
                Some(slot) => start(&worker, stream, peer, frontend, slot),
                None => break,
            },
            Err(error) => {
                worker.stats.workers.cell(worker.index).accept_errors.add(1);
                if !listen::concerns_one_connection(&error) {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // What waits in the kernel's queue would be reset when the socket closes (decisions 13).
    while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
        match tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((stream, peer))) => start(&worker, stream, peer, frontend, slot),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// A place among the connections at once. At the limit this waits, and what comes after waits in the
/// kernel's queue [LSN-7]; `None` when the process stops accepting meanwhile.
async fn place(worker: &Worker, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    worker.stats.workers.cell(worker.index).limit_reached.add(1);
    tokio::select! {
        slot = Arc::clone(slots).acquire_owned() => slot.ok(),
        () = worker.drain.stopped.cancelled() => None,
    }
}

fn start(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    frontend: Frontend,
    slot: OwnedSemaphorePermit,
) {
    let open = Open::new(worker, frontend, slot);
    let worker = Rc::clone(worker);
    // Owned by the worker's runtime; ends by its own limits or with `killed`.
    task::spawn_local::<{ task::CONNECTION }, _>(async move {
        // Each part is on the heap for as long as it lasts: an idle connection does not carry what its
        // handshake took.
        let serving = Box::pin(connection(worker, stream, peer, frontend, open)).await;
        if let Some(serving) = serving {
            serving.await;
        }
    });
}

/// An accepted connection: it is counted, holds its slot and keeps its worker running until this is
/// dropped, whatever ends it. Its tunnel holds it on.
#[derive(Debug)]
pub struct Open {
    busy: Busy,
    frontend: Frontend,
    /// The frontend behind its TLS.
    decrypted: Option<Frontend>,
    _slot: OwnedSemaphorePermit,
    /// Its place among those of its source, where these are limited.
    counted: Option<Box<Counted>>,
}

impl Open {
    pub(super) fn new(worker: &Rc<Worker>, frontend: Frontend, slot: OwnedSemaphorePermit) -> Self {
        worker.stats.frontend(frontend, worker.index).connections.add(1);
        worker.stats.connections.add(1);
        enter(worker, frontend);
        Self { busy: worker.begin(), frontend, decrypted: None, _slot: slot, counted: None }
    }

    /// Counts the connection to its source; false when that has as many as it may (S-50).
    fn count(&mut self, source: Option<IpAddr>) -> bool {
        let worker = self.busy.worker();
        let limit = worker.settings.max_connections_per_source;
        let Some(source) = source.filter(|_| limit > 0) else { return true };
        self.counted = worker.stats.sources.enter(source, limit).map(Box::new);
        self.counted.is_some()
    }

    /// The connection's TLS has ended here: from now on it is one of `frontend` as well.
    pub(super) fn decrypted(&mut self, frontend: Frontend) {
        let worker = self.busy.worker();
        worker.stats.frontend(frontend, worker.index).connections.add(1);
        enter(worker, frontend);
        self.decrypted = Some(frontend);
    }
}

/// One more connection of `frontend`.
fn enter(worker: &Worker, frontend: Frontend) {
    let levels = &worker.stats.levels[frontend as usize];
    levels.most_open.note(levels.open.rise());
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = self.busy.worker();
        for frontend in [Some(self.frontend), self.decrypted].into_iter().flatten() {
            worker.stats.frontend(frontend, worker.index).closed.add(1);
            worker.stats.levels[frontend as usize].open.add(-1);
        }
        worker.stats.connections.add(-1);
        if std::thread::panicking() {
            worker.stats.workers.cell(worker.index).panics.add(1);
        }
    }
}

/// A connection that is ready to be served; what is passed through goes on in a task of its own.
pub(super) type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// What comes before HTTP: the PROXY header, and TLS or a look at the protocol. `None` when it ended
/// there.
async fn connection(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    frontend: Frontend,
    mut open: Open,
) -> Option<Serving> {
    let opened = (!worker.needs.is_empty()).then(Arrival::now);
    let Ok(local) = stream.local_addr() else { return None };
    let Addresses { client, destination, source } =
        match addresses(&worker, &stream, peer, local).await {
            Ok(addresses) => addresses,
            // A load balancer that only looks whether the port is open.
            Err(ReadError::Closed { received: 0 }) => return None,
            Err(error) => {
                tracing::debug!(%peer, %error, "PROXY header refused");
                refused(&worker, frontend, Reason::ProxyHeader);
                return None;
            },
        };
    if !open.count(source) {
        worker.stats.workers.cell(worker.index).source_limited.add(1);
        refused(&worker, frontend, Reason::Overload);
        return None;
    }
    let told = Told::begin(&worker, client, destination, opened);
    let admin = &worker.settings.admin_port;
    let near = || source.is_none() || client.ip().is_loopback() || client.ip() == destination.ip();
    let health = admin.haproxy && frontend == Frontend::Public && (admin.health_anywhere || near());
    let port = destination.port();
    let about = About { client, port, frontend, http2: false, health, secured: None, told, open };
    if frontend == Frontend::PublicSsl {
        encrypted(worker, stream, about).await
    } else {
        plain(worker, stream, about).await
    }
}

/// The TLS port: a connection is passed through or its TLS ends here, by the server name and the
/// snapshot that serves when its ClientHello is complete [LSN-5]. Whoever has said none within
/// ROUTER_INSPECT_DELAY is closed [LSN-4]; the handshake behind it has a limit of its own.
async fn encrypted(worker: Rc<Worker>, stream: TcpStream, mut about: About) -> Option<Serving> {
    let timeouts = &worker.settings.timeouts;
    match tokio::time::timeout(timeouts.inspect, hello::read(&stream)).await {
        // As a load balancer does that looks whether the port is open.
        Ok(Ok(hello)) if hello.is_empty() => {
            about.ended(*b"CR", true);
            return None;
        },
        Ok(Ok(hello)) => match hello::passthrough(&worker, &hello) {
            Some(taken) => {
                passthrough::run(worker, stream, hello, taken, about).await;
                return None;
            },
            None => {
                if let Some(told) = &mut about.told {
                    told.terminated(&hello);
                }
                let deadline = Instant::now() + timeouts.handshake;
                return secure::run(worker, stream, hello, deadline, about).await;
            },
        },
        Ok(Err(error)) => {
            about.ended(*b"CR", false);
            tracing::debug!(client = %about.client, %error, "no ClientHello");
        },
        Err(_elapsed) => about.ended(*b"cR", false),
    }
    refused(&worker, Frontend::PublicSsl, Reason::TlsHandshake);
    None
}

/// Counts a connection that the router ends for what its client did.
pub(super) fn refused(worker: &Worker, frontend: Frontend, reason: Reason) {
    worker.stats.count_reason(worker.index, reason);
    worker.stats.frontend(frontend, worker.index).request_errors.add(1);
}

/// Whom a connection is from and to.
struct Addresses {
    client: SocketAddr,
    destination: SocketAddr,
    /// Who is to be counted, if anybody. Never a load balancer: where PROXY headers are required, one
    /// that names no client is of the load balancer itself, such as a health check (S-50).
    source: Option<IpAddr>,
}

/// Client and destination: the socket's own, or those of the PROXY header, which is then required
/// [LSN-3]. An IPv4 address mapped into IPv6 is written as itself, so that lists, logs and header
/// fields see one spelling (S-60, F-45).
async fn addresses(
    worker: &Worker,
    stream: &TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<Addresses, ReadError> {
    let (peer, local) = (canonical(peer), canonical(local));
    if !worker.settings.proxy_protocol {
        return Ok(Addresses { client: peer, destination: local, source: Some(peer.ip()) });
    }
    let header = proxy_protocol::read(stream, worker.settings.timeouts.proxy_header).await?;
    Ok(Addresses {
        client: header.source.unwrap_or(peer),
        destination: header.destination.unwrap_or(local),
        source: header.source.map(|source| source.ip()),
    })
}

/// `address` without a mapping of IPv4 into IPv6, and without a scope.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn plain(worker: Rc<Worker>, mut stream: TcpStream, mut about: About) -> Option<Serving> {
    let limit = worker.settings.timeouts.head;
    let stopped = async {
        worker.drain.stopped.cancelled().await;
        tokio::time::sleep(http1::FIRST_REQUEST).await;
    };
    let sniffed = tokio::select! {
        biased;
        sniffed = tokio::time::timeout(limit, peek::sniff(&mut stream)) => sniffed,
        () = stopped => return None,
    };
    match sniffed {
        Ok(Ok(sniffed)) if sniffed.prefix.is_empty() => about.ended(*b"CR", true),
        Ok(Ok(sniffed)) => {
            about.http2 = sniffed.http2;
            return Some(Box::pin(serve(worker, stream, sniffed.prefix, about, reset::on_close)));
        },
        Ok(Err(error)) => tracing::debug!(client = %about.client, %error, "no first byte"),
        Err(_elapsed) => {
            about.ended(*b"cR", true);
            if !worker.settings.log.ignore_probes {
                refused(&worker, Frontend::Public, Reason::ClientTimeout);
            }
        },
    }
    None
}

/// What is known of a connection before its first request.
pub(super) struct About {
    pub(super) client: SocketAddr,
    pub(super) port: u16,
    pub(super) frontend: Frontend,
    pub(super) http2: bool,
    /// It may ask for the health page of the plain port [ADMIN-5].
    pub(super) health: bool,
    pub(super) secured: Option<Box<Secured>>,
    pub(super) told: Option<Box<Told>>,
    pub(super) open: Open,
}

impl About {
    /// It is over before it had a request; `is_null` says that nothing came at all.
    fn ended(&self, state: [u8; 2], is_null: bool) {
        if let Some(told) = &self.told {
            told.ended(self.frontend, if state[0] == b'c' { 408 } else { 400 }, state, is_null);
        }
    }
}

/// Hands the stream to the HTTP engine and counts how the connection ended. `give_up` is for a client
/// that takes nothing.
pub(super) async fn serve<S>(
    worker: Rc<Worker>,
    stream: S,
    prefix: Bytes,
    about: About,
    give_up: fn(&S),
) where
    S: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
{
    let timeouts = &worker.settings.timeouts;
    let limits = Limits { idle: timeouts.keep_alive, head: timeouts.head, body: timeouts.client };
    let phase = PhaseCell::new(about.http2);
    let gate = Arc::<GateCell>::default();
    let connection = Rc::new(Connection {
        worker: Rc::clone(&worker),
        client: about.client,
        port: about.port,
        frontend: about.frontend,
        health: about.health,
        secured: about.secured,
        phase: Arc::clone(&phase),
        gate: Arc::clone(&gate),
        requests: std::cell::Cell::new(0),
        said: std::cell::RefCell::default(),
        alarm: std::cell::RefCell::default(),
        told: about.told,
        open: about.open,
    });
    let told = connection.told.as_ref().map(|_| Rc::clone(&connection));
    let io = TimedIo::new(stream, prefix, Arc::clone(&phase), limits).giving_up(give_up);
    let ended = if about.http2 {
        http2::run(connection, io).await
    } else {
        http1::run(connection, io).await
    };
    // A head that had begun was answered, and counted with its answer.
    let told = told.as_ref().and_then(|connection| connection.told.as_ref());
    if phase.expired() == Some(Expired::Read(Phase::Head)) && !gate.has_refused() {
        if let Some(told) = told {
            told.ended(about.frontend, 408, *b"cR", true);
        }
        if !worker.settings.log.ignore_probes {
            refused(&worker, about.frontend, Reason::ClientTimeout);
        }
        return;
    }
    let in_head = !about.http2 && phase.phase() == Phase::Head && !gate.has_refused();
    if let Some(told) = told.filter(|_| in_head) {
        told.ended(about.frontend, 400, *b"CR", false);
    }
    if let Err(error) = ended {
        tracing::debug!(client = %about.client, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-60, F-45
    #[test]
    fn f_45_a_mapped_client_is_an_ipv4_client() {
        for (peer, client) in [
            ("[::ffff:192.0.2.7]:443", "192.0.2.7:443"),
            ("192.0.2.7:443", "192.0.2.7:443"),
            ("[2001:db8::7]:443", "[2001:db8::7]:443"),
            ("[fe80::1%3]:443", "[fe80::1]:443"),
        ] {
            let (peer, client): (SocketAddr, SocketAddr) =
                (peer.parse().unwrap(), client.parse().unwrap());
            assert_eq!(canonical(peer), client);
        }
    }
}
