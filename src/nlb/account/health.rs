//! `DescribeTargetHealth`: what the running load balancer says about the targets of a group, in the
//! words of the API (spec/l4-dns.md A.6).

use serde::Serialize;

use super::{
    Account, Target, TargetGroup,
    error::Refusal,
    groups::port,
    targets::{TargetKey, same_id},
};
use crate::{
    health::{Code as Reason, State},
    nlb::{
        config::TargetType,
        stats::{Override, TargetState},
    },
};

/// The health of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The target.
    pub target: Target,
    /// Port that is checked.
    pub check_port: u16,
    /// State.
    pub state: String,
    /// Why, unless it is healthy.
    pub reason: Option<String>,
    /// The reason in a sentence.
    pub description: Option<String>,
    /// `AdministrativeOverride`.
    pub overridden: Override,
}

/// The word that stands for `value` in the API.
fn word(value: impl Serialize) -> String {
    let word = serde_json::to_value(value);
    word.ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Account {
    /// The health of the targets of a group: of these, or of all that are registered or draining.
    /// `running` are the targets of the load balancer that uses the group.
    ///
    /// # Errors
    /// The group is not there, or a port is none.
    pub fn health(
        &self,
        arn: &str,
        wanted: &[TargetKey],
        running: &[TargetState],
    ) -> Result<Vec<Health>, Refusal> {
        let group = self.group(arn)?;
        let running: Vec<_> =
            running.iter().filter(|state| *state.target_group == *group.name).collect();
        let mut all: Vec<_> = group
            .targets
            .iter()
            .map(|target| self.of_registered(group, target, &running))
            .collect();
        let registered: Vec<_> =
            group.targets.iter().filter_map(|target| self.address(group, target)).collect();
        for state in &running {
            if state.state == State::Draining
                && !registered.contains(&(state.id, state.port).into())
            {
                all.push(self.of_running(group, state));
            }
        }
        if wanted.is_empty() {
            return Ok(all);
        }
        let mut named = Vec::new();
        for key in wanted {
            let number = key.port.map(port).transpose()?;
            let fits = |health: &&Health| {
                same_id(&health.target.id, &key.id)
                    && number.is_none_or(|port| port == health.target.port)
            };
            let before = named.len();
            named.extend(all.iter().filter(fits).cloned());
            if named.len() == before {
                let (id, port) = (key.id.clone(), number.unwrap_or(group.port));
                let target = Target { id, port, zone: key.zone.clone() };
                named.push(told(group, target, State::Unused, Reason::NotRegistered));
            }
        }
        Ok(named)
    }

    fn of_registered(
        &self,
        group: &TargetGroup,
        target: &Target,
        running: &[&TargetState],
    ) -> Health {
        let Some(address) = self.address(group, target) else {
            return told(group, target.clone(), State::Unused, Reason::InvalidState);
        };
        let own = |state: &&&TargetState| (state.id, state.port) == (address.ip(), address.port());
        match running.iter().find(own) {
            Some(state) => Health { target: target.clone(), ..self.of_running(group, state) },
            None if self.balancer_of(&group.arn).is_some() => {
                told(group, target.clone(), State::Initial, Reason::RegistrationInProgress)
            },
            None => told(group, target.clone(), State::Unused, Reason::NotInUse),
        }
    }

    fn of_running(&self, group: &TargetGroup, state: &TargetState) -> Health {
        let machine = match group.target_type {
            TargetType::Ip => None,
            TargetType::Instance => {
                let mut all = self.environment.instances.iter();
                all.find(|(_, machine)| machine.address == state.id).map(|(id, _)| id.clone())
            },
        };
        Health {
            target: Target {
                id: machine.unwrap_or_else(|| state.id.to_string()),
                port: state.port,
                zone: state.availability_zone.as_ref().map(ToString::to_string),
            },
            check_port: state.health_check_port,
            state: word(state.state),
            reason: state.reason.map(word),
            description: state.reason.map(|reason| reason.meaning().to_owned()),
            overridden: state.administrative_override,
        }
    }
}

/// The health of a target that does not run.
fn told(group: &TargetGroup, target: Target, state: State, reason: Reason) -> Health {
    Health {
        check_port: group.check.port.parse().unwrap_or(target.port),
        target,
        state: word(state),
        reason: Some(word(reason)),
        description: Some(reason.meaning().to_owned()),
        overridden: Override::NoOverride,
    }
}
