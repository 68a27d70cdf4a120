//! Claims through the life of a compiler: after each of many events, what serves is what the rules say
//! about the objects that are there, whatever was there before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use proptest::prelude::*;

use super::{
    oracle::{Router, Subject},
    *,
};
use crate::{model::route::RouteTarget, routing::table::Lookup};

const PLAIN: Router = Router { wildcards: false, shared: false, denied: &[], allowed: &[] };

fn compiler_for(router: Router) -> Compiler {
    compiler_with(|settings| {
        settings.allow_wildcard_routes = router.wildcards;
        settings.disable_namespace_ownership_check = router.shared;
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        settings.admission.denied_domains = owned(router.denied);
        settings.admission.allowed_domains = owned(router.allowed);
    })
}

/// A route that serves plain HTTP, created at second `age`.
fn subject(namespace: &str, name: &str, age: i64, host: &str, path: &str) -> Subject {
    Subject {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{namespace}-{name}"),
        created: Some(age),
        order: 0,
        host: host.to_owned(),
        path: path.to_owned(),
        policy: "None".to_owned(),
        termination: String::new(),
    }
}

fn stored(subject: &Subject) -> Arc<Stored<Route>> {
    let mut object = Route {
        metadata: ObjectMeta {
            name: Some(subject.name.clone()),
            namespace: Some(subject.namespace.clone()),
            uid: Some(subject.uid.clone()).filter(|uid| !uid.is_empty()),
            creation_timestamp: subject
                .created
                .map(|second| Time(Timestamp::from_second(second).unwrap())),
            ..ObjectMeta::default()
        },
        ..Route::default()
    };
    subject.host.clone_into(&mut object.spec.host);
    subject.path.clone_into(&mut object.spec.path);
    subject.policy.clone_into(&mut object.spec.wildcard_policy);
    object.spec.to = RouteTarget { name: "web".to_owned(), ..RouteTarget::default() };
    object.spec.tls = (!subject.termination.is_empty()).then(|| RouteTls {
        termination: subject.termination.clone(),
        insecure_edge_termination_policy: match subject.termination.as_str() {
            "passthrough" => String::new(),
            _ => "Allow".to_owned(),
        },
        ..RouteTls::default()
    });
    let key = ObjectKey::new(&subject.namespace, &subject.name);
    Arc::new(Stored { order: subject.order, ..Stored::in_memory(key, object, "test.yaml") })
}

fn run(compiler: &mut Compiler, subjects: &[Subject]) -> Snapshot {
    let routes = subjects.iter().map(stored).collect();
    let objects = Objects { routes, ..Objects::default() };
    compiler.compile(&objects, &Resolved::new(), Vec::new(), UNIX_EPOCH)
}

fn of<'a>(snapshot: &'a Snapshot, subject: &Subject) -> &'a RouteState {
    let key = ObjectKey::new(&subject.namespace, &subject.name);
    snapshot.routes.iter().find(|state| state.source.key == key).unwrap()
}

/// Names of the admitted routes, in the order of `subjects`.
fn admitted<'a>(snapshot: &Snapshot, subjects: &'a [Subject]) -> Vec<&'a str> {
    let serves = |subject: &&Subject| of(snapshot, subject).admission.is_admitted();
    subjects.iter().filter(serves).map(|subject| subject.name.as_str()).collect()
}

/// The route that answers on the plain port.
fn serving(snapshot: &Snapshot, host: &str, path: &str) -> Option<String> {
    match snapshot.table.lookup(false, host.as_bytes(), path) {
        Lookup::Serve(route) => Some(route.key.to_string()),
        _ => None,
    }
}

