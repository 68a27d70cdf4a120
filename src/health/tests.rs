//! The two state machines against naive oracles.

use proptest::prelude::*;

use super::*;

fn run(checked: &mut Checked, outcomes: &str) -> String {
    outcomes
        .chars()
        .map(|outcome| {
            let verdict = if outcome == '+' { Verdict::Pass } else { Verdict::Fail };
            match checked.record(verdict) {
                Some(Change::Up) => 'U',
                Some(Change::Down) => 'D',
                None => '.',
            }
        })
        .collect()
}

/// [HC-2] with the correction of spec/route.md 26.1.
#[test]
fn hc_2_never_seen_up_goes_down_on_the_first_failure() {
    assert!(Checked::default().is_up(), "initially up");
    assert_eq!(run(&mut Checked::default(), "-++"), "D.U");
}

/// [HC-2].
#[test]
fn hc_2_three_failures_in_a_row_down_two_passes_in_a_row_up() {
    assert_eq!(run(&mut Checked::default(), "+--+---"), "......D");
    assert_eq!(run(&mut Checked::default(), "+---+-++---"), "...D...U..D");
    let mut checked = Checked::default();
    run(&mut checked, "-++--");
    assert!(checked.is_up(), "having been up once, it needs three failures");
}

const RULES: Rules =
    Rules { healthy_threshold: 3, unhealthy_threshold: 2, on_unhealthy: OnUnhealthy::Reset };
const FAIL: Result<(), Code> = Err(Code::FailedHealthChecks);

fn step(from: State, to: State, flows: Flows) -> Option<Step> {
    Some(Step { from, to, flows })
}

/// NLB-07.
#[test]
fn nlb_07_one_pass_is_enough_for_a_new_target() {
    let mut target = TargetHealth::registered();
    assert_eq!(
        (target.state(), target.code()),
        (State::Initial, Some(Code::RegistrationInProgress))
    );
    target.checking();
    assert_eq!(target.code(), Some(Code::InitialHealthChecking));
    let rules = Rules { healthy_threshold: 10, ..RULES };
    assert_eq!(target.record(FAIL, &rules), None);
    assert_eq!(target.record(Ok(()), &rules), step(State::Initial, State::Healthy, Flows::Keep));
    assert_eq!(target.code(), None);
}

/// NLB-08 and R-57.
#[test]
fn nlb_08_a_row_of_failures_makes_unhealthy_and_resets_flows_unless_told_otherwise() {
    for (on_unhealthy, to, flows) in [
        (OnUnhealthy::Reset, State::Unhealthy, Flows::Reset),
        (OnUnhealthy::Keep, State::Unhealthy, Flows::Keep),
        (OnUnhealthy::Drain, State::UnhealthyDraining, Flows::Keep),
    ] {
        let rules = Rules { on_unhealthy, ..RULES };
        let mut target = TargetHealth::registered();
        target.record(Ok(()), &rules);
        assert_eq!(target.record(FAIL, &rules), None);
        assert_eq!(target.record(Ok(()), &rules), None, "a pass ends the row");
        assert_eq!(target.record(FAIL, &rules), None);
        assert_eq!(target.record(Err(Code::Timeout), &rules), step(State::Healthy, to, flows));
        assert_eq!(target.code(), Some(Code::Timeout));
        assert_eq!(target.record(FAIL, &rules), None);
        assert_eq!(target.code(), Some(Code::FailedHealthChecks), "the latest reason is shown");
        for _ in 0..2 {
            assert_eq!(target.record(Ok(()), &rules), None);
        }
        assert_eq!(target.record(Ok(()), &rules), step(to, State::Healthy, Flows::Keep));
    }
}

#[test]
fn a_new_target_that_fails_turns_unhealthy_without_draining() {
    let rules = Rules { on_unhealthy: OnUnhealthy::Drain, ..RULES };
    let mut target = TargetHealth::registered();
    target.record(FAIL, &rules);
    assert_eq!(target.record(FAIL, &rules), step(State::Initial, State::Unhealthy, Flows::Keep));
}

#[test]
fn the_end_of_the_draining_interval_resets_flows() {
    let rules = Rules { on_unhealthy: OnUnhealthy::Drain, ..RULES };
    let mut target = TargetHealth::registered();
    for outcome in [Ok(()), FAIL, FAIL] {
        target.record(outcome, &rules);
    }
    assert_eq!(
        target.unhealthy_drained(),
        step(State::UnhealthyDraining, State::Unhealthy, Flows::Reset)
    );
    assert_eq!(target.unhealthy_drained(), None);
}

