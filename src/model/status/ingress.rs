//! The `status` of a Route as OpenShift's API has it, and how one router writes its entry there.
//!
//! Written by compile, shown by the admin API and the command line. Pure: the time comes in. Entries
//! of other routers are never touched.

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Admission, RejectReason};

/// Type of the condition that says whether a Route is served.
pub const ADMITTED: &str = "Admitted";
/// Type of the condition that says that a later version would not serve it.
pub const UNSERVABLE: &str = "UnservableInFutureVersions";
/// Type of the condition that says that annotations do not do what is written. It is wharf's own: it is
/// there only when there is something to say, behind OpenShift's, and `Admitted` does not depend on it.
pub const ANNOTATIONS: &str = "AnnotationsInEffect";
/// Reason of [`ANNOTATIONS`].
pub const IGNORED: &str = "AnnotationsIgnored";
/// Reason of [`UNSERVABLE`] when a test asks for the condition [STAT-4].
pub const FORCED: &str = "ForceUpgradeValidationCondition";

/// `status` of a Route (spec/route.md 1.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// One entry for each router that has looked at the Route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<RouteIngress>,
}

/// `status.ingress[]`: what one router says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteIngress {
    /// Host as this router serves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Name of the router.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub router_name: String,
    /// At most one condition of each type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// `None` or `Subdomain`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wildcard_policy: String,
    /// Name that a CNAME record of the host may lead to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub router_canonical_hostname: String,
}

/// `status.ingress[].conditions[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// [`ADMITTED`], [`UNSERVABLE`] or [`ANNOTATIONS`].
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word; empty when admitted [STAT-3].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people; empty when admitted [STAT-3].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the entry was last written, in whole seconds: not only transitions count [STAT-2].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// What a router has to say of a Route [STAT-1].
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Name of the router: finds the entry.
    pub router_name: &'a str,
    /// `routerCanonicalHostname`; empty for none.
    pub canonical_hostname: &'a str,
    /// Host as the router serves it.
    pub host: &'a str,
    /// `None` or `Subdomain`.
    pub wildcard_policy: &'a str,
    /// The condition [`ADMITTED`].
    pub admission: &'a Admission,
    /// What becomes of the condition [`UNSERVABLE`].
    pub upgrade: Upgrade,
    /// Message of the condition [`ANNOTATIONS`]; empty for none.
    pub annotations: &'a str,
}

/// What upgrade validation makes of the condition [`UNSERVABLE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing was found: the condition is taken away, not set to False [STAT-4].
    #[default]
    Clear,
    /// Validation is off: what is there stays.
    Keep,
    /// A test wants to see it.
    Force,
}

impl RouteStatus {
    /// True without any entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ingress.is_empty()
    }

    /// The entry of a router.
    #[must_use]
    pub fn of(&self, router_name: &str) -> Option<&RouteIngress> {
        self.ingress.iter().find(|entry| entry.router_name == router_name)
    }

    /// The same with `entry` in place of its router's, or behind all others [STAT-1].
    #[must_use]
    pub fn with(&self, entry: RouteIngress) -> Self {
        let mut ingress = self.ingress.clone();
        match ingress.iter_mut().find(|old| old.router_name == entry.router_name) {
            Some(old) => *old = entry,
            None => ingress.push(entry),
        }
        Self { ingress }
    }

    /// Reads what somebody else wrote. A status is a record and never a reason to refuse an object:
    /// what does not fit is left out.
    ///
    /// # Errors
    /// Only those of the text itself.
    pub fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        let entries = value.get("ingress").and_then(serde_json::Value::as_array);
        let read = |entry: &serde_json::Value| RouteIngress::deserialize(entry).ok();
        Ok(Self { ingress: entries.into_iter().flatten().filter_map(read).collect() })
    }
}

