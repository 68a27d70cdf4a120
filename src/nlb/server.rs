//! A running load balancer: its listeners and target groups, and how a new configuration is applied.
//!
//! Started by `app::nlb` and by `wharf up`. Always holds: what a new configuration does not change
//! goes on untouched, and a part of it that cannot be applied leaves the rest applied.

mod sockets;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use sockets::{Sockets, TcpSockets, UdpSocketOn};

use super::{
    accesslog::{self, AccessLog, AccessLogConfig},
    config::{GroupConfig, ListenerConfig, NlbConfig, Protocol, TlsConfig, Weighted, ZoneConfig},
    expired::Expired,
    explain::FlowView,
    listener::{Binding, Listener, accept_loop},
    names::{self, Names},
    nodes::{self, ZoneState},
    retired::Retired,
    stats::{Count, ListenerStats, ListenerTotals, TargetState},
    target::{Around, CHECKS_AT_ONCE, Group, Shared},
    tls::{Front, FrontError, Log, Profiles},
    udp,
};
use crate::{
    net::{listen, transparent},
    task::workers::Workers,
};

/// What could not be applied; everything else was.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ApplyError(pub Vec<BindError>);

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {name}: {}", listen::bind_help(*address, source))]
pub struct BindError {
    /// Name of the listener.
    pub name: Arc<str>,
    /// Where it should listen.
    pub address: SocketAddr,
    /// What the kernel says.
    pub source: io::Error,
}

/// A running load balancer. Clones refer to the same one.
#[derive(Clone, Debug)]
pub struct NlbHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Ends accepting.
    cancel: CancellationToken,
    shared: Arc<Shared>,
    /// Accept loops and flows.
    flows: TaskTracker,
    /// Where they run.
    workers: Workers,
    running: Mutex<Running>,
    /// What DNS says, as of the last change that was asked about.
    view: ArcSwap<DnsView>,
    /// Writers of access logs.
    writers: TaskTracker,
    /// Lines that the access log lost.
    lost_lines: Arc<Count>,
}

/// What DNS says of a load balancer.
#[derive(Debug, Default)]
pub struct DnsView {
    /// Its names.
    pub names: Arc<Names>,
    /// States of its zones, in the order of the configuration.
    pub zones: Vec<ZoneState>,
    /// Changes of targets so far.
    changes: u64,
}

#[derive(Debug, Default)]
struct Running {
    listeners: HashMap<Arc<str>, Bound>,
    groups: HashMap<Arc<str>, Arc<Group>>,
    names: Arc<Names>,
    zones: Vec<ZoneConfig>,
    /// Zone that traffic is shifted away from.
    shifted: Option<Arc<str>>,
    /// Counts of listeners that are gone.
    retired: Retired,
    /// Ticket keys.
    profiles: Profiles,
    log: Option<Arc<AccessLog>>,
    /// What was applied last.
    config: Option<Arc<NlbConfig>>,
}

#[derive(Debug)]
struct Bound {
    /// As configured; the port may be 0.
    wanted: SocketAddr,
    protocol: Protocol,
    listener: Arc<Listener>,
    /// Each of them ends taking what is new when it is dropped.
    tcp: Option<DropGuard>,
    udp: Option<DropGuard>,
}

impl NlbHandle {
    /// Starts a load balancer. It accepts until `cancel`; its flows go on until [`Self::drain`].
    ///
    /// # Errors
    /// A listener cannot be bound; nothing runs then.
    pub async fn start(config: NlbConfig, cancel: CancellationToken) -> Result<Self, ApplyError> {
        Self::start_on(Workers::default(), config, cancel).await
    }