/// What the rules say, and nothing else: reasons, messages, what is compiled and what is in the tables.
fn check(snapshot: &Snapshot, subjects: &[Subject], router: Router) -> Result<(), TestCaseError> {
    prop_assert_eq!(snapshot.routes.len(), subjects.len());
    for (subject, verdict) in subjects.iter().zip(router.judge(subjects)) {
        let state = of(snapshot, subject);
        // Refused by the stage behind the claims, which it keeps [PIPE-1, XV-1].
        let odd = subject.termination == "passthrough" && !subject.path.is_empty();
        let want = match &verdict {
            None if odd => Some("ExtendedValidationFailed"),
            None => None,
            Some((reason, _)) => Some(*reason),
        };
        let got = match &state.admission {
            Admission::Rejected { reason, .. } => Some(reason.word()),
            _ => None,
        };
        prop_assert_eq!(got, want, "{:?} {:?}", subject, state.admission);
        if let (Admission::Rejected { message, .. }, Some((_, texts))) =
            (&state.admission, &verdict)
        {
            let known = texts.is_empty() && message.starts_with("host name validation errors: ");
            prop_assert!(known || texts.contains(message), "{message} is none of {texts:?}");
        }
        prop_assert_eq!(state.compiled.is_some(), want.is_none());
        prop_assert_eq!(&*state.host, &*subject.host);
    }
    alone(snapshot, router)
}

/// What holds whatever the rules are: one route for a host and path, one namespace for a host and,
/// where wildcards are on, for a domain with a wildcard.
fn alone(snapshot: &Snapshot, router: Router) -> Result<(), TestCaseError> {
    let served = || snapshot.routes.iter().filter_map(|state| state.compiled.as_ref());
    let mut paths = BTreeSet::new();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for route in served() {
        prop_assert!(paths.insert((&*route.host, &*route.path)), "{} twice", route.host);
        let owner = *owners.entry(&route.host).or_insert(&route.key.namespace);
        prop_assert!(router.shared || *owner == *route.key.namespace, "{} is shared", route.host);
        prop_assert!(router.wildcards || !route.wildcard);
    }
    for wild in served().filter(|route| route.wildcard && !router.shared) {
        let below = |host: &str| host.split_once('.').map(|(_, domain)| domain.to_owned());
        for other in served().filter(|other| below(&other.host) == below(&wild.host)) {
            prop_assert_eq!(&other.key.namespace, &wild.key.namespace);
        }
    }
    Ok(())
}

/// [CLAIM-EX1, CLAIM-15]: also back again, and in whatever order the source lists them.
#[test]
fn claim_ex1_deletes_let_the_next_one_in() {
    let all = ["a", "b", "c", "d", "e"].map(|name| {
        let path = match name {
            "a" => "",
            "e" => "/bar",
            _ => "/foo",
        };
        subject("app", name, i64::from(name.as_bytes()[0]), "example.com", path)
    });
    let mut compiler = compiler_for(PLAIN);
    for (present, want, at_foo) in [
        ("abcde", &["a", "b", "e"][..], "app/b"),
        ("acde", &["a", "c", "e"], "app/c"),
        ("ade", &["a", "d", "e"], "app/d"),
        ("ad", &["a", "d"], "app/d"),
        ("edcba", &["e", "b", "a"], "app/b"),
        ("edca", &["e", "c", "a"], "app/c"),
    ] {
        let subjects: Vec<_> = present
            .chars()
            .map(|name| {
                all.iter().find(|subject| subject.name == name.to_string()).unwrap().clone()
            })
            .collect();
        let snapshot = run(&mut compiler, &subjects);
        assert_eq!(admitted(&snapshot, &subjects), want, "{present}");
        assert_eq!(serving(&snapshot, "example.com", "/foo/x").as_deref(), Some(at_foo));
        assert_eq!(serving(&snapshot, "example.com", "/").as_deref(), Some("app/a"));
    }
}