impl RouteIngress {
    /// The condition of a type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// The status after `report`: `previous` itself when it says the same already, otherwise one with
/// a new entry whose time is `now` in whole seconds [STAT-1, STAT-2].
#[must_use]
pub fn next(previous: &Arc<RouteStatus>, report: &Report<'_>, now: Timestamp) -> Arc<RouteStatus> {
    let old = previous.of(report.router_name);
    let now = Timestamp::from_second(now.as_second()).map_or(now, |whole| whole);
    let mut new = RouteIngress {
        host: report.host.to_owned(),
        router_name: report.router_name.to_owned(),
        conditions: Vec::new(),
        wildcard_policy: report.wildcard_policy.to_owned(),
        router_canonical_hostname: report.canonical_hostname.to_owned(),
    };
    let before = |kind| old.and_then(|old| old.condition(kind));
    if let Some(unservable) = unservable(report.upgrade, before(UNSERVABLE)) {
        new.conditions.push(timed(unservable, before(UNSERVABLE), now));
    }
    new.conditions.push(timed(admitted(report.admission), before(ADMITTED), now));
    // Conditions of types that are not ours to judge stay.
    let ours = [ADMITTED, UNSERVABLE, ANNOTATIONS];
    let foreign = |condition: &&Condition| !ours.contains(&&*condition.kind);
    new.conditions.extend(old.iter().flat_map(|old| &old.conditions).filter(foreign).cloned());
    if let Some(ignored) = ignored(report.annotations) {
        new.conditions.push(timed(ignored, before(ANNOTATIONS), now));
    }
    if let Some(old) = old {
        keep_order(&mut new.conditions, &old.conditions);
        if *old == new {
            return Arc::clone(previous);
        }
    }
    for condition in &mut new.conditions {
        if condition.kind == ADMITTED {
            condition.last_transition_time = Some(Time(now));
        }
    }
    Arc::new(previous.with(new))
}

/// `new` with the time of `old` when both say the same, else with `now`.
fn timed(mut new: Condition, old: Option<&Condition>, now: Timestamp) -> Condition {
    let same = old.filter(|old| {
        (&old.status, &old.reason, &old.message) == (&new.status, &new.reason, &new.message)
    });
    new.last_transition_time =
        same.map_or(Some(Time(now)), |same| same.last_transition_time.clone());
    new
}

/// A condition keeps its place in the list; a new one comes last.
fn keep_order(conditions: &mut [Condition], old: &[Condition]) {
    let place = |condition: &Condition| {
        old.iter().position(|old| old.kind == condition.kind).unwrap_or(old.len())
    };
    conditions.sort_by_key(place);
}

fn unservable(upgrade: Upgrade, old: Option<&Condition>) -> Option<Condition> {
    match upgrade {
        Upgrade::Clear => None,
        Upgrade::Keep => old.cloned(),
        Upgrade::Force => Some(Condition {
            kind: UNSERVABLE.to_owned(),
            status: "True".to_owned(),
            reason: FORCED.to_owned(),
            message: FORCED_MESSAGE.to_owned(),
            last_transition_time: None,
        }),
    }
}

fn ignored(message: &str) -> Option<Condition> {
    (!message.is_empty()).then(|| Condition {
        kind: ANNOTATIONS.to_owned(),
        status: "False".to_owned(),
        reason: IGNORED.to_owned(),
        message: message.to_owned(),
        last_transition_time: None,
    })
}

/// Message of [`FORCED`].
const FORCED_MESSAGE: &str = "forced upgrade validation condition";

fn admitted(admission: &Admission) -> Condition {
    let (reason, message) = match admission {
        Admission::Admitted => ("", ""),
        Admission::AdmittedUpdated { message } => {
            (RejectReason::ExternalCertificateSecretUpdated.word(), message.as_str())
        },
        Admission::Rejected { reason, message } => (reason.word(), message.as_str()),
    };
    Condition {
        kind: ADMITTED.to_owned(),
        status: if admission.is_admitted() { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: None,
    }
}

#[cfg(test)]
mod tests;
