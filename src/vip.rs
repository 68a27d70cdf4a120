//! L4: Services in user space: a listener for each virtual address and TCP port, and a relay for each
//! connection.
//!
//! Driven by `app::proxy`. Always holds: a port without any endpoint is closed, so that clients are
//! refused at once; one that nobody may have is silent (spec/l4-dns.md B.3); connections outlive the
//! endpoint's place in the Service, and the Service (SVC-11). UDP and SCTP ports are not served.

mod front;
mod listener;
mod pool;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    front::{Answer, Clients, Front, Meaning},
    listener::{Shared, accept_loop},
};
use crate::{
    model::objects::ObjectKey,
    net::{
        address_map::{AddressMap, place},
        listen::{self, Silent},
    },
    services::{
        Node, Service, ServicePort, Via,
        affinity::Affinity,
        choose::{Categories, categorize},
        schedulers::Kind,
    },
    zone::Protocol,
};

/// Clients that are remembered for one port of a Service with affinity.
const CLIENTS: usize = 65_536;

/// What does not change while it runs.
#[derive(Clone, Debug)]
pub struct VipOptions {
    /// The node that choices are made for.
    pub node: Node,
    /// How connections are shared.
    pub scheduler: Kind,
    /// Where virtual addresses are on this machine.
    pub maps: Vec<AddressMap>,
    /// Addresses that node ports listen on.
    pub node_addresses: Vec<IpAddr>,
    /// Sources that count as pods.
    pub cluster: Vec<IpNet>,
    /// Most connections at a time.
    pub connections: usize,
}

/// What came of a change.
#[derive(Debug, Default)]
pub struct Applied {
    /// Addresses that take connections.
    pub listening: usize,
    /// What could not be had, and why.
    pub failed: Vec<(SocketAddr, Failure)>,
}

/// Why an address is not served.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel says no.
    #[error("{0}")]
    Bind(#[from] io::Error),
    /// An earlier Service has it.
    #[error("{winner} has it, and {loser} cannot have it too")]
    Taken {
        /// Who has it.
        winner: ObjectKey,
        /// Who would like to.
        loser: ObjectKey,
    },
}

/// The listeners.
#[derive(Debug)]
pub struct Vips {
    options: VipOptions,
    ports: BTreeMap<SocketAddr, Port>,
    clients: HashMap<(ObjectKey, u16), Clients>,
    shared: Shared,
}

/// A port that is bound.
#[derive(Debug)]
enum Port {
    Open { front: Arc<Front>, stop: CancellationToken, accepts: JoinHandle<()> },
    Silent { _socket: Silent },
}

impl Port {
    const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Closes it; its connections go on.
    async fn close(self) {
        if let Self::Open { stop, accepts, .. } = self {
            stop.cancel();
            if accepts.await.is_err() {
                tracing::error!("a listener of a virtual address has panicked");
            }
        }
    }
}

/// What an address shall be.
struct Wanted<'a> {
    meaning: Meaning,
    sets: Categories<'a>,
}

impl Wanted<'_> {
    fn answer(&self) -> Answer {
        self.meaning.answer(self.sets.usable())
    }
}

impl Vips {
    /// Without any Service.
    #[must_use]
    pub fn new(options: VipOptions) -> Self {
        let permits = Arc::new(Semaphore::new(options.connections.min(Semaphore::MAX_PERMITS)));
        let shared = Shared { flows: TaskTracker::new(), permits, end: CancellationToken::new() };
        Self { options, ports: BTreeMap::new(), clients: HashMap::new(), shared }
    }

    /// Takes over what the Services are now. What fails is tried again the next time.
    pub async fn apply(&mut self, services: &[Arc<Service>]) -> Applied {
        let mut applied = Applied::default();
        let wanted = self.wanted(services, &mut applied);
        let ended = self.ports.extract_if(.., |address, port| {
            let answer = wanted.get(address).map(Wanted::answer);
            answer != Some(if port.is_open() { Answer::Listen } else { Answer::Silent })
        });
        // A port is closed before it is bound anew.
        for port in ended.map(|(_, port)| port).collect::<Vec<_>>() {
            port.close().await;
        }
        for (address, wanted) in wanted {
            if let Err(error) = self.serve(address, wanted) {
                applied.failed.push((address, error.into()));
            }
        }
        applied.listening = self.ports.values().filter(|port| port.is_open()).count();
        applied
    }

