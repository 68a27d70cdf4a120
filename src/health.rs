//! L2: rise and fall of one checked address, without sockets and clocks.
//!
//! Used by `probe` for the router's endpoints ([`Checked`], [HC-2]) and by `nlb` for targets
//! ([`TargetHealth`], spec/l4-dns.md A.5 and A.6). Both take outcomes of checks and say what changed.
//! What requests say of an endpoint is in [`outlier`], and how often they may be repeated in
//! [`budget`].

pub mod budget;
pub mod outlier;

use serde::{Deserialize, Serialize};

/// Outcome of one check, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The address answered as it should.
    Pass,
    /// It did not.
    Fail,
}

/// A change of a [`Checked`] address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may be used again.
    Up,
    /// It must not be used.
    Down,
}

/// An endpoint of the router [HC-2]: up until a check fails, then three failures in a row take it
/// down and two passes in a row bring it back. An endpoint that has never passed goes down on its
/// first failure.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    up: bool,
    seen_up: bool,
    /// Outcomes in a row that speak against the present state.
    against: u32,
}

/// Failures in a row that take an endpoint down [HC-2].
const FALL: u32 = 3;
/// Passes in a row that bring it back [HC-2].
const RISE: u32 = 2;

impl Default for Checked {
    fn default() -> Self {
        Self { up: true, seen_up: false, against: 0 }
    }
}

impl Checked {
    /// Counts an outcome and says whether the state changed.
    pub fn record(&mut self, verdict: Verdict) -> Option<Change> {
        if self.up == (verdict == Verdict::Pass) {
            self.seen_up |= self.up;
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match (self.up, self.seen_up) {
            (true, true) => FALL,
            (true, false) => 1,
            (false, _) => RISE,
        };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.up = !self.up;
        self.seen_up |= self.up;
        Some(if self.up { Change::Up } else { Change::Down })
    }

    /// The present state.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }
}

/// State of a target, in the words of the AWS API (A.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum State {
    /// Deregistered; its flows go on.
    #[serde(rename = "draining")]
    Draining,
    /// Passes its checks.
    #[serde(rename = "healthy")]
    Healthy,
    /// Registered, not judged yet.
    #[serde(rename = "initial")]
    Initial,
    /// Fails its checks.
    #[serde(rename = "unhealthy")]
    Unhealthy,
    /// Fails its checks, and its flows may end by themselves for a while.
    #[serde(rename = "unhealthy.draining")]
    UnhealthyDraining,
    /// Used, and nobody checks it.
    #[serde(rename = "unavailable")]
    Unavailable,
    /// Not checked and not used.
    #[serde(rename = "unused")]
    Unused,
}

/// Reason code of a state, in the words of the AWS API (A.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// Draining.
    #[serde(rename = "Target.DeregistrationInProgress")]
    DeregistrationInProgress,
    /// The connection failed.
    #[serde(rename = "Target.FailedHealthChecks")]
    FailedHealthChecks,
    /// Health checks of the group are off.
    #[serde(rename = "Target.HealthCheckDisabled")]
    HealthCheckDisabled,
    /// No check has finished yet.
    #[serde(rename = "Elb.InitialHealthChecking")]
    InitialHealthChecking,
    /// The machine is not there, or does not run.
    #[serde(rename = "Target.InvalidState")]
    InvalidState,
    /// The address is the load balancer's own, or of nobody.
    #[serde(rename = "Target.IpUnusable")]
    IpUnusable,
    /// No listener uses the group, or the target's zone is not enabled.
    #[serde(rename = "Target.NotInUse")]
    NotInUse,
    /// Deregistered, and the delay is over.
    #[serde(rename = "Target.NotRegistered")]
    NotRegistered,
    /// The first check has not started.
    #[serde(rename = "Elb.RegistrationInProgress")]
    RegistrationInProgress,
    /// The answer had another status code than the matcher wants.
    #[serde(rename = "Target.ResponseCodeMismatch")]
    ResponseCodeMismatch,
    /// No answer in time.
    #[serde(rename = "Target.Timeout")]
    Timeout,
}

impl Code {
    /// What it says, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::DeregistrationInProgress => {
                "Deregistered; gets no new flow, and keeps those it has"
            },
            Self::FailedHealthChecks => "Health checks failed: the connection was refused or broke",
            Self::HealthCheckDisabled => "Health checks of the group are off",
            Self::InitialHealthChecking => "No health check has ended yet",
            Self::InvalidState => "No option tells the address of this machine",
            Self::IpUnusable => {
                "The address is that of a listener of the load balancer, or of no machine"
            },
            Self::NotInUse => "No listener forwards to the group, or the zone is not enabled",
            Self::NotRegistered => "Not registered with the group",
            Self::RegistrationInProgress => "The first health check has not begun",
            Self::ResponseCodeMismatch => {
                "Health checks got another status code than the matcher wants"
            },
            Self::Timeout => "Health checks got no answer in time",
        }
    }
}

/// What the target group says about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// HealthyThresholdCount.
    pub healthy_threshold: u32,
    /// UnhealthyThresholdCount.
    pub unhealthy_threshold: u32,
    /// What becomes of flows when a target turns unhealthy.
    pub on_unhealthy: OnUnhealthy,
}

/// What becomes of the flows of a target that turns unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// They go on for the draining interval (`unhealthy.draining`).
    Drain,
    /// They go on; there is no draining interval.
    Keep,
    /// They are reset (the default).
    Reset,
}

