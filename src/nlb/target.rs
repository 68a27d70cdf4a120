//! Target groups: who is registered, who is healthy, who leaves (A.5, A.6).
//!
//! Made and changed by `server`, asked by `listener` for every flow. Each registered target has one
//! task that checks it; all changes of health happen there, changes of registration happen in
//! [`Group::apply`]. A [`Target`] lives as long as a flow holds it.

mod checks;
mod explain;
mod standing;

use std::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use foldhash::quality::FixedState;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use checks::AT_ONCE as CHECKS_AT_ONCE;
use standing::{Cut, Delayed};

use super::{
    config::{GroupConfig, ListenerConfig, TargetConfig, ZoneConfig},
    flow::{Flow, Member, Routing, Standing, choose, sticky_hash},
    nodes::GroupHealth,
    stats::{Override, TargetState},
};
use crate::{
    health::{Code, Flows, Rules, State, Step, TargetHealth},
    stats::Gauge,
};

/// What all groups of a load balancer share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Key of the flow hash.
    pub(super) seed: u64,
    /// Check tasks and timers.
    pub(super) tasks: TaskTracker,
    /// Ends those tasks.
    pub(super) end: CancellationToken,
    /// Counts changes of any target's state.
    pub(super) changes: watch::Sender<u64>,
    /// Bounds the checks at once.
    pub(super) permits: Semaphore,
}

/// A target group.
#[derive(Debug)]
pub(super) struct Group {
    shared: Arc<Shared>,
    config: watch::Sender<Arc<GroupConfig>>,
    members: ArcSwap<Vec<Arc<Target>>>,
    /// A listener gives it flows: it forwards to it with a weight above 0.
    carries: AtomicBool,
    /// Its flows come through nodes of zones.
    zonal: AtomicBool,
    /// Held while `members` is replaced.
    writing: Mutex<()>,
}

/// Where a group stands: what of the configuration around it matters for its targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// The listeners of the load balancer.
    pub(super) listeners: &'a [ListenerConfig],
    /// Where they are bound.
    pub(super) own: &'a [SocketAddr],
    pub(super) zones: &'a [ZoneConfig],
}

/// What becomes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// Its group or its zone is not used.
    NotUsed,
    /// It gets flows, and nobody checks it.
    Unchecked,
    /// Its address cannot get flows.
    Unusable,
    Used,
}

/// A target, registered or draining.
#[derive(Debug)]
pub(super) struct Target {
    id: u64,
    pub(super) address: SocketAddr,
    config: ArcSwap<TargetConfig>,
    registration: Mutex<Registration>,
    /// [`Standing`], kept beside the lock for the choice.
    standing: AtomicU8,
    delayed: Delayed,
    pub(super) flows: Gauge,
    /// A change resets the flows that subscribed before.
    cut: watch::Sender<u64>,
    /// A flow could not connect (passive check, A.5).
    passive: Notify,
}

#[derive(Debug)]
struct Registration {
    health: TargetHealth,
    /// Ends the tasks of this registration.
    stop: CancellationToken,
}

/// A chosen target.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) target: Arc<Target>,
    pub(super) routing: Routing,
    /// Changes when the flow must be reset.
    pub(super) cut: watch::Receiver<u64>,
}

impl Group {
    pub(super) fn new(shared: Arc<Shared>, config: GroupConfig) -> Arc<Self> {
        let empty = GroupConfig { targets: Vec::new(), ..config };
        Arc::new(Self {
            shared,
            config: watch::Sender::new(Arc::new(empty)),
            members: ArcSwap::default(),
            carries: AtomicBool::new(false),
            zonal: AtomicBool::new(false),
            writing: Mutex::new(()),
        })
    }

    pub(super) fn config(&self) -> Arc<GroupConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// The hash of a flow that is not sticky.
    pub(super) fn hash(&self, flow: &Flow) -> u64 {
        flow.hash(self.shared.seed)
    }

    /// Chooses a target for a flow that enters at the node of `zone`; never `except`.
    pub(super) fn pick(
        &self,
        flow: &Flow,
        zone: Option<&str>,
        except: Option<&Target>,
    ) -> Option<Picked> {
        let config = self.config();
        let hash = match config.sticky {
            true => sticky_hash(flow.source.ip(), self.shared.seed),
            false => self.hash(flow),
        };
        let members = self.members.load();
        let candidates = members.iter().map(|target| {
            let excluded = except.is_some_and(|other| std::ptr::eq(other, &raw const **target));
            let standing = if excluded { Standing::Out } else { target.standing_at(zone, &config) };
            Member { id: target.id, standing }
        });
        let choice = choose(hash, candidates, config.minimum)?;
        let target = Arc::clone(&members[choice.index]);
        let cut = target.cut.subscribe();
        Some(Picked { target, routing: choice.routing, cut })
    }

