//! What is carried from compile to compile.

use std::time::Duration;

use super::*;
use crate::model::status::{RejectReason, ingress::RouteIngress};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999)
}

fn statuses(change: impl FnOnce(&mut RouterSettings)) -> Statuses {
    let mut settings = RouterSettings::default();
    change(&mut settings);
    Statuses::new(&Arc::new(settings))
}

fn route(uid: Option<&str>, written: &[RouteIngress]) -> Stored<Route> {
    let mut object = Route::default();
    object.metadata.uid = uid.map(str::to_owned);
    object.status.ingress = written.to_vec();
    Stored::in_memory(ObjectKey::new("app", "a"), object, "a.yaml")
}

fn entry(router_name: &str, host: &str) -> RouteIngress {
    RouteIngress {
        router_name: router_name.to_owned(),
        host: host.to_owned(),
        ..RouteIngress::default()
    }
}

/// One compile with `route` alone.
fn compile(statuses: &mut Statuses, route: &Stored<Route>, now: u64) -> Arc<RouteStatus> {
    let status = statuses.next(route, "a.b", &Admission::Admitted, at(now));
    statuses.finish();
    status
}

fn second(status: &RouteStatus) -> i64 {
    let condition = status.of("default").unwrap().condition(ingress::ADMITTED).unwrap();
    condition.last_transition_time.as_ref().unwrap().0.as_second()
}

/// [STAT-2]
#[test]
fn time_is_carried_over_while_nothing_changes() {
    let mut all = statuses(|_| {});
    let first = compile(&mut all, &route(None, &[]), 10);
    assert_eq!(second(&first), 10);
    let again = compile(&mut all, &route(None, &[]), 20);
    assert!(Arc::ptr_eq(&first, &again));
    let refused = Admission::Rejected { reason: RejectReason::NoHostValue, message: String::new() };
    let refused = all.next(&route(None, &[]), "a.b", &refused, at(30));
    assert_eq!(second(&refused), 30);
}

/// [STAT-7]: another object of the same name, or the same one after it was gone, is a new one.
#[test]
fn another_uid_starts_anew() {
    let mut all = statuses(|_| {});
    let first = compile(&mut all, &route(Some("one"), &[]), 10);
    assert_eq!(second(&compile(&mut all, &route(Some("two"), &[]), 20)), 20);
    assert_eq!(second(&compile(&mut all, &route(Some("two"), &[]), 30)), 20);
    all.finish();
    assert_eq!(second(&compile(&mut all, &route(Some("two"), &[]), 40)), 40);
    assert_eq!(second(&first), 10);
}

/// [STAT-1]: entries of other routers come from the manifest, as it is now; ours is found by name, and
/// one that a manifest brings along goes on.
#[test]
fn entries_of_others_are_shown_beside_ours() {
    let mut all = statuses(|_| {});
    let first = compile(&mut all, &route(None, &[entry("other", "x")]), 10);
    let names: Vec<_> = first.ingress.iter().map(|entry| &*entry.router_name).collect();
    assert_eq!(names, ["other", "default"]);
    let moved = compile(&mut all, &route(None, &[entry("other", "y")]), 20);
    assert_eq!((&*moved.ingress[0].host, second(&moved)), ("y", 10));
    let gone = compile(&mut all, &route(None, &[]), 30);
    assert_eq!((gone.ingress.len(), second(&gone)), (1, 10));
    let mut restarted = statuses(|_| {});
    let written = route(None, &gone.ingress);
    assert_eq!(*compile(&mut restarted, &written, 99), *gone, "as after a restart");
}

/// [STAT-9]
#[test]
fn without_status_updates_only_others_are_shown() {
    let mut all = statuses(|settings| settings.update_status = false);
    assert!(compile(&mut all, &route(None, &[]), 10).is_empty());
    let written = [entry("other", "x")];
    assert_eq!(compile(&mut all, &route(None, &written), 20).ingress, written);
}

/// [STAT-4]: the hook for tests marks what is admitted, and what is refused keeps what it has.
#[test]
fn forced_upgrade_condition_is_for_admitted_routes() {
    let mut all = statuses(|settings| settings.upgrade.force_add = true);
    let forced = compile(&mut all, &route(None, &[]), 10);
    assert!(forced.ingress[0].condition(ingress::UNSERVABLE).is_some());
    let refused = Admission::Rejected { reason: RejectReason::NoHostValue, message: String::new() };
    let mut fresh = statuses(|settings| settings.upgrade.force_add = true);
    let refused = fresh.next(&route(None, &[]), "", &refused, at(10));
    assert!(refused.ingress[0].condition(ingress::UNSERVABLE).is_none());
    let mut off = statuses(|settings| settings.upgrade.validation = false);
    let kept = compile(&mut off, &route(None, &forced.ingress), 20);
    assert_eq!(*kept, *forced, "validation is off");
    let cleared = compile(&mut statuses(|_| {}), &route(None, &forced.ingress), 20);
    assert!(cleared.ingress[0].condition(ingress::UNSERVABLE).is_none());
}
