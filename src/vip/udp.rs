//! UDP at a virtual address: a flow for each client, each with a socket of its own to its endpoint.
//!
//! Opened and closed by `vip`. Always holds: no more flows than there are permits, and a client beyond
//! gets nothing; a flow ends when it was idle as long as the kernel's table of connections would have
//! it, at once when its endpoint leaves, and with its port (B.5).

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    front::Front,
    listener::Shared,
    pool::Carried,
    stats::{Counted, Counts},
};
use crate::net::udp;

/// How long a flow lives without a datagram: before its first answer, and after (the kernel's
/// `nf_conntrack_udp_timeout` and `nf_conntrack_udp_timeout_stream`).
const UNANSWERED: Duration = Duration::from_secs(30);
const ANSWERED: Duration = Duration::from_secs(120);
/// Pause after a receive that failed.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest datagram.
const DATAGRAM: usize = 65_535;
/// Datagrams that one turn of a task moves.
const TURN: usize = 32;

thread_local! {
    /// What answers go through: one for a thread, since it is empty between two turns.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM]);
}

/// A port that is bound.
#[derive(Debug)]
pub(super) struct UdpPort {
    front: Arc<Front>,
    flows: Flows,
    stop: CancellationToken,
    receives: JoinHandle<()>,
}

/// Flows by client.
type Flows = Arc<Mutex<HashMap<SocketAddr, Arc<Flow>>>>;