    /// Every address that shall be something; the first Service has what two want.
    fn wanted<'a>(
        &mut self,
        services: &'a [Arc<Service>],
        applied: &mut Applied,
    ) -> BTreeMap<SocketAddr, Wanted<'a>> {
        let mut wanted: BTreeMap<SocketAddr, Wanted<'a>> = BTreeMap::new();
        let mut clients = HashMap::new();
        for service in services {
            for port in service.ports.iter().filter(|port| port.protocol == Protocol::Tcp) {
                let known = service.affinity.map(|timeout| self.clients(service, port, timeout));
                if let Some(known) = &known {
                    clients.insert((service.key.clone(), port.port), Arc::clone(known));
                }
                for (listen, address, via) in self.addresses(service, port) {
                    if let Some(winner) = wanted.get(&listen) {
                        let winner = winner.meaning.service.key.clone();
                        let loser = service.key.clone();
                        applied.failed.push((listen, Failure::Taken { winner, loser }));
                        continue;
                    }
                    let (service, clients) = (Arc::clone(service), known.clone());
                    let of_family = port
                        .endpoints
                        .iter()
                        .filter(|endpoint| endpoint.address.is_ipv6() == address.is_ipv6());
                    let sets = categorize(of_family, &self.options.node);
                    let meaning = Meaning { service, via, address, clients };
                    wanted.insert(listen, Wanted { meaning, sets });
                }
            }
        }
        self.clients = clients;
        wanted
    }

    /// The clients of a port with affinity: those that it had.
    fn clients(&self, service: &Service, port: &ServicePort, timeout: Duration) -> Clients {
        let known = self.clients.get(&(service.key.clone(), port.port));
        let Some(known) = known else {
            return Arc::new(Mutex::new(Affinity::new(timeout, CLIENTS)));
        };
        known.lock().unwrap_or_else(PoisonError::into_inner).set_timeout(timeout);
        Arc::clone(known)
    }

    /// Where a port listens, with the address as the cluster knows it.
    fn addresses(&self, service: &Service, port: &ServicePort) -> Vec<(SocketAddr, IpAddr, Via)> {
        let maps = &self.options.maps;
        let of_service = service
            .addresses()
            .map(|(address, via)| (SocketAddr::new(place(maps, address), port.port), address, via));
        let of_node = port.node_port.into_iter().flat_map(|number| {
            let addresses = self.options.node_addresses.iter();
            addresses
                .map(move |&address| (SocketAddr::new(address, number), address, Via::NodePort))
        });
        of_service.chain(of_node).collect()
    }

    /// Makes `address` what it shall be.
    fn serve(&mut self, address: SocketAddr, wanted: Wanted<'_>) -> io::Result<()> {
        let answer = wanted.answer();
        let Wanted { meaning, sets } = wanted;
        match answer {
            Answer::Refuse => {},
            Answer::Silent => {
                if let Entry::Vacant(room) = self.ports.entry(address) {
                    room.insert(Port::Silent { _socket: listen::silent_tcp(address)? });
                }
            },
            Answer::Listen => {
                if let Some(Port::Open { front, .. }) = self.ports.get(&address) {
                    front.update(meaning, &sets);
                    return Ok(());
                }
                let socket = TcpListener::from_std(listen::virtual_tcp(address)?)?;
                let VipOptions { scheduler, cluster, .. } = &self.options;
                let front = Arc::new(Front::new(*scheduler, cluster.clone(), meaning.clone()));
                front.update(meaning, &sets);
                let stop = CancellationToken::new();
                let (shared, ends) = (self.shared.clone(), stop.clone());
                let accepts = tokio::spawn(accept_loop(Arc::clone(&front), socket, shared, ends));
                self.ports.insert(address, Port::Open { front, stop, accepts });
            },
        }
        Ok(())
    }

    /// Accepts no more, gives connections `grace` to end, and resets the rest. True when none was
    /// left.
    pub async fn drain(mut self, grace: Duration) -> bool {
        for port in std::mem::take(&mut self.ports).into_values() {
            port.close().await;
        }
        self.shared.flows.close();
        let ended = timeout(grace, self.shared.flows.wait()).await.is_ok();
        self.shared.end.cancel();
        self.shared.flows.wait().await;
        ended
    }
}

impl Drop for Vips {
    fn drop(&mut self) {
        for port in self.ports.values() {
            if let Port::Open { stop, .. } = port {
                stop.cancel();
            }
        }
        self.shared.end.cancel();
    }
}