    /// [`Self::start`] whose flows run on `workers`.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on(
        workers: Workers,
        config: NlbConfig,
        cancel: CancellationToken,
    ) -> Result<Self, ApplyError> {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let handle = Self(Arc::new(Inner {
            cancel,
            shared: Arc::new(Shared {
                seed,
                tasks: TaskTracker::new(),
                end: CancellationToken::new(),
                changes: watch::Sender::new(0),
                permits: Semaphore::new(CHECKS_AT_ONCE),
            }),
            flows: TaskTracker::new(),
            workers,
            running: Mutex::default(),
            view: ArcSwap::default(),
            writers: TaskTracker::new(),
            lost_lines: Arc::default(),
        }));
        if let Err(error) = handle.apply(config) {
            handle.0.cancel.cancel();
            handle.drain(Duration::ZERO).await;
            return Err(error);
        }
        Ok(handle)
    }

    /// Applies a configuration: groups and listeners are matched by name, targets by address. Flows
    /// go on. Must be called inside a runtime.
    ///
    /// # Errors
    /// Listeners that could not be bound; the previous ones of the same names keep serving.
    pub fn apply(&self, mut config: NlbConfig) -> Result<(), ApplyError> {
        let mut running = self.lock();
        let refused = without_privilege(&mut config.groups);
        running.config = Some(Arc::new(config.clone()));
        let NlbConfig { name, zones, names, listeners, groups, access_log, shifted } = config;
        let listeners = nodes::sockets(listeners, &zones);
        let own = running.own();
        self.apply_groups(
            &mut running,
            groups,
            Around { listeners: &listeners, own: &own, zones: &zones },
        );
        (running.names, running.zones) = (Arc::new(Names::new(&name, &names)), zones);
        running.shifted = shifted;
        self.apply_access_log(&mut running, access_log, names.region);
        let mut failed = Vec::new();
        let Running { listeners: bound, retired, .. } = &mut *running;
        for (_, bound) in bound.extract_if(|name, _| !listeners.iter().any(|its| its.name == *name))
        {
            bound.listener.stop.cancel();
            retired.add(bound.listener.binding.load().zone.clone(), &bound.listener.stats);
        }
        for listener in &listeners {
            let of = |group: &&Arc<str>| listener.forwards_to(group);
            if let Some((names, error)) = &refused
                && let Some(group) = names.iter().find(of)
            {
                let source = io::Error::other(format!(
                    "target group {group} keeps the addresses of clients, which needs root, or \
                     cap_net_admin by setcap: {error}"
                ));
                let (name, address) = (Arc::clone(&listener.name), listener.address);
                failed.push(BindError { name, address, source });
                continue;
            }
            if let Err(error) = self.apply_listener(&mut running, listener.clone()) {
                failed.push(error);
            }
        }
        self.judge_again(&mut running, &listeners, &own);
        self.renew_view(&running);
        if failed.is_empty() { Ok(()) } else { Err(ApplyError(failed)) }
    }

    fn apply_groups(&self, running: &mut Running, groups: Vec<GroupConfig>, around: Around<'_>) {
        let gone: Vec<Arc<str>> = running
            .groups
            .keys()
            .filter(|name| !groups.iter().any(|group| group.name == **name))
            .cloned()
            .collect();
        for group in gone.iter().filter_map(|name| running.groups.remove(name)) {
            let empty = GroupConfig { targets: Vec::new(), ..GroupConfig::clone(&group.config()) };
            group.apply(empty, Around { listeners: &[], ..around });
        }
        for config in groups {
            let group = running
                .groups
                .entry(Arc::clone(&config.name))
                .or_insert_with(|| Group::new(Arc::clone(&self.0.shared), config.clone()));
            group.apply(config, around);
        }
    }

    /// A target that has the address of a listener is unusable (A.6). Which addresses these are is
    /// known when the listeners are bound.
    fn judge_again(
        &self,
        running: &mut Running,
        listeners: &[ListenerConfig],
        before: &[SocketAddr],
    ) {
        let (own, zones) = (running.own(), running.zones.clone());
        let Some(config) = running.config.clone().filter(|_| own != before) else { return };
        let mut targets = config.groups.iter().flat_map(|group| &group.targets);
        let changes =
            |address: SocketAddr| Around::is_own(&own, address) != Around::is_own(before, address);
        if targets.any(|target| changes(target.address)) {
            let around = Around { listeners, own: &own, zones: &zones };
            self.apply_groups(running, config.groups.clone(), around);
        }
    }

    /// Starts, changes or ends the access log. The former one goes on for the flows that have it.
    fn apply_access_log(
        &self,
        running: &mut Running,
        config: Option<AccessLogConfig>,
        region: Arc<str>,
    ) {
        let label = running.names.label.clone();
        let place = config.map(|config| accesslog::Place { config, region, label });
        if running.log.as_ref().map(|log| &log.place) == place.as_ref() {
            return;
        }
        running.log = place
            .map(|place| AccessLog::start(place, Arc::clone(&self.0.lost_lines), &self.0.writers));
    }

    fn apply_listener(
        &self,
        running: &mut Running,
        config: ListenerConfig,
    ) -> Result<(), BindError> {
        let group = |weighted: &Weighted| {
            running.groups.get(&weighted.group).map(|group| (Arc::clone(group), weighted.weight))
        };
        let Some(forward) = config.forward.iter().map(group).collect::<Option<Vec<_>>>() else {
            let source = io::Error::new(io::ErrorKind::NotFound, "no such target group");
            let ListenerConfig { name, address, .. } = config;
            return Err(BindError { name, address, source });
        };
        let front = config.tls.as_ref().map(|tls| running.front(tls, &config.name, &forward));
        let tls = match front.transpose() {
            Ok(tls) => tls,
            Err(error) => {
                let ListenerConfig { name, address, .. } = config;
                return Err(BindError { name, address, source: io::Error::other(error) });
            },
        };
        let binding = Arc::new(Binding {
            tls,
            forward,
            zone: config.zone,
            idle_timeout: config.idle_timeout,
            udp_idle_timeout: config.udp_idle_timeout,
            connect_timeout: config.connect_timeout,
            max_flows: config.max_flows,
            max_expired_flows: config.max_expired_flows,
            source_ranges: config.source_ranges,
        });
        let ListenerConfig { name, address, protocol, .. } = config;
        let error = |source| BindError { name: Arc::clone(&name), address, source };
        if let Some(bound) = running.listeners.get_mut(&name) {
            bound.listener.binding.store(Arc::clone(&binding));
            if [bound.wanted, bound.listener.local].contains(&address) {
                return self.carry(bound, protocol).map_err(error);
            }
        }
        let Sockets { tcp, udp, local } =
            sockets::bind(&self.0.workers.handles(), protocol, address).map_err(error)?;
        let previous = running.listeners.get(&name);
        let listener = Arc::new(Listener {
            local,
            binding: ArcSwap::new(binding),
            stats: previous
                .map_or_else(Arc::<ListenerStats>::default, |old| Arc::clone(&old.listener.stats)),
            expired: Expired::default(),
            flows: self.0.flows.clone(),
            stop: self.0.cancel.child_token(),
            end: self.0.shared.end.clone(),
            sequence: AtomicU64::new(0),
        });
        let mut bound = Bound { wanted: address, protocol, listener, tcp: None, udp: None };
        if protocol.has_tcp() {
            self.accept(&mut bound, tcp);
        }
        if let Some(socket) = udp {
            self.receive(&mut bound, socket);
        }
        tracing::info!(listener = %name, address = %local, "listening");
        if let Some(previous) = running.listeners.insert(name, bound) {
            previous.listener.stop.cancel();
        }
        Ok(())
    }

    /// Lets a listener carry `protocol` on its port from now on. What it carries already goes on.
    fn carry(&self, bound: &mut Bound, protocol: Protocol) -> io::Result<()> {
        let (workers, local) = (self.0.workers.handles(), bound.listener.local);
        if protocol.has_tcp() && bound.tcp.is_none() {
            let (sockets, _) = sockets::bind_tcp(&workers, local)?;
            self.accept(bound, sockets);
        }
        if protocol.has_udp() && bound.udp.is_none() {
            let (socket, _) = sockets::bind_udp(&workers, local)?;
            self.receive(bound, socket);
        }
        if !protocol.has_tcp() {
            bound.tcp = None;
        }
        if !protocol.has_udp() {
            bound.udp = None;
        }
        bound.protocol = protocol;
        Ok(())
    }

    fn accept(&self, bound: &mut Bound, sockets: TcpSockets) {
        let stop = bound.listener.stop.child_token();
        for (worker, socket) in sockets {
            let accepts = accept_loop(Arc::clone(&bound.listener), socket, stop.clone());
            self.0.flows.spawn_on(accepts, &worker);
        }
        bound.tcp = Some(stop.drop_guard());
    }

    fn receive(&self, bound: &mut Bound, (worker, socket): UdpSocketOn) {
        let stop = bound.listener.stop.child_token();
        let serves = udp::serve(Arc::clone(&bound.listener), socket, stop.clone());
        self.0.flows.spawn_on(serves, &worker);
        bound.udp = Some(stop.drop_guard());
    }

    /// Ends accepting, waits up to `grace` for the flows, and resets what is left. Says whether none
    /// was left.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let inner = &self.0;
        inner.cancel.cancel();
        inner.flows.close();
        inner.shared.tasks.close();
        let left = tokio::time::timeout(grace, inner.flows.wait()).await.is_err();
        inner.shared.end.cancel();
        inner.flows.wait().await;
        inner.shared.tasks.wait().await;
        if let Some(log) = &self.lock().log {
            log.close();
        }
        inner.writers.close();
        inner.writers.wait().await;
        if left { Drained::Reset } else { Drained::Clean }
    }

    /// Names of the listeners and the addresses they are bound to, by name.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let running = self.lock();
        let mut addresses: Vec<_> = running
            .listeners
            .iter()
            .map(|(name, bound)| (Arc::clone(name), bound.listener.local))
            .collect();
        addresses.sort();
        addresses
    }

    /// Where listeners are bound, and for what.
    #[must_use]
    pub fn open_ports(&self) -> Vec<(SocketAddr, Protocol)> {
        let running = self.lock();
        running.listeners.values().map(|bound| (bound.listener.local, bound.protocol)).collect()
    }

    /// What a new flow between these addresses would meet; nothing if no listener is there.
    #[must_use]
    pub fn explain(&self, source: SocketAddr, destination: SocketAddr) -> Option<FlowView> {
        let running = self.lock();
        let is_there = |bound: &&Bound| {
            let local = bound.listener.local;
            local.port() == destination.port()
                && (local.ip().is_unspecified() || local.ip() == destination.ip())
        };
        // The more particular address takes the connection.
        let bounds = running.listeners.iter().filter(|(_, bound)| is_there(bound));
        let (name, bound) =
            bounds.min_by_key(|(_, bound)| bound.listener.local.ip().is_unspecified())?;
        let binding = bound.listener.binding.load();
        let groups = binding.forward.iter();
        let groups = groups
            .map(|(group, weight)| group.explain(source.ip(), binding.zone.as_deref(), *weight));
        Some(FlowView {
            listener: name.to_string(),
            address: bound.listener.local,
            zone: binding.zone.as_deref().map(str::to_owned),
            admitted: binding.admits(source),
            groups: groups.collect(),
        })
    }

    /// All targets with their states, by group and address.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetState> {
        let mut targets: Vec<_> =
            self.lock().groups.values().flat_map(|group| group.targets()).collect();
        targets
            .sort_by(|a, b| (&a.target_group, a.id, a.port).cmp(&(&b.target_group, b.id, b.port)));
        targets
    }

    /// States of the zones, in the order of the configuration (A.2).
    #[must_use]
    pub fn zones(&self) -> Vec<ZoneState> {
        self.lock().zone_states()
    }

    /// What DNS says at this moment. Made once for each change, and not by waiting: while a configuration is
    /// being applied, this is the view of the moment before.
    #[must_use]
    pub fn dns_view(&self) -> Arc<DnsView> {
        let view = self.0.view.load_full();
        if view.changes == *self.0.shared.changes.borrow() {
            return view;
        }
        match self.0.running.try_lock() {
            Ok(running) => self.renew_view(&running),
            Err(TryLockError::Poisoned(running)) => self.renew_view(&running.into_inner()),
            Err(TryLockError::WouldBlock) => view,
        }
    }

    fn renew_view(&self, running: &Running) -> Arc<DnsView> {
        // Read first: a change from here on makes another view.
        let changes = *self.0.shared.changes.borrow();
        let (names, zones) = (Arc::clone(&running.names), running.zone_states());
        let view = Arc::new(DnsView { names, zones, changes });
        self.0.view.store(Arc::clone(&view));
        view
    }

    /// The configuration that was applied last.
    #[must_use]
    pub fn config(&self) -> Option<Arc<NlbConfig>> {
        self.lock().config.clone()
    }

    /// The DNS names.
    #[must_use]
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.lock().names)
    }

    /// Counts of the listeners, by name.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerTotals> {
        let running = self.lock();
        let totals = |(name, bound): (&Arc<str>, &Bound)| {
            let zone = bound.listener.binding.load().zone.clone();
            let expired = bound.listener.expired.len();
            bound.listener.stats.totals(Arc::clone(name), zone, expired)
        };
        let mut all: Vec<_> = running.listeners.iter().map(totals).collect();
        all.sort_by(|a, b| a.listener.cmp(&b.listener));
        all
    }

    /// Counts by zone, of listeners that are gone as well: what counts up never goes back.
    #[must_use]
    pub fn zone_totals(&self) -> Vec<ListenerTotals> {
        let all = self.listeners();
        self.lock().retired.by_zone(all)
    }

    /// Lines that the access log lost: its queue was full, or its directory could not be written.
    #[must_use]
    pub fn lost_log_lines(&self) -> u64 {
        self.0.lost_lines.load()
    }

    /// Changes whenever the state of a target may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeping the addresses of clients needs a privilege. Without it the groups that ask for it are left