    /// Registers, changes and deregisters targets so that those of `config` remain. A target whose
    /// zone is not enabled is not used.
    pub(super) fn apply(self: &Arc<Self>, config: GroupConfig, around: Around<'_>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let weights = around.listeners.iter().filter_map(|its| its.weight_of(&config.name));
        let forwards = |its: &&ListenerConfig| its.zone.is_some() && its.forwards_to(&config.name);
        self.zonal.store(around.listeners.iter().any(|its| forwards(&its)), Relaxed);
        self.carries.store(weights.max().is_some_and(|weight| weight > 0), Relaxed);
        let config = Arc::new(config);
        self.config.send_replace(Arc::clone(&config));
        let present = self.members.load_full();
        let mut members = Vec::with_capacity(config.targets.len());
        for wanted in &config.targets {
            let usage = around.usage(&config, wanted);
            let known = present.iter().find(|target| target.address == wanted.address);
            let target = match known {
                Some(target) => {
                    target.config.store(Arc::new(wanted.clone()));
                    Arc::clone(target)
                },
                None => Arc::new(Target::new(wanted)),
            };
            self.register(&target, usage, known.is_none());
            members.push(target);
        }
        let leaves = |target: &&Arc<Target>| {
            !config.targets.iter().any(|wanted| wanted.address == target.address)
        };
        for target in present.iter().filter(leaves) {
            if self.deregister(target) == State::Draining {
                members.push(Arc::clone(target));
            }
        }
        self.members.store(Arc::new(members));
        self.shared.note_change();
    }

    /// Brings a wanted target into the state `usage` asks for; one that is there already stays as it
    /// is.
    fn register(self: &Arc<Self>, target: &Arc<Target>, usage: Usage, new: bool) {
        let mut registration = target.lock();
        let used = match (registration.health.state(), registration.health.code()) {
            (State::Draining, _) => None,
            (State::Unused, Some(Code::IpUnusable)) => Some(Usage::Unusable),
            (State::Unused, _) => Some(Usage::NotUsed),
            (State::Unavailable, _) => Some(Usage::Unchecked),
            _ => Some(Usage::Used),
        };
        if !new && used == Some(usage) {
            return;
        }
        registration.stop.cancel();
        let stop = self.shared.end.child_token();
        let health = match usage {
            Usage::NotUsed => TargetHealth::not_in_use(),
            Usage::Unchecked => TargetHealth::unchecked(),
            Usage::Unusable => {
                let (group, target) = (&self.config().name, target.address);
                tracing::warn!(%group, %target, "a listener has this address, or no machine has");
                TargetHealth::unusable()
            },
            Usage::Used => TargetHealth::registered(),
        };
        *registration = Registration { health, stop: stop.clone() };
        self.propagate(target, &registration.health, Cut::None);
        drop(registration);
        if usage == Usage::Used {
            let run = checks::run(Arc::clone(self), Arc::clone(target));
            self.shared.tasks.spawn(async move {
                stop.run_until_cancelled(run).await;
            });
        }
    }

    /// Starts the deregistration of a target and says in which state it is now.
    fn deregister(self: &Arc<Self>, target: &Arc<Target>) -> State {
        let mut registration = target.lock();
        let step = registration.health.deregister();
        self.propagate(target, &registration.health, Cut::None);
        let (state, stop) = (registration.health.state(), registration.stop.clone());
        drop(registration);
        match step {
            Some(Step { to: State::Draining, .. }) => {
                tracing::info!(target = %target.address, "target is draining");
                let delay = self.config().deregistration_delay;
                let (group, target) = (Arc::clone(self), Arc::clone(target));
                self.shared.tasks.spawn(async move {
                    let over = stop.run_until_cancelled(tokio::time::sleep(delay)).await;
                    if over.is_some() {
                        group.deregistered(&target);
                    }
                });
            },
            Some(_) => stop.cancel(),
            None => {},
        }
        state
    }

    /// The deregistration delay is over: the group forgets the target; what flows remain hold it.
    fn deregistered(&self, target: &Arc<Target>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let flows = match self.config().deregistration_termination {
            true => Flows::Reset,
            false => Flows::Keep,
        };
        let mut registration = target.lock();
        let Some(step) = registration.health.deregistered(flows) else { return };
        registration.stop.cancel();
        drop(registration);
        let mut members = Vec::clone(&self.members.load());
        members.retain(|other| !Arc::ptr_eq(other, target));
        self.members.store(Arc::new(members));
        target.follow(step.flows);
        self.shared.note_change();
    }

