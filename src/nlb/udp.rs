//! A UDP listener: a flow for each client, with a socket of its own to its target (spec/l4-dns.md A.3,
//! A.4).
//!
//! [`serve`] is started by `server`, one for each listener with UDP; it and the tasks of its flows run
//! on one worker. Always holds: datagrams of a client go to one target until the flow was silent for
//! the limit or its target's flows are ended; no more flows than `maxFlows`; nothing waits for a socket
//! to take a datagram, which is lost instead, as on any network.

mod table;

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    flow::{self, Transport},
    listener::{Listener, cut},
    stats::Carried,
    target::{Picked, Target},
};
use crate::net::udp;
use table::{Key, Table, Used};

/// How long a listener that ends still carries the flows it has: answers that are on their way.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a receive that failed.
const PAUSE: Duration = Duration::from_millis(50);
/// Datagrams that one turn of a flow moves.
const TURN: usize = 32;

thread_local! {
    /// What answers go through: one for a thread, since it is empty between two turns.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; udp::LONGEST]);
}

/// A listener's socket with its flows.
#[derive(Debug)]
struct Port {
    listener: Arc<Listener>,
    socket: UdpSocket,
    /// Ends taking new flows.
    stop: CancellationToken,
    table: Mutex<Table<Arc<Flow>>>,
}

/// What datagrams of one client go through.
#[derive(Debug)]
struct Flow {
    target: Arc<Target>,
    socket: UdpSocket,
    begun: Instant,
    /// Microseconds from then to its last datagram.
    used: AtomicU64,
    over: Notify,
}

impl Used for Arc<Flow> {
    fn used(&self) -> Instant {
        self.begun + Duration::from_micros(self.used.load(Relaxed))
    }
}

impl Flow {
    /// A flow to `target`; nothing comes through from anybody else.
    fn open(target: Arc<Target>, now: Instant) -> io::Result<Self> {
        let socket = UdpSocket::from_std(udp::connected(target.address)?)?;
        let (used, over) = (AtomicU64::new(0), Notify::new());
        Ok(Self { target, socket, begun: now, used, over })
    }

