//! L4: Services in user space: a listener for each virtual address and port, and a relay for each
//! connection or UDP flow; and, in [`nft`], in the kernel's packet filter.
//!
//! Driven by `app::proxy`. Always holds: a port without any endpoint is closed, so that clients are
//! refused at once; one that nobody may have is silent (spec/l4-dns.md B.3); connections outlive the
//! endpoint's place in the Service, and the Service (SVC-11); UDP flows do not. SCTP ports are not served.

mod front;
mod listener;
pub mod nft;
mod pool;
pub mod stats;
mod udp;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    front::{Answer, Clients, Front, Meaning},
    listener::{Shared, accept_loop},
    stats::Totals,
    udp::UdpPort,
};
use crate::{
    model::objects::ObjectKey,
    net::{
        address_map::{AddressMap, place},
        listen::{self, Silent},
    },
    services::{
        Node, Service, ServicePort, TrafficPolicy, Via,
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
    /// Most connections and UDP flows at a time.
    pub connections: usize,
    /// Where they are counted.
    pub totals: Arc<Totals>,
}

/// What came of a change.
#[derive(Debug, Default)]
pub struct Applied {
    /// Addresses that take connections.
    pub listening: usize,
    /// Ports whose policy leaves no endpoint here, internal and external.
    pub no_local: [usize; 2],
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
    /// It is an SCTP port.
    #[error("SCTP is not carried in user space: use --mode nftables, or leave the port out")]
    Sctp,
}

/// A port of an address. TCP and UDP have each their own.
type Place = (Protocol, SocketAddr);

/// The listeners.
#[derive(Debug)]
pub struct Vips {
    options: VipOptions,
    ports: BTreeMap<Place, Port>,
    clients: HashMap<(ObjectKey, Protocol, u16), Clients>,
    shared: Shared,
}

/// A port that is bound.
#[derive(Debug)]
enum Port {
    Open {
        front: Arc<Front>,
        stop: CancellationToken,
        accepts: JoinHandle<()>,
    },
    OpenUdp(UdpPort),
    Silent {
        _socket: Silent,
    },
    /// Takes datagrams and does not look at them.
    SilentUdp {
        _socket: std::net::UdpSocket,
    },
}

impl Port {
    const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::OpenUdp(_))
    }

    /// Closes it; its connections go on, its UDP flows end.
    async fn close(self) {
        match self {
            Self::Open { stop, accepts, .. } => {
                stop.cancel();
                if accepts.await.is_err() {
                    tracing::error!("a listener of a virtual address has panicked");
                }
            },
            Self::OpenUdp(port) => port.close().await,
            Self::Silent { .. } | Self::SilentUdp { .. } => {},
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
        let (flows, end) = (TaskTracker::new(), CancellationToken::new());
        let shared = Shared { flows, permits, end, totals: Arc::clone(&options.totals) };
        Self { options, ports: BTreeMap::new(), clients: HashMap::new(), shared }
    }

    /// Takes over what the Services are now. What fails is tried again the next time.
    pub async fn apply(&mut self, services: &[Arc<Service>]) -> Applied {
        let no_local = no_local(services, &self.options.node);
        let mut applied = Applied { no_local, ..Applied::default() };
        let wanted = self.wanted(services, &mut applied);
        let ended = self.ports.extract_if(.., |address, port| {
            let answer = wanted.get(address).map(Wanted::answer);
            answer != Some(if port.is_open() { Answer::Listen } else { Answer::Silent })
        });
        // A port is closed before it is bound anew.
        for port in ended.map(|(_, port)| port).collect::<Vec<_>>() {
            port.close().await;
        }
        for (place, wanted) in wanted {
            if let Err(error) = self.serve(place, wanted) {
                applied.failed.push((place.1, error.into()));
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
    ) -> BTreeMap<Place, Wanted<'a>> {
        let mut wanted: BTreeMap<Place, Wanted<'a>> = BTreeMap::new();
        let mut clients = HashMap::new();
        for service in services {
            for port in &service.ports {
                if port.protocol == Protocol::Sctp {
                    let places = self.addresses(service, port).into_iter();
                    applied.failed.extend(places.map(|(listen, ..)| (listen, Failure::Sctp)));
                    continue;
                }
                let known = service.affinity.map(|timeout| self.clients(service, port, timeout));
                if let Some(known) = &known {
                    let key = (service.key.clone(), port.protocol, port.port);
                    clients.insert(key, Arc::clone(known));
                }
                for (listen, address, via) in self.addresses(service, port) {
                    let place = (port.protocol, listen);
                    if let Some(winner) = wanted.get(&place) {
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
                    wanted.insert(place, Wanted { meaning, sets });
                }
            }
        }
        self.clients = clients;
        wanted
    }

    /// The clients of a port with affinity: those that it had.
    fn clients(&self, service: &Service, port: &ServicePort, timeout: Duration) -> Clients {
        let known = self.clients.get(&(service.key.clone(), port.protocol, port.port));
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

    /// Makes `place` what it shall be.
    fn serve(&mut self, place: Place, wanted: Wanted<'_>) -> io::Result<()> {
        let answer = wanted.answer();
        let Wanted { meaning, sets } = wanted;
        let (protocol, address) = place;
        match answer {
            Answer::Refuse => {},
            Answer::Silent => {
                if let Entry::Vacant(room) = self.ports.entry(place) {
                    room.insert(match protocol {
                        Protocol::Udp => Port::SilentUdp { _socket: listen::virtual_udp(address)? },
                        _ => Port::Silent { _socket: listen::silent_tcp(address)? },
                    });
                }
            },
            Answer::Listen => match self.ports.get(&place) {
                Some(Port::Open { front, .. }) => front.update(meaning, &sets),
                Some(Port::OpenUdp(port)) => {
                    port.front().update(meaning, &sets);
                    port.repin();
                },
                _ => {
                    let VipOptions { scheduler, cluster, .. } = &self.options;
                    let front = Arc::new(Front::new(*scheduler, cluster.clone(), meaning.clone()));
                    front.update(meaning, &sets);
                    let port = self.open(place, front)?;
                    self.ports.insert(place, port);
                },
            },
        }
        Ok(())
    }

    fn open(&self, (protocol, address): Place, front: Arc<Front>) -> io::Result<Port> {
        if protocol == Protocol::Udp {
            let socket = UdpSocket::from_std(listen::virtual_udp(address)?)?;
            return Ok(Port::OpenUdp(UdpPort::open(front, socket, &self.shared)));
        }
        let socket = TcpListener::from_std(listen::virtual_tcp(address)?)?;
        let stop = CancellationToken::new();
        let (shared, ends) = (self.shared.clone(), stop.clone());
        let accepts = tokio::spawn(accept_loop(Arc::clone(&front), socket, shared, ends));
        Ok(Port::Open { front, stop, accepts })
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
            match port {
                Port::Open { stop, .. } => stop.cancel(),
                Port::OpenUdp(port) => port.abandon(),
                Port::Silent { .. } | Port::SilentUdp { .. } => {},
            }
        }
        self.shared.end.cancel();
    }
}

/// Ports of Services whose policy leaves no endpoint on `node` though there is one elsewhere: internal
/// and external.
fn no_local(services: &[impl AsRef<Service>], node: &Node) -> [usize; 2] {
    let mut counts = [0; 2];
    for service in services.iter().map(AsRef::as_ref) {
        for port in &service.ports {
            let usable = categorize(&port.endpoints, node).usable();
            if usable.local || !usable.cluster {
                continue;
            }
            let is_outer = port.node_port.is_some()
                || !service.external_ips.is_empty()
                || !service.load_balancer_ips.is_empty();
            counts[0] += usize::from(service.internal == TrafficPolicy::Local);
            counts[1] += usize::from(is_outer && service.external == TrafficPolicy::Local);
        }
    }
    counts
}
