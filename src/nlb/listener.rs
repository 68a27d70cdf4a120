//! A listener with what its tasks share; over TCP: accepts, chooses a target, connects, relays.
//!
//! Started by `server`. Always holds: an accept error pauses the loop and never ends or spins it;
//! a flow keeps what it was started with when the listener's settings change.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    expired::Expired,
    flow::{Flow, Routing, Transport, weighted},
    stats::{self, ListenerStats},
    target::{Group, Picked, Target},
    tls::Front,
};
use crate::net::{
    alarm, connect, listen, proxy_protocol,
    relay::{End, Idle, Keepalives, Relayed, Side, relay_until},
    reset, saved_syn, transparent,
};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections taken from the kernel's queue after the end of accepting.
const LAST_ACCEPTS: usize = 4096;

/// What a listener does with new flows; replaced as a whole by a new configuration.
#[derive(Debug)]
pub(super) struct Binding {
    /// Target groups with their weights.
    pub(super) forward: Vec<(Arc<Group>, u32)>,
    pub(super) zone: Option<Arc<str>>,
    pub(super) idle_timeout: Duration,
    pub(super) udp_idle_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_flows: usize,
    pub(super) max_expired_flows: usize,
    /// Clients that may connect; empty: all.
    pub(super) source_ranges: Vec<IpNet>,
    /// There for TLS listeners.
    pub(super) tls: Option<Front>,
}

/// What the tasks of a listener share.
#[derive(Debug)]
pub(super) struct Listener {
    /// Where it is bound.
    pub(super) local: SocketAddr,
    pub(super) binding: ArcSwap<Binding>,
    pub(super) stats: Arc<ListenerStats>,
    /// Flows that nobody knows any more.
    pub(super) expired: Expired,
    /// Owns the flows.
    pub(super) flows: TaskTracker,
    /// Ends taking new flows, and the wait of expired ones.
    pub(super) stop: CancellationToken,
    /// Resets the flows.
    pub(super) end: CancellationToken,
    /// Stands for the sequence number in the flow hash where the kernel has none.
    pub(super) sequence: AtomicU64,
}