/// What datagrams of one client go through.
#[derive(Debug)]
struct Flow {
    endpoint: SocketAddr,
    socket: UdpSocket,
    end: CancellationToken,
    begun: Instant,
    /// Milliseconds from then to its last datagram.
    used: AtomicU64,
    answered: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow {
    fn new(endpoint: SocketAddr, end: CancellationToken) -> io::Result<Self> {
        Ok(Self {
            endpoint,
            // Answers of others do not come through.
            socket: UdpSocket::from_std(udp::connected(endpoint)?)?,
            end,
            begun: Instant::now(),
            used: AtomicU64::new(0),
            answered: AtomicBool::new(false),
        })
    }

    fn touch(&self) {
        let since = self.begun.elapsed().as_millis();
        self.used.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    /// When it has been idle for too long.
    fn expiry(&self) -> Instant {
        let limit = if self.answered.load(Relaxed) { ANSWERED } else { UNANSWERED };
        self.begun + Duration::from_millis(self.used.load(Relaxed)) + limit
    }

    /// Gives its endpoint what the client has sent. A datagram may be lost.
    fn send(&self, datagram: &[u8]) {
        self.touch();
        // Sent by the socket itself, for the runtime does not know of a new one that it may send. An
        // error is about an earlier datagram, or the socket's queue is full.
        let _ = SockRef::from(&self.socket).send(datagram);
    }
}

impl UdpPort {
    pub(super) fn open(front: Arc<Front>, socket: UdpSocket, shared: &Shared) -> Self {
        let (flows, stop) = (Flows::default(), shared.end.child_token());
        let port = Receiver {
            front: Arc::clone(&front),
            socket: Arc::new(socket),
            flows: Arc::clone(&flows),
            shared: shared.clone(),
            stop: stop.clone(),
        };
        let receives = tokio::spawn(port.run());
        Self { front, flows, stop, receives }
    }

    pub(super) const fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Ends the flows whose endpoint has left [SVC-11].
    pub(super) fn repin(&self) {
        lock(&self.flows).retain(|_, flow| {
            let stays = self.front.has(flow.endpoint);
            if !stays {
                flow.end.cancel();
            }
            stays
        });
    }

    /// Closes it with its flows.
    pub(super) async fn close(self) {
        self.stop.cancel();
        if self.receives.await.is_err() {
            tracing::error!("a UDP port of a virtual address has panicked");
        }
    }

    /// Lets go of it at once.
    pub(super) fn abandon(&self) {
        self.stop.cancel();
    }
}

/// What takes datagrams of clients.
struct Receiver {
    front: Arc<Front>,
    socket: Arc<UdpSocket>,
    flows: Flows,
    shared: Shared,
    stop: CancellationToken,
}

impl Receiver {
    async fn run(self) {
        let mut room = vec![0; DATAGRAM];
        while let Some(received) =
            self.stop.run_until_cancelled(self.socket.recv_from(&mut room)).await
        {
            match received {
                Ok((length, client)) => {
                    let datagram = room.get(..length).unwrap_or_default();
                    let flow = lock(&self.flows).get(&client).cloned();
                    if let Some(flow) = flow.or_else(|| self.begin(client)) {
                        flow.send(datagram);
                    }
                },
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    self.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                },
            }
        }
    }

    /// A flow for a client that has none, when it may have one.
    fn begin(&self, client: SocketAddr) -> Option<Arc<Flow>> {
        let counts = &self.shared.totals.udp;
        let local = self.socket.local_addr().ok()?;
        let Ok(permit) = Arc::clone(&self.shared.permits).try_acquire_owned() else {
            Counts::add(&counts.refused);
            return None;
        };
        let Some((endpoint, carried)) = self.front.pick(client, local.ip()) else {
            Counts::add(&counts.refused);
            return None;
        };
        let flow = match Flow::new(endpoint, self.stop.child_token()) {
            Ok(flow) => Arc::new(flow),
            Err(error) => {
                tracing::debug!(%endpoint, %error, "a flow cannot be had");
                Counts::add(&counts.failed);
                return None;
            },
        };
        lock(&self.flows).insert(client, Arc::clone(&flow));
        let answers = Answers {
            flow: Arc::clone(&flow),
            client,
            socket: Arc::clone(&self.socket),
            flows: Arc::clone(&self.flows),
            carried,
            _counted: Counted::new(&self.shared.totals, |totals| &totals.udp),
            _permit: permit,
        };
        self.shared.flows.spawn(answers.run());
        Some(flow)
    }
}

/// What takes an endpoint's answers to one client.
struct Answers {
    flow: Arc<Flow>,
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    flows: Flows,
    carried: Carried,
    _counted: Counted,
    _permit: OwnedSemaphorePermit,
}

impl Answers {
    async fn run(mut self) {
        let flow = Arc::clone(&self.flow);
        loop {
            let readable = timeout_at(flow.expiry(), flow.socket.readable());
            match flow.end.run_until_cancelled(readable).await {
                None => break,
                Some(Err(_late)) if flow.expiry() <= Instant::now() => break,
                // The client has sent something since.
                Some(Err(_late)) => {},
                Some(Ok(ready)) => {
                    if ready.is_ok() && self.pass_on() > 0 {
                        flow.touch();
                        flow.answered.store(true, Relaxed);
                        self.carried.established();
                    }
                },
            }
        }
        // Another flow of the client may have begun since.
        let mut flows = lock(&self.flows);
        if flows.get(&self.client).is_some_and(|other| Arc::ptr_eq(other, &flow)) {
            flows.remove(&self.client);
        }
    }

    /// Gives the client what there is, and says how much.
    fn pass_on(&self) -> usize {
        ROOM.with_borrow_mut(|room| {
            for passed in 0..TURN {
                let Ok(length) = self.flow.socket.try_recv(room) else { return passed };
                // A client that is gone, or a full queue, loses a datagram.
                let datagram = room.get(..length).unwrap_or_default();
                let _ = SockRef::from(&*self.socket).send_to(datagram, &self.client.into());
            }
            TURN
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [B.5]: as long as the kernel would remember it.
    #[tokio::test(start_paused = true)]
    async fn a_flow_lives_longer_once_it_was_answered() {
        let endpoint = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = endpoint.local_addr().unwrap();
        let flow = Flow::new(to, CancellationToken::new()).unwrap();
        let left = || flow.expiry().duration_since(Instant::now());
        assert_eq!(left(), UNANSWERED);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(left(), Duration::from_secs(10));
        flow.send(b"again");
        assert_eq!(left(), UNANSWERED);
        flow.answered.store(true, Relaxed);
        assert_eq!(left(), ANSWERED);
        let mut room = [0; 10];
        assert_eq!(endpoint.recv(&mut room).unwrap(), 5);
    }
}
