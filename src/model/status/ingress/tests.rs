//! The rules STAT-1 to STAT-4 over tables of writes.

use super::*;

const T0: i64 = 1_785_846_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 987_654_321).unwrap()
}

fn report(admission: &Admission) -> Report<'_> {
    Report {
        router_name: "default",
        canonical_hostname: "",
        host: "a.b",
        wildcard_policy: "None",
        admission,
        upgrade: Upgrade::Clear,
        annotations: "",
    }
}

fn rejected(reason: RejectReason, message: &str) -> Admission {
    Admission::Rejected { reason, message: message.to_owned() }
}

fn time(status: &RouteStatus, kind: &str) -> i64 {
    let condition = status.of("default").unwrap().condition(kind).unwrap();
    condition.last_transition_time.as_ref().unwrap().0.as_second()
}

/// [STAT-1, STAT-3]: field by field as the API writes it, whole seconds, nothing that is empty.
#[test]
fn the_first_write_appends_an_entry() {
    let others: RouteStatus = serde_json::from_value(serde_json::json!({"ingress": [
        {"host": "x.y", "routerName": "other", "wildcardPolicy": "None", "conditions": []},
    ]}))
    .unwrap();
    let others = Arc::new(others);
    let written = next(&others, &report(&Admission::Admitted), at(T0));
    assert_eq!(
        serde_json::to_value(&*written).unwrap(),
        serde_json::json!({"ingress": [
            {"host": "x.y", "routerName": "other", "wildcardPolicy": "None"},
            {
                "host": "a.b",
                "routerName": "default",
                "conditions": [{
                    "type": "Admitted",
                    "status": "True",
                    "lastTransitionTime": "2026-08-04T12:30:00Z",
                }],
                "wildcardPolicy": "None",
            },
        ]})
    );
    let condition = written.ingress[1].condition(ADMITTED).unwrap();
    assert_eq!(condition.last_transition_time, Some(Time(Timestamp::from_second(T0).unwrap())));
    let named = Report { canonical_hostname: "router.c", ..report(&Admission::Admitted) };
    let named = next(&written, &named, at(T0));
    assert_eq!(named.ingress[1].router_canonical_hostname, "router.c");
    assert_eq!(named.ingress[0], others.ingress[0], "entries of others stay");
    assert_eq!(named.ingress.len(), 2, "the entry is found by its router's name");
}

/// [STAT-2]: the very same object when nothing has changed; any change of the entry writes the
/// time, whether or not the condition flips.
#[test]
fn every_write_moves_the_time_and_no_write_does_not() {
    let admitted = Admission::Admitted;
    let base = report(&admitted);
    let first = next(&Arc::default(), &base, at(T0));
    assert!(Arc::ptr_eq(&first, &next(&first, &base, at(T0 + 9))), "unchanged");
    let claimed = rejected(RejectReason::HostAlreadyClaimed, "one");
    let claimed_again = rejected(RejectReason::HostAlreadyClaimed, "two");
    let invalid = rejected(RejectReason::InvalidHost, "one");
    for (before, after) in [
        (base, Report { host: "c.d", ..base }),
        (base, Report { canonical_hostname: "r.c", ..base }),
        (base, Report { wildcard_policy: "Subdomain", ..base }),
        (base, report(&claimed)),
        (report(&claimed), base),
        (report(&claimed), report(&claimed_again)),
        (report(&claimed), report(&invalid)),
    ] {
        let old = next(&Arc::default(), &before, at(T0));
        let new = next(&old, &after, at(T0 + 60));
        assert_eq!(time(&new, ADMITTED), T0 + 60, "{after:?}");
        assert!(Arc::ptr_eq(&new, &next(&new, &after, at(T0 + 61))), "{after:?}");
    }
}