/// A step of a target from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Before.
    pub from: State,
    /// After; the same as `from` when only flows are concerned.
    pub to: State,
    /// What the step does to existing flows.
    pub flows: Flows,
}

/// What a step does to existing flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// Nothing.
    Keep,
    /// They are reset.
    Reset,
}

/// Life of one target of a target group (A.5, A.6).
#[derive(Clone, Copy, Debug)]
pub struct TargetHealth {
    registration: Registration,
    health: Health,
    /// Outcomes in a row that speak against `health`.
    against: u32,
    code: Option<Code>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    Draining,
    Registered,
    Unchecked,
    Unused(Code),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Healthy,
    Initial,
    Unhealthy,
    UnhealthyDraining,
}

impl TargetHealth {
    /// A target that was just registered.
    #[must_use]
    pub fn registered() -> Self {
        Self {
            registration: Registration::Registered,
            health: Health::Initial,
            against: 0,
            code: Some(Code::RegistrationInProgress),
        }
    }

    /// A target that is registered and cannot get traffic.
    #[must_use]
    pub fn not_in_use() -> Self {
        Self { registration: Registration::Unused(Code::NotInUse), ..Self::registered() }
    }

    /// A target whose address can get no traffic.
    #[must_use]
    pub fn unusable() -> Self {
        Self { registration: Registration::Unused(Code::IpUnusable), ..Self::registered() }
    }

    /// A target that is registered and never checked.
    #[must_use]
    pub fn unchecked() -> Self {
        Self { registration: Registration::Unchecked, ..Self::registered() }
    }

    /// The state that the API shows.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.registration, self.health) {
            (Registration::Draining, _) => State::Draining,
            (Registration::Unchecked, _) => State::Unavailable,
            (Registration::Unused(_), _) => State::Unused,
            (Registration::Registered, Health::Healthy) => State::Healthy,
            (Registration::Registered, Health::Initial) => State::Initial,
            (Registration::Registered, Health::Unhealthy) => State::Unhealthy,
            (Registration::Registered, Health::UnhealthyDraining) => State::UnhealthyDraining,
        }
    }

    /// The reason code that the API shows with it.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self.registration {
            Registration::Draining => Some(Code::DeregistrationInProgress),
            Registration::Unchecked => Some(Code::HealthCheckDisabled),
            Registration::Unused(code) => Some(code),
            Registration::Registered => self.code,
        }
    }

    /// The first check starts.
    pub fn checking(&mut self) {
        if self.health == Health::Initial {
            self.code = Some(Code::InitialHealthChecking);
        }
    }

    /// Counts an outcome: `Ok`, or the code of the failure. The first pass after registration makes
    /// a target healthy whatever the threshold is; all other changes need a row of outcomes. A
    /// draining target stays draining, but one that turns unhealthy loses its flows.
    pub fn record(&mut self, outcome: Result<(), Code>, rules: &Rules) -> Option<Step> {
        if matches!(self.registration, Registration::Unchecked | Registration::Unused(_)) {
            return None;
        }
        let before = self.state();
        let next = self.count(outcome, rules)?;
        self.health = next;
        self.against = 0;
        self.code = outcome.err();
        let flows = match next {
            Health::Unhealthy if rules.on_unhealthy == OnUnhealthy::Reset => Flows::Reset,
            _ => Flows::Keep,
        };
        let step = Step { from: before, to: self.state(), flows };
        (step.from != step.to || step.flows == Flows::Reset).then_some(step)
    }

    /// The health that follows if the outcome changes it.
    fn count(&mut self, outcome: Result<(), Code>, rules: &Rules) -> Option<Health> {
        let failing = matches!(self.health, Health::Unhealthy | Health::UnhealthyDraining);
        let (agrees, needed) = match outcome {
            Ok(()) => (
                self.health == Health::Healthy,
                match self.health {
                    Health::Initial => 1,
                    _ => rules.healthy_threshold,
                },
            ),
            Err(_) => (failing, rules.unhealthy_threshold),
        };
        if agrees {
            self.against = 0;
            if let Err(code) = outcome {
                self.code = Some(code);
            }
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        Some(match outcome {
            Ok(()) => Health::Healthy,
            Err(_)
                if rules.on_unhealthy == OnUnhealthy::Drain && self.health == Health::Healthy =>
            {
                Health::UnhealthyDraining
            },
            Err(_) => Health::Unhealthy,
        })
    }

    /// The draining interval of an unhealthy target is over.
    pub fn unhealthy_drained(&mut self) -> Option<Step> {
        if self.health != Health::UnhealthyDraining {
            return None;
        }
        let from = self.state();
        self.health = Health::Unhealthy;
        Some(Step { from, to: self.state(), flows: Flows::Reset })
    }

    /// The target leaves the group; its flows stay. An unused target is gone at once.
    pub fn deregister(&mut self) -> Option<Step> {
        let from = self.state();
        self.registration = match self.registration {
            Registration::Registered | Registration::Unchecked => Registration::Draining,
            Registration::Draining => return None,
            Registration::Unused(_) => Registration::Unused(Code::NotRegistered),
        };
        Some(Step { from, to: self.state(), flows: Flows::Keep })
    }

    /// The deregistration delay is over. `flows` is what the group's attribute asks for.
    pub fn deregistered(&mut self, flows: Flows) -> Option<Step> {
        if self.registration != Registration::Draining {
            return None;
        }
        self.registration = Registration::Unused(Code::NotRegistered);
        Some(Step { from: State::Draining, to: State::Unused, flows })
    }
}

#[cfg(test)]
mod tests;
