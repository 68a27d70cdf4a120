//! The connections of one worker to pods: idle ones of HTTP/1, and shared ones of HTTP/2.
//!
//! Called by `proxy::forward` (take, lease) and `proxy::response` (put). Last in, first out, so that
//! what is not needed grows old and is closed. Never shared between workers: no lock.
//!
//! Always holds: at most [`Limits::total`] connections wait without a request, and none that is older
//! than its limits or whose peer has departed is given out.

mod chosen;
mod dialling;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use http::uri::Scheme;

pub use self::chosen::Reached;
use self::dialling::{Dialling, Outcome};
use super::{
    dial::{self, DialError},
    h1::{Sender, Wire},
    h2::{self, Lease},
    peer::Peer,
};
use crate::net::connect;

/// Most idle connections kept for one peer by one worker.
pub const MAX_IDLE_PER_PEER: usize = 100;

/// What ends the wait of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a request.
    pub idle: Duration,
    /// Since it was made; what it serves is not cut.
    pub age: Duration,
    /// Connections without a request, over all peers.
    pub total: usize,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections to one peer.
#[derive(Debug)]
struct Stack {
    peer: Arc<Peer>,
    idle: Vec<Idle>,
}

/// The HTTP/2 connections to one peer, with those that serve.
#[derive(Debug)]
struct Shared {
    peer: Arc<Peer>,
    connections: Vec<Rc<h2::Connection>>,
    dialling: Option<Rc<Dialling>>,
}

impl Shared {
    fn new(peer: &Arc<Peer>) -> Self {
        Self { peer: Arc::clone(peer), connections: Vec::new(), dialling: None }
    }
}

type ById<T> = RefCell<HashMap<u64, T, foldhash::fast::RandomState>>;

/// The connections.
#[derive(Debug)]
pub struct Pool {
    idle: ById<Stack>,
    shared: ById<Shared>,
    limits: Limits,
    wire: Wire,
    /// Number of idle connections of HTTP/1.
    count: Cell<usize>,
}

/// What became of a connection that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It had ended already, is too old, or its peer has departed.
    Closed,
    /// As many wait as are kept; it was closed.
    Full,
    /// It waits for the next request.
    Kept,
}