/// NLB-13.
#[test]
fn nlb_13_deregistration_keeps_flows_until_the_target_fails_or_the_group_says_so() {
    let mut target = TargetHealth::registered();
    target.record(Ok(()), &RULES);
    assert_eq!(target.deregister(), step(State::Healthy, State::Draining, Flows::Keep));
    assert_eq!(target.code(), Some(Code::DeregistrationInProgress));
    assert_eq!(target.deregister(), None);
    let mut failing = target;
    failing.record(FAIL, &RULES);
    assert_eq!(failing.record(FAIL, &RULES), step(State::Draining, State::Draining, Flows::Reset));
    assert_eq!(target.deregistered(Flows::Keep), step(State::Draining, State::Unused, Flows::Keep));
    assert_eq!(target.code(), Some(Code::NotRegistered));
    assert_eq!(target.record(Ok(()), &RULES), None, "outcomes no longer count");
}

#[test]
fn a_target_without_a_listener_is_unused() {
    let mut target = TargetHealth::not_in_use();
    assert_eq!((target.state(), target.code()), (State::Unused, Some(Code::NotInUse)));
    assert_eq!(target.record(Ok(()), &RULES), None);
    target.deregister();
    assert_eq!((target.state(), target.code()), (State::Unused, Some(Code::NotRegistered)));
}

///
#[test]
fn r_56_states_and_codes_are_spelled_as_in_the_aws_api() {
    let text = |value: &dyn erased::Json| value.json();
    for (state, word) in [
        (State::Draining, "draining"),
        (State::Healthy, "healthy"),
        (State::Initial, "initial"),
        (State::Unhealthy, "unhealthy"),
        (State::UnhealthyDraining, "unhealthy.draining"),
        (State::Unused, "unused"),
    ] {
        assert_eq!(text(&state), word);
    }
    for (code, word) in [
        (Code::DeregistrationInProgress, "Target.DeregistrationInProgress"),
        (Code::FailedHealthChecks, "Target.FailedHealthChecks"),
        (Code::InitialHealthChecking, "Elb.InitialHealthChecking"),
        (Code::NotInUse, "Target.NotInUse"),
        (Code::NotRegistered, "Target.NotRegistered"),
        (Code::RegistrationInProgress, "Elb.RegistrationInProgress"),
        (Code::ResponseCodeMismatch, "Target.ResponseCodeMismatch"),
        (Code::Timeout, "Target.Timeout"),
    ] {
        assert_eq!(text(&code), word);
    }
}

mod erased {
    pub(super) trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_value(self).unwrap().as_str().unwrap().to_owned()
        }
    }
}

/// The last `count` outcomes exist and are all `wanted`.
fn row(history: &[bool], wanted: bool, count: usize) -> bool {
    history.len() >= count && history[history.len() - count..].iter().all(|&got| got == wanted)
}

proptest! {
    /// Oracle: looks at the whole history instead of counting. A row must lie behind the last
    /// change.
    #[test]
    fn hc_2_counting_agrees_with_the_whole_history(
        outcomes in proptest::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut checked = Checked::default();
        let mut up = true;
        let mut since = 0;
        for end in 1..=outcomes.len() {
            let seen_up = outcomes[..end].contains(&true);
            let behind = &outcomes[since..end];
            let fall = if seen_up { 3 } else { 1 };
            let flips = if up { row(behind, false, fall) } else { row(behind, true, 2) };
            if flips {
                up = !up;
                since = end;
            }
            let verdict = if outcomes[end - 1] { Verdict::Pass } else { Verdict::Fail };
            prop_assert_eq!(checked.record(verdict).is_some(), flips);
            prop_assert_eq!(checked.is_up(), up);
        }
    }

    #[test]
    fn target_states_agree_with_the_whole_history(
        outcomes in proptest::collection::vec(any::<bool>(), 0..60),
        healthy in 2..=10_u32,
        unhealthy in 2..=10_u32,
    ) {
        let rules = Rules { healthy_threshold: healthy, unhealthy_threshold: unhealthy, ..RULES };
        let mut target = TargetHealth::registered();
        let mut state = State::Initial;
        let mut since = 0;
        for end in 1..=outcomes.len() {
            let behind = &outcomes[since..end];
            let next = match state {
                State::Initial if row(behind, true, 1) => State::Healthy,
                State::Unhealthy if row(behind, true, healthy as usize) => State::Healthy,
                State::Initial | State::Healthy if row(behind, false, unhealthy as usize) => {
                    State::Unhealthy
                },
                same => same,
            };
            let outcome = if outcomes[end - 1] { Ok(()) } else { FAIL };
            let got = target.record(outcome, &rules);
            prop_assert_eq!(got.is_some(), next != state);
            if next != state {
                since = end;
            }
            state = next;
            prop_assert_eq!(target.state(), state);
        }
    }
}
