//! What the router noted of one connection's next request, for somebody at the admin port who waits
//! for it.
//!
//! Armed by `admin::trace` with the address and port of a client, offered every record at the end of
//! its exchange. Always holds: nothing that a client sends arms it or fills it, at most [`MOST`]
//! addresses are watched, each for as long as somebody waits, and while nobody does a request pays one
//! branch.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::record::AccessRecord;
use crate::model::route::Termination;

/// Addresses that are watched at once.
pub const MOST: usize = 16;

/// Who is waited for.
#[derive(Debug, Default)]
pub struct Watches {
    /// Somebody is.
    armed: AtomicBool,
    next: AtomicU64,
    all: Mutex<Vec<Watch>>,
}

#[derive(Debug)]
struct Watch {
    id: u64,
    client: SocketAddr,
    seen: oneshot::Sender<Box<Seen>>,
}

/// A watch that lasts until it is dropped.
#[derive(Debug)]
pub struct Watching {
    watches: Arc<Watches>,
    id: u64,
    seen: oneshot::Receiver<Box<Seen>>,
}

impl Watches {
    /// Watches the connection from `client`; `None` when too many are watched.
    #[must_use]
    pub fn watch(self: &Arc<Self>, client: SocketAddr) -> Option<Watching> {
        let (sender, seen) = oneshot::channel();
        let id = self.next.fetch_add(1, Relaxed);
        let mut all = self.lock();
        if all.len() >= MOST {
            return None;
        }
        all.push(Watch { id, client: canonical(client), seen: sender });
        self.armed.store(true, Relaxed);
        drop(all);
        Some(Watching { watches: Arc::clone(self), id, seen })
    }

    /// True while anybody is waited for.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    /// Gives `record`, which is complete, to whoever waits for its client.
    #[cold]
    pub fn offer(&self, record: &AccessRecord) {
        let client = canonical(record.client);
        let mut all = self.lock();
        while let Some(at) = all.iter().position(|watch| watch.client == client) {
            let watch = all.swap_remove(at);
            // Whoever has gone away misses nothing.
            let _ = watch.seen.send(Box::new(Seen::of(record)));
        }
        self.armed.store(!all.is_empty(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// The request, once it has ended; `None` when the process ends.
    pub async fn seen(&mut self) -> Option<Box<Seen>> {
        (&mut self.seen).await.ok()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut all = self.watches.lock();
        all.retain(|watch| watch.id != self.id);
        self.watches.armed.store(!all.is_empty(), Relaxed);
    }
}

fn canonical(client: SocketAddr) -> SocketAddr {
    SocketAddr::new(client.ip().to_canonical(), client.port())
}

/// What became of one request, or of one connection that was passed through. No header field, no
/// cookie and no query is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The client.
    pub client: SocketAddr,
    /// Name of the frontend.
    pub frontend: String,
    /// Status that was sent, 0 when none was.
    pub status: u16,
    /// Why the router answered by itself.
    pub reason: Option<String>,
    /// HAProxy's two letters.
    pub state: String,
    /// Generation of the snapshot.
    pub generation: u64,
    /// The route that had it.
    pub route: Option<RouteSeen>,
    /// The server that had it last.
    pub server: Option<ServerSeen>,
    /// Tries after the first.
    pub retries: u8,
    /// From the first byte of the head to the last, in microseconds, as all times here.
    pub head_us: Option<u32>,
    /// In the line for a place at a pod.
    pub queue_us: Option<u32>,
    /// Connecting to the pod; 0 for a pooled connection.
    pub connect_us: Option<u32>,
    /// From the request sent to the head of the response.
    pub response_us: Option<u32>,
    /// From the head to the last byte of the response.
    pub total_us: u32,
}

/// A route that had a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSeen {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// How TLS ends.
    pub termination: Termination,
    /// Name of its backend.
    pub backend: String,
}

/// A server that had a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSeen {
    /// Service.
    pub service: String,
    /// Address and port.
    pub address: String,
    /// Pod; empty when unknown.
    pub pod: String,
    /// The address is the Service's.
    pub cluster_ip: bool,
}

impl Seen {
    fn of(record: &AccessRecord) -> Self {
        let route = record.route.as_deref();
        let server = record.server.and_then(|index| {
            route?.backend.servers.get(usize::try_from(index).ok()?).map(|server| ServerSeen {
                service: server.service.to_string(),
                address: server.label.to_string(),
                pod: server.pod.to_string(),
                cluster_ip: server.cluster_ip,
            })
        });
        let times = &record.times;
        Self {
            client: record.client,
            frontend: record.frontend.name().to_owned(),
            status: record.status,
            reason: record.reason.map(|reason| reason.word().to_owned()),
            state: String::from_utf8_lossy(&record.termination).into_owned(),
            generation: record.generation,
            route: route.map(|route| RouteSeen {
                namespace: route.key.namespace.to_string(),
                name: route.key.name.to_string(),
                termination: route.termination,
                backend: route.backend.name.to_string(),
            }),
            server,
            retries: record.retries,
            head_us: times.head,
            queue_us: times.queue,
            connect_us: times.connect,
            response_us: times.response,
            total_us: times.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    fn record(client: &str) -> AccessRecord {
        AccessRecord {
            client: client.parse().unwrap(),
            route: Some(fixture::route(None)),
            server: Some(0),
            status: 200,
            ..AccessRecord::default()
        }
    }

    #[test]
    fn only_the_client_that_is_waited_for_is_noted_and_once() {
        let watches = Arc::<Watches>::default();
        assert!(!watches.is_armed());
        let mut watching = watches.watch("127.0.0.1:7".parse().unwrap()).unwrap();
        assert!(watches.is_armed());
        watches.offer(&record("127.0.0.1:8"));
        watches.offer(&record("127.0.0.2:7"));
        assert!(watches.is_armed() && watching.seen.try_recv().is_err());
        watches.offer(&record("[::ffff:127.0.0.1]:7"));
        let seen = watching.seen.try_recv().unwrap();
        assert_eq!((seen.status, &*seen.route.unwrap().backend), (200, "be_http:app:web"));
        assert_eq!(seen.server.unwrap().address, "10.0.0.1:80");
        assert!(!watches.is_armed());
    }

    #[test]
    fn watches_are_bounded_and_end_with_who_waits() {
        let watches = Arc::<Watches>::default();
        let client = "127.0.0.1:7".parse().unwrap();
        let all: Vec<Watching> = (0..MOST).map(|_| watches.watch(client).unwrap()).collect();
        assert!(watches.watch(client).is_none());
        drop(all);
        assert!(!watches.is_armed());
        assert!(watches.watch(client).is_some());
    }
}