/// as if they did not, so that what serves goes on, and nobody is misled: no listener is set up for
/// them. Their names, and what the kernel says.
fn without_privilege(groups: &mut [GroupConfig]) -> Option<(Vec<Arc<str>>, io::Error)> {
    groups.iter().find(|group| group.preserve_client)?;
    let error = transparent::may(([127, 0, 0, 1], 0).into()).err()?;
    let asking = groups.iter_mut().filter(|group| group.preserve_client);
    let names = asking.map(|group| {
        group.preserve_client = false;
        Arc::clone(&group.name)
    });
    Some((names.collect(), error))
}

impl Running {
    /// Where the listeners are bound.
    fn own(&self) -> Vec<SocketAddr> {
        let mut own: Vec<_> = self.listeners.values().map(|bound| bound.listener.local).collect();
        own.sort_unstable();
        own
    }

    /// What the TLS listener `name` has ready.
    fn front(
        &mut self,
        config: &TlsConfig,
        name: &str,
        forward: &[(Arc<Group>, u32)],
    ) -> Result<Front, FrontError> {
        let targets = forward.first().map_or(Protocol::Tcp, |(group, _)| group.config().protocol);
        let log = self.log.as_ref().map(|log| Log {
            log: Arc::clone(log),
            balancer: self.names.label.as_str().into(),
            listener: names::id(name).into(),
        });
        Front::new(config, targets, &mut self.profiles, log)
    }

    fn zone_states(&self) -> Vec<ZoneState> {
        let groups: Vec<_> = self.groups.values().filter_map(|group| group.zone_health()).collect();
        nodes::states(&self.zones, &groups, self.shifted.as_deref())
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every flow ended by itself.
    Clean,
    /// Some flows had to be reset.
    Reset,
}

#[cfg(test)]
mod tests;