    fn touch(&self, now: Instant) {
        let since = now.duration_since(self.begun).as_micros();
        self.used.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Carries datagrams until `stop`, and a moment longer for flows that are there.
pub(super) async fn serve(listener: Arc<Listener>, socket: UdpSocket, stop: CancellationToken) {
    let idle = listener.binding.load().udp_idle_timeout;
    let table = Mutex::new(Table::new(idle, Instant::now()));
    let port = Arc::new(Port { listener, socket, stop, table });
    port.run().await;
    port.lock().drain().for_each(|flow| flow.over.notify_one());
}

impl Port {
    async fn run(self: &Arc<Self>) {
        let mut room = vec![0; udp::LONGEST];
        let mut sweep = pin!(sleep_until(self.lock().next_sweep()));
        let stopped = self.stop.cancelled();
        let mut last = pin!(async {
            stopped.await;
            if self.lock().len() > 0 {
                tokio::time::sleep(LINGER).await;
            }
        });
        loop {
            let received =
                self.socket.async_io(Interest::READABLE, || udp::receive(&self.socket, &mut room));
            tokio::select! {
                received = received => match received {
                    Ok(received) => {
                        let datagram = room.get(..received.length).unwrap_or_default();
                        self.take(datagram, received.from, received.to);
                    },
                    Err(error) => {
                        self.listener.stats.accept_errors.one();
                        tracing::debug!(%error, "receiving failed");
                        tokio::time::sleep(PAUSE).await;
                    },
                },
                () = &mut sweep => {
                    let mut table = self.lock();
                    table.set_idle(self.listener.binding.load().udp_idle_timeout);
                    table.sweep(Instant::now(), |flow| flow.over.notify_one());
                    sweep.as_mut().reset(table.next_sweep());
                },
                () = &mut last => return,
                () = self.listener.end.cancelled() => return,
            }
        }
    }

    /// Gives the datagram of a client to its target, or drops it.
    fn take(self: &Arc<Self>, datagram: &[u8], client: SocketAddr, to: Option<IpAddr>) {
        let address = to.unwrap_or_else(|| self.listener.local.ip());
        let (key, now) = (Key { client, address }, Instant::now());
        let known = self.lock().find(&key, now).map(Arc::clone);
        let stats = &self.listener.stats;
        let Some(flow) = known.or_else(|| self.begin(key, now)) else {
            stats.dropped_datagrams.one();
            return;
        };
        flow.touch(now);
        // Sent by the socket itself, for the runtime does not know of a new one that it may send.
        match SockRef::from(&flow.socket).send(datagram) {
            Ok(length) => self.passed(length, &stats.udp.traffic.a_to_b),
            Err(error) => {
                stats.dropped_datagrams.one();
                self.note(&error);
            },
        }
    }

    /// A flow for a client that has none, when it may have one.
    fn begin(self: &Arc<Self>, key: Key, now: Instant) -> Option<Arc<Flow>> {
        let Listener { stats, binding, local, .. } = &*self.listener;
        if self.stop.is_cancelled() {
            return None;
        }
        let binding = binding.load();
        if !binding.admits(key.client) {
            stats.source_blocked.one();
            return None;
        }
        let flow = flow::Flow {
            transport: Transport::Udp,
            source: key.client,
            destination: SocketAddr::new(key.address, local.port()),
            sequence: 0,
        };
        let picked = match self.lock().is_full(&key, binding.max_flows) {
            true => None,
            false => binding
                .group(&flow)
                .and_then(|group| group.pick(&flow, binding.zone.as_deref(), None)),
        };
        let Some(picked) = picked else {
            stats.rejected.one();
            return None;
        };
        let flow = match Flow::open(Arc::clone(&picked.target), now) {
            Ok(flow) => Arc::new(flow),
            Err(error) => {
                stats.connect_failures.one();
                tracing::debug!(target = %picked.target.address, %error, "a flow cannot be had");
                return None;
            },
        };
        if let Some(over) = self.lock().insert(key, Arc::clone(&flow)) {
            over.over.notify_one();
        }
        let (port, own) = (Arc::clone(self), Arc::clone(&flow));
        self.listener.flows.spawn(async move { port.answer(key, own, picked).await });
        Some(flow)
    }

    /// Gives the client what its target sends, until the flow is over.
    async fn answer(&self, key: Key, flow: Arc<Flow>, picked: Picked) {
        let stats = &self.listener.stats;
        let _open = Open::new(&stats.udp);
        let _carried = self.listener.carries(&flow.target, picked.routing);
        let mut cut = pin!(cut(picked.cut, &self.listener.end));
        let source = self.listener.local.ip().is_unspecified().then_some(key.address);
        loop {
            tokio::select! {
                () = &mut cut => break,
                () = flow.over.notified() => break,
                ready = flow.socket.readable() => {
                    // Without the runtime nothing comes any more.
                    if ready.is_err() {
                        break;
                    }
                    if self.pass_on(&flow, key.client, source) {
                        flow.touch(Instant::now());
                    }
                },
            }
        }
        self.lock().remove(&key, |other| Arc::ptr_eq(other, &flow));
    }

    /// Gives the client what there is, up to a turn; says whether there was anything.
    fn pass_on(&self, flow: &Flow, client: SocketAddr, source: Option<IpAddr>) -> bool {
        let stats = &self.listener.stats;
        ROOM.with_borrow_mut(|room| {
            for passed in 0..TURN {
                let length = match flow.socket.try_recv(room) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return passed > 0,
                    Err(error) => {
                        self.note(&error);
                        continue;
                    },
                };
                let datagram = room.get(..length).unwrap_or_default();
                match udp::send(&self.socket, datagram, client, source) {
                    Ok(length) => self.passed(length, &stats.udp.traffic.b_to_a),
                    // The client is gone, or a queue is full.
                    Err(_lost) => stats.dropped_datagrams.one(),
                }
            }
            true
        })
    }

    /// Counts a datagram of `length` bytes that went in the direction of `bytes`.
    fn passed(&self, length: usize, bytes: &AtomicU64) {
        self.listener.stats.datagrams.one();
        bytes.fetch_add(length as u64, Relaxed);
    }

    /// Counts what a target's machine says of a datagram: nobody is there. The flow stays, as checks
    /// alone judge the target (A.5).
    fn note(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.listener.stats.connect_failures.one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<Arc<Flow>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a flow as open until it is dropped.
struct Open<'a>(&'a Carried);

impl<'a> Open<'a> {
    fn new(counts: &'a Carried) -> Self {
        counts.new.one();
        counts.active.add(1);
        Self(counts)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.active.add(-1);
    }
}