/// What there is for a request over HTTP/2.
enum Found {
    Lease(Lease),
    Wait(Rc<Dialling>),
    Dial(Rc<Dialling>),
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits, wire: Wire) -> Self {
        let (idle, shared) = (RefCell::default(), RefCell::default());
        Self { idle, shared, limits, wire, count: Cell::new(0) }
    }

    /// The youngest connection to `peer` that is ready for a request.
    pub fn take(&self, peer: u64, now: Instant) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let stack = &mut idle.get_mut(&peer)?.idle;
        while let Some(Idle { sender, since }) = stack.pop() {
            self.count.set(self.count.get() - 1);
            if now.duration_since(since) > self.limits.idle {
                // Everything below is older still.
                self.count.set(self.count.get() - stack.len());
                stack.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps `sender` for the next request to `peer`, if it is open and there is room.
    pub fn put(&self, peer: &Arc<Peer>, sender: Sender, now: Instant) -> Put {
        let old = now.duration_since(sender.born()) > self.limits.age;
        if old || sender.is_closed() || peer.is_departed() {
            return Put::Closed;
        }
        if self.count.get() >= self.limits.total {
            return Put::Full;
        }
        let mut idle = self.idle.borrow_mut();
        let stack = idle
            .entry(peer.id)
            .or_insert_with(|| Stack { peer: Arc::clone(peer), idle: Vec::new() });
        if stack.idle.len() >= MAX_IDLE_PER_PEER {
            return Put::Full;
        }
        stack.idle.push(Idle { sender, since: now });
        self.count.set(self.count.get() + 1);
        Put::Kept
    }

    /// A stream to `peer`: of a connection with a free one, or of a new connection that is there
    /// within `limit`. Requests that come while one is being made wait for it, and share its failure.
    ///
    /// # Errors
    /// [`DialError`] when no connection came about.
    pub async fn lease(&self, peer: &Arc<Peer>, limit: Duration) -> Result<Lease, DialError> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            match self.find(peer, Instant::now()) {
                Found::Lease(lease) => return Ok(lease),
                Found::Wait(dialling) => wait(&dialling, end).await?,
                Found::Dial(dialling) => {
                    let begun = dialling.guard();
                    let lease = self.dial(peer, end).await;
                    begun.end(&lease);
                    return lease;
                },
            }
        }
    }

    fn find(&self, peer: &Arc<Peer>, now: Instant) -> Found {
        let mut shared = self.shared.borrow_mut();
        let shared = shared.entry(peer.id).or_insert_with(|| Shared::new(peer));
        shared.connections.retain(|connection| self.serves(connection, now));
        if let Some(lease) = shared.connections.iter().find_map(h2::Connection::lease) {
            return Found::Lease(lease);
        }
        // One that is left over was given up by the request that made it.
        if let Some(dialling) = shared.dialling.as_ref().filter(|dialling| dialling.is_running()) {
            return Found::Wait(Rc::clone(dialling));
        }
        Found::Dial(Rc::clone(shared.dialling.insert(Dialling::begin())))
    }

    /// How messages of its connections are written and read.
    #[must_use]
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// Takes new streams. Whoever holds one of its streams keeps a connection that does not.
    fn serves(&self, connection: &h2::Connection, now: Instant) -> bool {
        connection.is_open()
            && now.duration_since(connection.born()) <= self.limits.age
            && connection
                .idle_since()
                .is_none_or(|since| now.saturating_duration_since(since) <= self.limits.idle)
    }

    async fn dial(&self, peer: &Arc<Peer>, end: tokio::time::Instant) -> Result<Lease, DialError> {
        let stream = connect::tcp(peer.key.address, dial::left(end)).await?;
        let connection =
            h2::start(stream, Scheme::HTTP, self.wire.max_head, dial::left(end)).await?;
        self.share(peer, connection)
    }

    /// The first stream of a new connection, which is kept for others if there is room.
    fn share(&self, peer: &Arc<Peer>, connection: Rc<h2::Connection>) -> Result<Lease, DialError> {
        // A limit of no stream at all is a refusal.
        let lease = connection
            .lease()
            .ok_or_else(|| DialError::Connect(std::io::ErrorKind::ConnectionRefused.into()))?;
        if !peer.is_departed() && self.idle() < self.limits.total {
            let mut shared = self.shared.borrow_mut();
            shared.entry(peer.id).or_insert_with(|| Shared::new(peer)).connections.push(connection);
        }
        Ok(lease)
    }

    /// Closes what is too old, closed by its pod, or left by a departed peer. Called once a second and
    /// after each snapshot.
    pub fn sweep(&self, now: Instant) {
        let mut count = 0;
        self.idle.borrow_mut().retain(|_, Stack { peer, idle }| {
            idle.retain(|idle| {
                now.saturating_duration_since(idle.since) <= self.limits.idle
                    && now.saturating_duration_since(idle.sender.born()) <= self.limits.age
                    && !idle.sender.is_closed()
                    && !peer.is_departed()
            });
            count += idle.len();
            !idle.is_empty()
        });
        self.count.set(count);
        self.shared.borrow_mut().retain(|_, shared| {
            let departed = shared.peer.is_departed();
            shared.connections.retain(|connection| !departed && self.serves(connection, now));
            !shared.connections.is_empty()
                || shared.dialling.as_ref().is_some_and(|it| it.is_running())
        });
    }

    /// Closes all idle connections; shared ones end with their last stream.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.count.set(0);
        self.shared.borrow_mut().clear();
    }

    /// Number of connections without a request.
    #[must_use]
    pub fn idle(&self) -> usize {
        let shared = self.shared.borrow();
        let connections = shared.values().flat_map(|shared| &shared.connections);
        self.count.get() + connections.filter(|one| one.idle_since().is_some()).count()
    }

    /// Number of HTTP/2 connections that take new streams.
    #[must_use]
    pub fn shared(&self) -> usize {
        self.shared.borrow().values().map(|shared| shared.connections.len()).sum()
    }
}

/// Waits for another request's connection, and shares its failure.
async fn wait(dialling: &Dialling, end: tokio::time::Instant) -> Result<(), DialError> {
    let outcome = tokio::time::timeout_at(end, dialling.ended()).await;
    match outcome.map_err(|_late| DialError::Timeout)? {
        Outcome::Failed(cause) => Err(DialError::Shared(cause)),
        Outcome::Running | Outcome::Ended => Ok(()),
    }
}

#[cfg(test)]
mod tests;
