//! When flows see what became of a target, with the clock standing still.

use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{super::Shared, *};
use crate::{
    health::{Code, OnUnhealthy, Rules},
    nlb::config::parse,
};

const DELAY: Duration = Duration::from_secs(60);
const RULES: Rules =
    Rules { healthy_threshold: 2, unhealthy_threshold: 2, on_unhealthy: OnUnhealthy::Reset };

/// A group with `propagationDelaySeconds: SECONDS`, and a target.
fn group(seconds: u64) -> (Arc<Group>, Arc<Target>) {
    let text = format!(
        "{{name: a, propagationDelaySeconds: {seconds}, listeners: [], \
         targetGroups: [{{name: a, port: 1, targets: [{{id: 127.0.0.1}}]}}]}}"
    );
    let config = parse(&text).unwrap().groups.remove(0);
    let target = Arc::new(Target::new(&config.targets[0]));
    let shared = Shared {
        seed: 0,
        tasks: TaskTracker::new(),
        end: CancellationToken::new(),
        changes: watch::Sender::new(0),
        permits: Semaphore::new(1),
    };
    (Group::new(Arc::new(shared), config), target)
}

fn passed() -> TargetHealth {
    let mut health = TargetHealth::registered();
    health.record(Ok(()), &RULES).unwrap();
    health
}

fn failed() -> TargetHealth {
    let mut health = passed();
    for _ in 0..2 {
        health.record(Err(Code::Timeout), &RULES);
    }
    health
}

/// Without a delay a change is there at once.
#[tokio::test(start_paused = true)]
async fn without_a_delay_a_change_is_seen_at_once() {
    let (group, target) = group(0);
    group.propagate(&target, &passed(), Cut::None);
    assert_eq!(target.standing(), Standing::Healthy);
}

/// A.14: with a delay each change comes that much later, in order, with what it does to flows.
#[tokio::test(start_paused = true)]
async fn changes_come_late_and_in_order() {
    let (group, target) = group(60);
    let cut = target.cut.subscribe();
    group.propagate(&target, &passed(), Cut::None);
    tokio::time::sleep(DELAY / 2).await;
    group.propagate(&target, &failed(), Cut::All);
    assert_eq!(target.standing(), Standing::Out);
    tokio::time::sleep(DELAY * 3 / 4).await;
    assert_eq!(target.standing(), Standing::Healthy, "the first is there, the second is not");
    assert!(!cut.has_changed().unwrap());
    tokio::time::sleep(DELAY / 2).await;
    assert_eq!(target.standing(), Standing::Candidate);
    assert!(cut.has_changed().unwrap());
    group.propagate(&target, &passed(), Cut::None);
    tokio::time::sleep(DELAY * 2).await;
    assert_eq!(target.standing(), Standing::Healthy, "a change after all have arrived");
}

/// Of more changes than may be on their way, the last is what stays, and no reset is lost.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_bounded() {
    let (group, target) = group(60);
    let cut = target.cut.subscribe();
    for _ in 0..MOST_DELAYED {
        group.propagate(&target, &passed(), Cut::None);
    }
    group.propagate(&target, &failed(), Cut::All);
    group.propagate(&target, &passed(), Cut::None);
    assert_eq!(target.delayed.lock().len(), MOST_DELAYED);
    tokio::time::sleep(DELAY * 2).await;
    assert_eq!(target.standing(), Standing::Healthy);
    assert!(cut.has_changed().unwrap());
    assert!(target.delayed.lock().is_empty());
}
