//! One route per host and path (spec/route.md 4.2), fed oldest first.

use hashbrown::HashMap;

use super::{Admission, Claim, Rules, claimed, keep_first};
use crate::model::route::Termination;

/// Active routes by host as written [CLAIM-11].
#[derive(Debug, Default)]
pub(super) struct Hosts<'r>(HashMap<&'r str, Active<'r>>);

/// The active routes of one host; never empty.
#[derive(Debug)]
struct Active<'r> {
    /// Its namespace owns the host [CLAIM-12].
    oldest: &'r Claim<'r>,
    newest: &'r Claim<'r>,
    paths: HashMap<&'r str, &'r Claim<'r>>,
    has_tls: bool,
    has_passthrough: bool,
}

impl<'r> Hosts<'r> {
    /// Makes `route` active, or says who is in the way [CLAIM-12 to CLAIM-17].
    pub(super) fn claim(&mut self, route: &'r Claim<'r>, rules: &Rules) -> Option<Admission> {
        let active = self.0.entry(route.host).or_insert_with(|| Active {
            oldest: route,
            newest: route,
            paths: HashMap::new(),
            has_tls: false,
            has_passthrough: false,
        });
        let same_path = active.paths.get(route.path).copied();
        let foreign = !route.is_friend(active.oldest, rules);
        if foreign || same_path.is_some() || active.clashes(route) {
            return Some(claimed(message(route, same_path.unwrap_or(active.newest))));
        }
        active.newest = route;
        active.has_tls |= route.termination != Termination::None;
        active.has_passthrough |= route.termination == Termination::Passthrough;
        keep_first(&mut active.paths, route.path, route);
        None
    }
}

impl Active<'_> {
    /// The passthrough rule: next to a passthrough route no other TLS route [CLAIM-14].
    fn clashes(&self, route: &Claim<'_>) -> bool {
        match route.termination {
            Termination::None => false,
            Termination::Edge | Termination::Reencrypt => self.has_passthrough,
            Termination::Passthrough => self.has_tls,
        }
    }
}

/// The texts of [CLAIM-17].
fn message(route: &Claim<'_>, owner: &Claim<'_>) -> String {
    let (host, name) = (route.host, route.name);
    if owner.namespace == route.namespace {
        format!("route {} already exposes {host} and is older", owner.name)
    } else {
        format!("a route in another namespace holds {host} and is older than {name}")
    }
}
