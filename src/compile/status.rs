//! The status of every Route, carried from compile to compile.
//!
//! Called by compile for each route. What a snapshot shows is what it serves: status changes with
//! the swap, never before it. A route that is gone is forgotten with its status; one that comes back
//! under the same name with another UID starts anew.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use k8s_openapi::jiff::Timestamp;

use crate::{
    model::{
        objects::{ObjectKey, Stored},
        route::Route,
        status::{
            Admission,
            ingress::{self, Report, RouteStatus, Upgrade},
        },
    },
    settings::RouterSettings,
};

/// Status of all routes.
#[derive(Debug)]
pub(super) struct Statuses {
    settings: Arc<RouterSettings>,
    known: HashMap<ObjectKey, Known>,
    /// Those of the compile that runs.
    next: HashMap<ObjectKey, Known>,
}

/// What became of a route in one compile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// What its Secret went through, which is written first [EXT-4..6].
    pub(super) passing: Option<&'a Admission>,
    /// The outcome.
    pub(super) now: &'a Admission,
    /// What is to be said of its annotations; empty for nothing.
    pub(super) annotations: &'a str,
}

impl<'a> From<&'a Admission> for Seen<'a> {
    fn from(now: &'a Admission) -> Self {
        Self { passing: None, now, annotations: "" }
    }
}

/// What is known of one object.
#[derive(Debug)]
struct Known {
    uid: Option<String>,
    status: Arc<RouteStatus>,
}

impl Statuses {
    pub(super) fn new(settings: &Arc<RouterSettings>) -> Self {
        Self { settings: Arc::clone(settings), known: HashMap::new(), next: HashMap::new() }
    }

    /// The status of `route`, which is served for `host`, or would be.
    pub(super) fn next<'a>(
        &mut self,
        route: &Stored<Route>,
        host: &str,
        seen: impl Into<Seen<'a>>,
        now: SystemTime,
    ) -> Arc<RouteStatus> {
        let seen = seen.into();
        let uid = &route.object.metadata.uid;
        let known = self.known.get(&route.key).filter(|known| known.uid == *uid);
        let previous = self.previous(&route.object.status, known);
        let status = if self.settings.update_status {
            let report = |admission| Report {
                router_name: &self.settings.router_name,
                canonical_hostname: &self.settings.canonical_hostname,
                host,
                wildcard_policy: match route.object.spec.wildcard_policy.as_str() {
                    "" => "None",
                    policy => policy,
                },
                admission,
                upgrade: self.upgrade(admission),
                annotations: seen.annotations,
            };
            let now = timestamp(now);
            let passed = seen.passing.map(|it| ingress::next(&previous, &report(it), now));
            ingress::next(passed.as_ref().unwrap_or(&previous), &report(seen.now), now)
        } else {
            previous
        };
        let known = Known { uid: uid.clone(), status: Arc::clone(&status) };
        self.next.insert(route.key.clone(), known);
        status
    }

    /// Ends a compile: routes that were not seen are forgotten.
    pub(super) fn finish(&mut self) {
        self.known = std::mem::take(&mut self.next);
    }

    /// What the manifest holds, with our own entry as we last wrote it.
    fn previous(&self, written: &RouteStatus, known: Option<&Known>) -> Arc<RouteStatus> {
        let Some(known) = known else { return Arc::new(written.clone()) };
        let merged = match known.status.of(&self.settings.router_name) {
            Some(own) if !written.is_empty() => written.with(own.clone()),
            Some(own) => RouteStatus { ingress: vec![own.clone()] },
            None => written.clone(),
        };
        if merged == *known.status { Arc::clone(&known.status) } else { Arc::new(merged) }
    }

    /// Upgrade validation runs behind admission: what is refused does not come that far.
    fn upgrade(&self, admission: &Admission) -> Upgrade {
        let settings = self.settings.upgrade;
        match (admission.is_admitted(), settings.validation) {
            (true, true) if settings.force_add => Upgrade::Force,
            (true, true) => Upgrade::Clear,
            _ => Upgrade::Keep,
        }
    }
}

/// Times that no timestamp can hold count as 1970.
fn timestamp(now: SystemTime) -> Timestamp {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).ok();
    seconds.and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