/// Accepts until `stop`, then takes what already waits in the kernel's queue: closing the socket
/// would reset it.
pub(super) async fn accept_loop(
    listener: Arc<Listener>,
    socket: TcpListener,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
        match accepted {
            Ok((stream, client)) => listener.start(stream, client),
            Err(error) => {
                listener.stats.accept_errors.one();
                if !listen::concerns_one_connection(&error) {
                    tracing::warn!(%error, "accept failed");
                    stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                }
            },
        }
    }
    for _ in 0..LAST_ACCEPTS {
        match timeout(Duration::ZERO, socket.accept()).await {
            Ok(Ok((stream, client))) => listener.start(stream, client),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

impl Binding {
    /// True if `client` is in one of the source ranges, or there are none.
    pub(super) fn admits(&self, client: SocketAddr) -> bool {
        let client = client.ip().to_canonical();
        self.source_ranges.is_empty()
            || self.source_ranges.iter().any(|range| range.contains(&client))
    }

    /// The target group of a new flow.
    pub(super) fn group(&self, flow: &Flow) -> Option<&Group> {
        let (first, _) = self.forward.first()?;
        let weights = self.forward.iter().map(|(_, weight)| *weight);
        let index = weighted(first.hash(flow), weights)?;
        self.forward.get(index).map(|(group, _)| &**group)
    }
}

impl Listener {
    /// Starts the flow of an accepted connection, or refuses it.
    fn start(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let binding = self.binding.load_full();
        if !binding.admits(client) {
            self.stats.source_blocked.one();
            reset::on_close(&stream);
            return;
        }
        let active = self.stats.tcp.active.load() + self.stats.tls.active.load();
        let active = usize::try_from(active).unwrap_or(0);
        if active >= binding.max_flows {
            self.stats.rejected.one();
            reset::on_close(&stream);
            return;
        }
        let open = Open::new(Arc::clone(self), binding.tls.is_some());
        self.flows.spawn(async move {
            let expired = open.listener.run(stream, client, &binding).await;
            let Some((client, target)) = expired else { return };
            let (listener, limit) = (Arc::clone(&open.listener), binding.max_expired_flows);
            // It is not open any more, and holds no configuration that has gone.
            drop((open, binding));
            listener.forget(client, target, limit).await;
        });
    }

    /// The address that a client has connected to; only behind "all addresses" it has to be asked for.
    fn local_of(&self, client: &TcpStream) -> io::Result<SocketAddr> {
        if self.local.ip().is_unspecified() { client.local_addr() } else { Ok(self.local) }
    }

    /// Carries a flow. One that was silent for too long is given back.
    async fn run(
        &self,
        client: TcpStream,
        address: SocketAddr,
        binding: &Binding,
    ) -> Option<(TcpStream, TcpStream)> {
        let local = self.local_of(&client).ok()?;
        let sequence = saved_syn::sequence(&client)
            .map_or_else(|| self.sequence.fetch_add(1, Relaxed), u64::from);
        let transport = Transport::Tcp;
        let flow = Flow { transport, source: address, destination: local, sequence };
        match &binding.tls {
            // Boxed, so that flows without TLS stay small.
            Some(front) => Box::pin(self.run_tls(client, &flow, binding, front)).await,
            None => self.run_tcp(client, &flow, binding).await,
        }
    }

    async fn run_tcp(
        &self,
        mut client: TcpStream,
        flow: &Flow,
        binding: &Binding,
    ) -> Option<(TcpStream, TcpStream)> {
        let connected = self.end.run_until_cancelled(self.connect(flow, binding)).await.flatten();
        let Some((mut target, picked)) = connected else {
            self.refuse(&client);
            return None;
        };
        let _carried = self.carries(&picked.target, picked.routing);
        let relayed = relay_until(
            &mut client,
            &mut target,
            Idle { keepalives: Keepalives::Counted, ..Idle::from(binding.idle_timeout) },
            Some(&self.stats.tcp.traffic),
            cut(picked.cut, &self.end),
        )
        .await;
        if matches!(relayed.end, End::Idle) {
            return Some((client, target));
        }
        self.finish(&client, &target, &relayed);
        None
    }

    /// Resets a client that gets no target.
    pub(super) fn refuse(&self, client: &TcpStream) {
        self.stats.rejected.one();
        self.stats.elb_resets.one();
        reset::on_close(client);
    }

    /// Counts a flow at its target, and how it came there.
    pub(super) fn carries<'a>(&self, target: &'a Target, routing: Routing) -> Carried<'a> {
        if routing == Routing::FailOpen {
            self.stats.fail_open.one();
        }
        target.flows.add(1);
        Carried(target)
    }

    /// Waits with a flow that has expired until a side sends: that side is reset, and the other one
    /// hears of nothing until it sends, too (A.4).
    async fn forget(&self, client: TcpStream, target: TcpStream, limit: usize) {
        // However it ends.
        reset::on_close(&client);
        reset::on_close(&target);
        let place = self.expired.enter(limit);
        let late = async |stream: TcpStream| {
            // An error, or an end, is something that was sent.
            let _sent = stream.readable().await;
            self.stats.elb_resets.one();
        };
        tokio::select! {
            _ = async { tokio::join!(late(client), late(target)) } => {},
            () = place.evicted.cancelled() => self.stats.expired_evictions.one(),
            () = self.stop.cancelled() => {},
        }
    }

    /// Connects to a target. If that fails, nothing has been sent, so one more healthy target is
    /// tried; AWS would leave that to the client's next SYN.
    pub(super) async fn connect(
        &self,
        flow: &Flow,
        binding: &Binding,
    ) -> Option<(TcpStream, Picked)> {
        let zone = binding.zone.as_deref();
        let group = binding.group(flow)?;
        let first = group.pick(flow, zone, None)?;
        if group.config().preserve_client && first.target.address.ip() == flow.source.ip() {
            // A machine that sees itself as the client drops what comes: a target that is sent back to
            // itself waits in vain (A.7).
            sleep(binding.connect_timeout).await;
            return None;
        }
        if let Some(stream) = self.open(flow, binding, group, &first.target).await {
            return Some((stream, first));
        }
        let second = group.pick(flow, zone, Some(&first.target))?;
        if second.routing == Routing::FailOpen && first.routing == Routing::Healthy {
            return None;
        }
        self.stats.redispatches.one();
        let stream = self.open(flow, binding, group, &second.target).await?;
        Some((stream, second))
    }

    /// Connects to `target` and sends the PROXY header if the group wants one.
    async fn open(
        &self,
        flow: &Flow,
        binding: &Binding,
        group: &Group,
        target: &Target,
    ) -> Option<TcpStream> {
        let config = group.config();
        let opened = async {
            let (address, limit) = (target.address, binding.connect_timeout);
            // Between families the source is always the load balancer (A.7).
            let keeps = config.preserve_client && address.is_ipv4() == flow.source.is_ipv4();
            let mut stream = match keeps {
                true => transparent::tcp(flow.source, address, limit).await?,
                false => connect::tcp(address, limit).await?,
            };
            if config.proxy_protocol {
                let mut header = Vec::with_capacity(128);
                proxy_protocol::write_v2(&mut header, flow.source, flow.destination);
                let sent = alarm::within(limit, stream.write_all(&header)).await;
                sent.ok_or(io::ErrorKind::TimedOut)??;
            }
            Ok::<_, io::Error>(stream)
        };
        match opened.await {
            Ok(stream) => Some(stream),
            Err(error) if is_port_taken(&error) => {
                self.stats.port_allocation_errors.one();
                tracing::debug!(target = %target.address, %error, "no port for a target");
                None
            },
            Err(error) => {
                self.stats.connect_failures.one();
                tracing::debug!(target = %target.address, %error, "connecting to a target failed");
                // Sticky groups have no passive checks (A.3).
                if !config.sticky {
                    target.connect_failed();
                }
                None
            },
        }
    }

    /// Passes a failure of one side on as a reset of both, and counts it.
    pub(super) fn finish(&self, client: &TcpStream, target: &TcpStream, relayed: &Relayed) {
        match relayed.end {
            End::Closed => return,
            End::Failed { side: Side::A, .. } => self.stats.client_resets.one(),
            End::Failed { side: Side::B, .. } => self.stats.target_resets.one(),
            End::Cancelled | End::Idle => self.stats.elb_resets.one(),
        }
        reset::on_close(client);
        reset::on_close(target);
    }
}

/// True if there was no port to dial from, which says nothing about the target.
fn is_port_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// Ends when the target's flows are reset or the process ends.
pub(super) async fn cut(mut target: watch::Receiver<u64>, end: &CancellationToken) {
    let changed = async {
        if target.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    end.run_until_cancelled(changed).await;
}

/// Counts a flow as open until it is dropped.
struct Open {
    listener: Arc<Listener>,
    tls: bool,
}

impl Open {
    fn new(listener: Arc<Listener>, tls: bool) -> Self {
        let open = Self { listener, tls };
        open.counts().new.one();
        open.counts().active.add(1);
        open
    }

    fn counts(&self) -> &stats::Carried {
        let stats = &self.listener.stats;
        if self.tls { &stats.tls } else { &stats.tcp }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts().active.add(-1);
    }
}

/// Counts a flow at its target until it is dropped.
pub(super) struct Carried<'a>(&'a Target);

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.0.flows.add(-1);
    }
}
