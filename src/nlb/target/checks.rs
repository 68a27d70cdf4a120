//! The task that checks one registered target until its registration ends.

use std::sync::Arc;

use tokio::{task::JoinSet, time::Instant};

use super::{Group, Target};
use crate::{
    health::{Code, State},
    nlb::config::CheckProtocol,
    probe::{self, FailReason, HttpCheck, Outcome, Preamble},
};

/// Checks at once, over all targets.
pub(in crate::nlb) const AT_ONCE: usize = 256;

/// Something that the task woke up for.
enum Event {
    Checked(Result<(), Code>),
    ConfigChanged,
    DrainingOver,
    FlowFailed,
}

pub(super) async fn run(group: Arc<Group>, target: Arc<Target>) {
    let mut config = group.config.subscribe();
    let mut due = Instant::now();
    let mut draining_until: Option<Instant> = None;
    group.change(&target, |health, _rules| {
        health.checking();
        None
    });
    loop {
        let event = tokio::select! {
            biased;
            () = sleep_until(draining_until) => Event::DrainingOver,
            () = target.passive.notified() => Event::FlowFailed,
            changed = config.changed() => match changed {
                Ok(()) => Event::ConfigChanged,
                Err(_group_is_gone) => return,
            },
            () = tokio::time::sleep_until(due) => {
                let begun = Instant::now();
                let outcome = round(&group, &target).await;
                due = (begun + group.config().check.interval).max(Instant::now());
                Event::Checked(outcome)
            },
        };
        let step = match event {
            Event::Checked(outcome) => {
                group.change(&target, |health, rules| health.record(outcome, rules))
            },
            // Passive failures speed up a fall and do not delay a rise (A.5).
            Event::FlowFailed => group.change(&target, |health, rules| match health.state() {
                State::Healthy => health.record(Err(Code::FailedHealthChecks), rules),
                _ => None,
            }),
            Event::ConfigChanged => {
                due = due.min(Instant::now() + group.config().check.interval);
                continue;
            },
            Event::DrainingOver => {
                draining_until = None;
                group.change(&target, |health, _rules| health.unhealthy_drained())
            },
        };
        if let Some(step) = step {
            draining_until = (step.to == State::UnhealthyDraining)
                .then(|| Instant::now() + group.config().unhealthy_draining);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// One round: a check by each checker, of which most decide (A.5).
async fn round(group: &Arc<Group>, target: &Arc<Target>) -> Result<(), Code> {
    let checkers = group.config().check.checkers;
    if checkers <= 1 {
        return check(group, target).await;
    }
    let mut checks = JoinSet::new();
    for _ in 0..checkers {
        let (group, target) = (Arc::clone(group), Arc::clone(target));
        checks.spawn(async move { check(&group, &target).await });
    }
    majority(&checks.join_all().await)
}

/// What most say; of as many passes as failures, the failure.
fn majority(outcomes: &[Result<(), Code>]) -> Result<(), Code> {
    let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.err()).collect();
    match failures.first() {
        Some(code) if 2 * failures.len() >= outcomes.len() => Err(*code),
        _ => Ok(()),
    }
}

/// One active check.
async fn check(group: &Group, target: &Target) -> Result<(), Code> {
    let Ok(_permit) = group.shared.permits.acquire().await else { return Ok(()) };
    let config = group.config();
    let registered = target.config.load_full();
    let preamble = match config.check_has_proxy_header(&registered) {
        true => Preamble::ProxyLocal,
        false => Preamble::None,
    };
    let address = registered.check_address(&config.check);
    let limit = config.check.timeout;
    let outcome = match &config.check.protocol {
        CheckProtocol::Tcp => probe::tcp(address, limit, preamble).await,
        CheckProtocol::Http { path, matcher } => {
            let host = address.to_string();
            let check = HttpCheck { host: &host, path, matcher };
            probe::http(address, check, limit, preamble).await
        },
        CheckProtocol::Https { path, matcher } => {
            let host = address.to_string();
            let check = HttpCheck { host: &host, path, matcher };
            // Boxed, so that the tasks of other checks stay small.
            Box::pin(probe::https(address, check, limit, preamble)).await
        },
    };
    match outcome {
        Outcome::Pass => Ok(()),
        Outcome::Fail(FailReason::Failed | FailReason::Refused | FailReason::Handshake) => {
            Err(Code::FailedHealthChecks)
        },
        Outcome::Fail(FailReason::ResponseCode(_)) => Err(Code::ResponseCodeMismatch),
        Outcome::Fail(FailReason::Timeout) => Err(Code::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A.5: one node that cannot reach a target does not take it out; half of them do.
    #[test]
    fn most_checkers_decide() {
        let failed = Err(Code::Timeout);
        assert_eq!(majority(&[Ok(()), failed, Ok(())]), Ok(()));
        assert_eq!(majority(&[failed, Ok(()), failed]), failed);
        assert_eq!(majority(&[failed, Ok(())]), failed);
    }
}