/// [CLAIM-8, CLAIM-19]: a route that loses its new host keeps nothing of the old one, with and without
/// wildcards, and the old host is free.
#[test]
fn claim_19_nothing_remains_of_a_host_that_was_left() {
    for wildcards in [false, true] {
        let router = Router { wildcards, ..PLAIN };
        let mut compiler = compiler_for(router);
        let holder = subject("one", "holder", 1, "held.x.test", "");
        let mover = |host| subject("two", "mover", 2, host, "");
        let late = subject("three", "late", 3, "old.x.test", "");
        let before = [holder.clone(), mover("old.x.test"), late.clone()];
        let snapshot = run(&mut compiler, &before);
        assert_eq!(admitted(&snapshot, &before), ["holder", "mover"]);
        let after = [holder.clone(), mover("held.x.test"), late.clone()];
        let snapshot = run(&mut compiler, &after);
        assert_eq!(admitted(&snapshot, &after), ["holder", "late"], "{wildcards}");
        assert_eq!(serving(&snapshot, "old.x.test", "/").as_deref(), Some("three/late"));
        let alone = [holder, mover("held.x.test")];
        assert_eq!(serving(&run(&mut compiler, &alone), "old.x.test", "/"), None);
    }
}

/// [CLAIM-8, CLAIM-15] with 26.3: what the wildcard admitter refused comes back at once, too.
#[test]
fn claim_15_the_wildcard_admitter_lets_in_at_once() {
    let router = Router { wildcards: true, ..PLAIN };
    let mut compiler = compiler_for(router);
    let wild =
        Subject { policy: "Subdomain".to_owned(), ..subject("one", "wild", 1, "www.x.test", "") };
    let below = subject("two", "below", 2, "a.x.test", "");
    let both = [wild.clone(), below.clone()];
    let snapshot = run(&mut compiler, &both);
    assert_eq!(admitted(&snapshot, &both), ["wild"]);
    assert_eq!(serving(&snapshot, "a.x.test", "/").as_deref(), Some("one/wild"));
    let alone = [below.clone()];
    let snapshot = run(&mut compiler, &alone);
    assert_eq!(serving(&snapshot, "a.x.test", "/").as_deref(), Some("two/below"));
    let late = [Subject { created: Some(9), ..wild }, below];
    let snapshot = run(&mut compiler, &late);
    assert_eq!(admitted(&snapshot, &late), ["below"]);
    let Admission::Rejected { message, .. } = &of(&snapshot, &late[0]).admission else {
        panic!("the wildcard is admitted");
    };
    assert_eq!(message, "a route in another namespace holds host www.x.test");
}

/// [CLAIM-15]: the same name with another UID is another route, as young as it says.
#[test]
fn claim_15_a_new_uid_is_a_new_route() {
    let mut compiler = compiler_for(PLAIN);
    let first = subject("one", "r", 1, "x.test", "");
    let other = subject("one", "other", 2, "x.test", "");
    let before = [first.clone(), other.clone()];
    assert_eq!(admitted(&run(&mut compiler, &before), &before), ["r"]);
    let again = Subject { uid: "new".to_owned(), created: Some(3), ..first };
    let after = [again, other];
    assert_eq!(admitted(&run(&mut compiler, &after), &after), ["other"]);
}

/// [XV-1, PIPE-1]: what no API server has checked is refused behind the claims, which it keeps.
#[test]
fn xv_1_the_table_is_asked_again_behind_the_claims() {
    let mut compiler = compiler_for(PLAIN);
    let odd = Subject {
        termination: "passthrough".to_owned(),
        ..subject("app", "odd", 1, "x.test", "/path")
    };
    let late = subject("web", "late", 2, "x.test", "");
    let both = [odd, late];
    let snapshot = run(&mut compiler, &both);
    let text = "spec.path cannot be used with passthrough";
    let refused = (RejectReason::ExtendedValidationFailed, text.to_owned());
    assert_eq!(rejection(&snapshot, "odd"), refused);
    assert_eq!(rejection(&snapshot, "late").0, RejectReason::HostAlreadyClaimed);
    let code = codes::NOT_FOR_TERMINATION;
    assert!(snapshot.findings.iter().any(|found| found.code == code && found.text == text));
    for (termination, reason) in [("", None), ("odd", Some("the termination \"odd\" is unknown"))] {
        let route = Subject {
            termination: termination.to_owned(),
            ..subject("app", "r", 1, "y.test", "/path")
        };
        let snapshot = run(&mut compiler, std::slice::from_ref(&route));
        let got = match &of(&snapshot, &route).admission {
            Admission::Rejected { message, .. } => Some(message.as_str()),
            _ => None,
        };
        assert_eq!(got, reason);
    }
}

fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

/// One of these words, as often as its number says.
fn weighted(words: &'static [(u32, &'static str)]) -> impl Strategy<Value = String> {
    let choices = words.iter().map(|(weight, word)| (*weight, Just((*word).to_owned())));
    prop::strategy::Union::new_weighted(choices.collect())
}

prop_compose! {
    /// A route of few names, so that most of them meet.
    fn any_subject()(
        namespace in text(&["n1", "n2", "n3"]),
        name in text(&["r1", "r2", "r3", "r4"]),
        uid in text(&["", "u1", "u2"]),
        created in prop::option::weighted(0.8, 0..6_i64),
        order in 0..4_u64,
        host in weighted(&[
            (4, "a.x.y"), (4, "b.x.y"), (3, "c.x.y"), (1, "x.y"), (2, "a.z"), (1, "w.a.z"), (1, "y"),
            (1, ""), (1, "A.x.y"), (1, "a_b.x.y"),
        ]),
        path in text(&["", "", "/", "/a", "/b"]),
        policy in weighted(&[(2, ""), (8, "None"), (8, "Subdomain"), (1, "Odd")]),
        termination in text(&["", "", "edge", "reencrypt", "passthrough"]),
    ) -> Subject {
        Subject { namespace, name, uid, created, order, host, path, policy, termination }
    }
}

/// Something that happens to the objects.
#[derive(Clone, Debug)]
enum Event {
    /// A route appears, or takes the place of the one of its name.
    Put(Subject),
    /// One of the present routes goes.
    Remove(prop::sample::Index),
    /// One of the present routes takes host, path and policy of this one and stays as old as it is.
    Edit(prop::sample::Index, Subject),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any_subject().prop_map(Event::Put),
        2 => any::<prop::sample::Index>().prop_map(Event::Remove),
        2 => (any::<prop::sample::Index>(), any_subject())
            .prop_map(|(at, subject)| Event::Edit(at, subject)),
    ]
}

/// Position in the list that the compiler gets, as the source may give it in any order.
fn apply(present: &mut Vec<Subject>, event: Event) {
    match event {
        Event::Put(subject) => {
            let key = |other: &Subject| (other.namespace.clone(), other.name.clone());
            present.retain(|other| key(other) != key(&subject));
            present.push(subject);
        },
        Event::Remove(at) if !present.is_empty() => {
            present.swap_remove(at.index(present.len()));
        },
        Event::Edit(at, new) if !present.is_empty() => {
            let at = at.index(present.len());
            let old = &mut present[at];
            let Subject { host, path, policy, termination, .. } = new;
            *old = Subject { host, path, policy, termination, ..old.clone() };
        },
        Event::Remove(_) | Event::Edit(..) => {},
    }
}

proptest! {
    /// [CLAIM-1..19, ADM-1..4, PIPE-1] with 26.3
    #[test]
    fn claims_are_those_of_the_present_routes_whatever_came_before(
        start in prop::collection::vec(any_subject(), 0..16),
        events in prop::collection::vec(any_event(), 1..10),
        wildcards in prop::bool::weighted(0.7),
        shared in prop::bool::weighted(0.3),
        lists in 0..6_u8,
    ) {
        let router = Router {
            wildcards,
            shared,
            denied: if lists == 1 { &["c.x.y"] } else { &[] },
            allowed: if lists == 2 { &["x.y", "a.z"] } else { &[] },
        };
        let mut compiler = compiler_for(router);
        let mut present = Vec::new();
        for event in start.into_iter().map(Event::Put) {
            apply(&mut present, event);
        }
        check(&run(&mut compiler, &present), &present, router)?;
        for event in events {
            apply(&mut present, event);
            check(&run(&mut compiler, &present), &present, router)?;
        }
    }
}