    /// Runs `change` on the health of a target and carries out what follows from it.
    fn change(
        self: &Arc<Self>,
        target: &Arc<Target>,
        change: impl FnOnce(&mut TargetHealth, &Rules) -> Option<Step>,
    ) -> Option<Step> {
        let rules = self.config.borrow().check.rules;
        let mut registration = target.lock();
        let step = change(&mut registration.health, &rules);
        if let Some(step) = step {
            self.propagate(target, &registration.health, Cut::of(step));
        }
        let code = registration.health.code();
        drop(registration);
        if let Some(step) = step {
            log(&self.config().name, target, step, code);
        }
        self.shared.note_change();
        step
    }

    /// What counts for the zones (A.2); nothing if no listener gives flows to this group. AWS does not
    /// say what becomes of a group of weight 0: that nobody can reach fails no zone.
    pub(super) fn zone_health(&self) -> Option<GroupHealth> {
        let config = self.config();
        let health = |target: &Arc<Target>| match target.standing() {
            Standing::Out => None,
            standing => Some((target.config.load().zone.clone(), standing == Standing::Healthy)),
        };
        self.carries.load(Relaxed).then(|| GroupHealth {
            cross_zone: config.cross_zone,
            minimum: config.dns_minimum,
            targets: self.members.load().iter().filter_map(health).collect(),
        })
    }

    /// Targets and their states.
    pub(super) fn targets(&self) -> Vec<TargetState> {
        let config = self.config();
        let state = |target: &Arc<Target>| {
            let registered = target.config.load();
            let registration = target.lock();
            TargetState {
                target_group: Arc::clone(&config.name),
                id: target.address.ip(),
                port: target.address.port(),
                availability_zone: registered.zone.clone(),
                health_check_port: registered.check_address(&config.check).port(),
                state: registration.health.state(),
                reason: registration.health.code(),
                administrative_override: match &config.shifted {
                    Some(zone) if target.zone_is(zone) && config.cross_zone => {
                        Override::ZonalShiftActive
                    },
                    Some(zone) if target.zone_is(zone) => Override::ZonalShiftDelegatedToDns,
                    _ => Override::NoOverride,
                },
                active_flows: target.flows.load(),
            }
        };
        self.members.load().iter().map(state).collect()
    }
}

fn log(group: &str, target: &Target, step: Step, code: Option<Code>) {
    let target = target.address;
    match step.to {
        State::Unhealthy | State::UnhealthyDraining => {
            tracing::warn!(group, %target, from = ?step.from, to = ?step.to, ?code, "target changed");
        },
        _ => tracing::info!(group, %target, from = ?step.from, to = ?step.to, "target changed"),
    }
}

impl Around<'_> {
    fn usage(&self, group: &GroupConfig, target: &TargetConfig) -> Usage {
        let used = self.listeners.iter().any(|listener| listener.forwards_to(&group.name));
        let enabled = |zone: &Arc<str>| self.zones.iter().any(|other| other.name == *zone);
        let zone_enabled = self.zones.is_empty() || target.zone.as_ref().is_none_or(enabled);
        if !(used && zone_enabled) {
            Usage::NotUsed
        } else if self.is_unusable(target.address) {
            Usage::Unusable
        } else if group.check.enabled {
            Usage::Used
        } else {
            Usage::Unchecked
        }
    }

    /// True if a connection to `address` would come back to the load balancer, or reach nobody.
    fn is_unusable(&self, address: SocketAddr) -> bool {
        let nobody = match address.ip() {
            IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
        };
        nobody || Self::is_own(self.own, address)
    }

    /// True if one of the sockets `own` takes connections to `address`.
    pub(super) fn is_own(own: &[SocketAddr], address: SocketAddr) -> bool {
        let everywhere = |own: &SocketAddr| {
            own.ip().is_unspecified() && own.port() == address.port() && address.ip().is_loopback()
        };
        own.iter().any(|own| *own == address || everywhere(own))
    }
}

impl Shared {
    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Target {
    fn new(config: &TargetConfig) -> Self {
        Self {
            id: FixedState::default().hash_one(config.address),
            address: config.address,
            config: ArcSwap::from_pointee(config.clone()),
            registration: Mutex::new(Registration {
                health: TargetHealth::registered(),
                stop: CancellationToken::new(),
            }),
            standing: AtomicU8::new(0),
            delayed: Delayed::default(),
            flows: Gauge::default(),
            cut: watch::Sender::new(0),
            passive: Notify::new(),
        }
    }

    /// A flow could not connect.
    pub(super) fn connect_failed(&self) {
        self.passive.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registration> {
        self.registration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, flows: Flows) {
        if flows == Flows::Reset {
            self.cut.send_modify(|count| *count += 1);
        }
    }
}
