//! What flows and DNS see of a target: its standing, which follows its state at once or after the
//! propagation delay.
//!
//! Called by `target` for every change. Always holds: changes arrive in the order in which they were
//! made.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use tokio::time::Instant;

use super::{Group, Target};
use crate::{
    health::{Flows, State, Step, TargetHealth},
    nlb::{config::GroupConfig, flow::Standing},
};

/// Changes of one target that may be on their way; of more, the last one takes in the next.
pub(super) const MOST_DELAYED: usize = 64;

/// A change that is on its way.
#[derive(Clone, Copy, Debug)]
struct Change {
    due: Instant,
    standing: Standing,
    cut: Cut,
}

/// What a change does to the flows of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Nothing.
    None,
    /// They are reset, unless their nodes fail open with this change: the target is as good as any then.
    UnlessFailOpen,
    /// They are reset.
    All,
}

impl Cut {
    /// What `step` does to flows.
    pub(super) fn of(step: Step) -> Self {
        match (step.flows, step.from, step.to) {
            (Flows::Keep, ..) => Self::None,
            (Flows::Reset, State::Healthy | State::Initial, State::Unhealthy) => {
                Self::UnlessFailOpen
            },
            (Flows::Reset, ..) => Self::All,
        }
    }
}

/// Changes of a target that are on their way, the next one first.
#[derive(Debug, Default)]
pub(super) struct Delayed(Mutex<VecDeque<Change>>);

impl Delayed {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a change; true if nothing was on its way before.
    fn push(&self, change: Change) -> bool {
        let mut queue = self.lock();
        let full = queue.len() >= MOST_DELAYED;
        match queue.back_mut() {
            Some(last) if full => {
                *last = Change { cut: last.cut.max(change.cut), ..change };
            },
            _ => queue.push_back(change),
        }
        queue.len() == 1
    }
}

impl Group {
    /// Lets flows and DNS see the state of a target, and does to its flows what `cut` says:
    /// now, or when the propagation delay is over.
    pub(super) fn propagate(
        self: &Arc<Self>,
        target: &Arc<Target>,
        health: &TargetHealth,
        cut: Cut,
    ) {
        let delay = self.config().propagation_delay;
        let standing = standing_of(health.state());
        let change = Change { due: Instant::now() + delay, standing, cut };
        if delay.is_zero() && target.delayed.lock().is_empty() {
            self.arrived(target, change);
        } else if target.delayed.push(change) {
            let (group, target) = (Arc::clone(self), Arc::clone(target));
            self.shared.tasks.spawn(async move {
                let arrive = async {
                    while let Some(due) = target.next_due() {
                        tokio::time::sleep_until(due).await;
                        group.arrive(&target);
                        group.shared.note_change();
                    }
                };
                group.shared.end.run_until_cancelled(arrive).await;
            });
        }
    }

    /// The changes of `target` that are due arrive.
    fn arrive(&self, target: &Target) {
        let mut queue = target.delayed.lock();
        while let Some(change) = queue.pop_front_if(|change| change.due <= Instant::now()) {
            self.arrived(target, change);
        }
    }

    fn arrived(&self, target: &Target, change: Change) {
        target.see(change.standing);
        let reset = match change.cut {
            Cut::None => false,
            Cut::UnlessFailOpen => !self.fails_open(target),
            Cut::All => true,
        };
        if reset {
            target.follow(Flows::Reset);
        }
    }

    /// True if the nodes that send flows to `target` use all targets, too few being healthy.
    fn fails_open(&self, target: &Target) -> bool {
        let config = self.config();
        let registered = target.config.load();
        // Where no listener stands for a zone, one node sees all targets.
        let zone = registered.zone.as_deref().filter(|_| self.zonal.load(Relaxed));
        let (mut healthy, mut candidates) = (0, 0);
        for member in self.members.load().iter() {
            let standing = member.standing_at(zone, &config);
            healthy += usize::from(standing == Standing::Healthy);
            candidates += usize::from(standing != Standing::Out);
        }
        !config.minimum.is_met(healthy, candidates)
    }
}

impl Target {
    /// Its standing for flows that enter at the node of `zone`; none is all zones.
    pub(super) fn standing_at(&self, zone: Option<&str>, config: &GroupConfig) -> Standing {
        let barred = match config.cross_zone {
            // A target without a zone is in every zone, as with `all` at AWS.
            false => zone.is_some_and(|zone| !self.is_in(zone)),
            true => config.shifted.as_deref().is_some_and(|zone| self.zone_is(zone)),
        };
        if barred { Standing::Out } else { self.standing() }
    }

    /// True if it is registered for this zone.
    pub(super) fn zone_is(&self, zone: &str) -> bool {
        self.config.load().zone.as_deref() == Some(zone)
    }

    fn is_in(&self, zone: &str) -> bool {
        self.config.load().zone.as_deref().is_none_or(|own| own == zone)
    }

    /// Its standing for all.
    pub(super) fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Out,
            1 => Standing::Candidate,
            _ => Standing::Healthy,
        }
    }

    fn see(&self, standing: Standing) {
        let standing = match standing {
            Standing::Out => 0,
            Standing::Candidate => 1,
            Standing::Healthy => 2,
        };
        self.standing.store(standing, Relaxed);
    }

    fn next_due(&self) -> Option<Instant> {
        self.delayed.lock().front().map(|change| change.due)
    }
}

fn standing_of(state: State) -> Standing {
    match state {
        State::Draining | State::Unused => Standing::Out,
        State::Initial | State::Unhealthy | State::UnhealthyDraining => Standing::Candidate,
        State::Healthy | State::Unavailable => Standing::Healthy,
    }
}

#[cfg(test)]
mod tests;