/// [STAT-3, STAT-4, EXT-4]: every reason has its word, and only one goes with Admitted=True.
#[test]
fn reasons_are_those_of_the_table() {
    use RejectReason as R;
    for (reason, word) in [
        (R::RouteNotAdmitted, "RouteNotAdmitted"),
        (R::HostAlreadyClaimed, "HostAlreadyClaimed"),
        (R::NoHostValue, "NoHostValue"),
        (R::InvalidHost, "InvalidHost"),
        (R::ExtendedValidationFailed, "ExtendedValidationFailed"),
        (R::ExternalCertificateValidationFailed, "ExternalCertificateValidationFailed"),
        (R::ExternalCertificateGetFailed, "ExternalCertificateGetFailed"),
        (R::ExternalCertificateSecretDeleted, "ExternalCertificateSecretDeleted"),
        (R::ExternalCertificateSecretRecreated, "ExternalCertificateSecretRecreated"),
        (R::ExternalCertificateSecretUpdated, "ExternalCertificateSecretUpdated"),
    ] {
        let admission = rejected(reason, "why");
        let status = next(&Arc::default(), &report(&admission), at(T0));
        let [condition] = &status.ingress[0].conditions[..] else { panic!("{status:?}") };
        let texts = [&condition.kind, &condition.status, &condition.reason, &condition.message];
        assert_eq!(texts, ["Admitted", "False", word, "why"]);
    }
    let updated = Admission::AdmittedUpdated { message: "why".to_owned() };
    let status = next(&Arc::default(), &report(&updated), at(T0));
    let condition = status.ingress[0].condition(ADMITTED).unwrap();
    assert_eq!(
        (&*condition.status, &*condition.reason, &*condition.message),
        ("True", "ExternalCertificateSecretUpdated", "why")
    );
    let cleared = next(&status, &report(&Admission::Admitted), at(T0 + 1));
    let condition = cleared.ingress[0].condition(ADMITTED).unwrap();
    assert_eq!((&*condition.reason, &*condition.message), ("", ""));
    assert_eq!(time(&cleared, ADMITTED), T0 + 1);
}

/// [STAT-4]: the condition about upgrades is added, kept and taken away, never set to False; each
/// condition has a time of its own.
#[test]
fn upgrade_condition_comes_and_goes() {
    let admitted = Admission::Admitted;
    let with = |upgrade| Report { upgrade, ..report(&admitted) };
    let plain = next(&Arc::default(), &with(Upgrade::Clear), at(T0));
    let forced = next(&plain, &with(Upgrade::Force), at(T0 + 5));
    let condition = forced.ingress[0].condition(UNSERVABLE).unwrap();
    assert_eq!((&*condition.status, &*condition.reason), ("True", FORCED));
    assert_eq!(time(&forced, UNSERVABLE), T0 + 5);
    assert!(Arc::ptr_eq(&forced, &next(&forced, &with(Upgrade::Keep), at(T0 + 6))));
    assert!(Arc::ptr_eq(&forced, &next(&forced, &with(Upgrade::Force), at(T0 + 6))));
    let refused = rejected(RejectReason::InvalidHost, "");
    let refused = Report { upgrade: Upgrade::Keep, ..report(&refused) };
    let refused = next(&forced, &refused, at(T0 + 7));
    assert_eq!((time(&refused, UNSERVABLE), time(&refused, ADMITTED)), (T0 + 5, T0 + 7));
    let cleared = next(&forced, &with(Upgrade::Clear), at(T0 + 8));
    assert_eq!(cleared.ingress[0].conditions.len(), 1);
}

/// A status that somebody wrote by hand is taken as far as it fits.
#[test]
fn a_damaged_status_costs_nobody_the_route() {
    for (status, entries) in [
        (serde_json::json!(null), 0),
        (serde_json::json!("x"), 0),
        (serde_json::json!({"ingress": {}}), 0),
        (serde_json::json!({"ingress": [{"host": 1}, {"host": "a"}, 7]}), 1),
        (serde_json::json!({"ingress": [{"conditions": [{"type": "Admitted"}]}]}), 0),
    ] {
        let route = serde_json::json!({"spec": {"to": {"name": "a"}}, "status": status});
        let route: crate::model::route::Route = serde_json::from_value(route).unwrap();
        assert_eq!(route.status.ingress.len(), entries, "{status}");
    }
}

/// [ANN-0]: what is to be said of annotations is a condition of its own behind `Admitted`, which says the
/// same as without it; it goes when there is nothing to say.
#[test]
fn ann_0_annotations_have_a_condition_of_their_own() {
    let empty = Arc::new(RouteStatus::default());
    let admitted = Admission::Admitted;
    let plain = next(&empty, &report(&admitted), at(1));
    let said = Report { annotations: "WH2004: timeout", ..report(&admitted) };
    let with = next(&plain, &said, at(2));
    let conditions = &with.ingress[0].conditions;
    let kinds: Vec<&str> = conditions.iter().map(|condition| &*condition.kind).collect();
    assert_eq!(kinds, [ADMITTED, ANNOTATIONS]);
    let words = |condition: &Condition| {
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    assert_eq!(words(&conditions[0]), words(&plain.ingress[0].conditions[0]));
    assert_eq!(words(&conditions[1]), ("False".into(), IGNORED.into(), "WH2004: timeout".into()));
    assert!(Arc::ptr_eq(&next(&with, &said, at(3)), &with), "said once");
    let gone = next(&with, &report(&admitted), at(4));
    assert_eq!(gone.ingress[0].conditions.len(), 1);
}
