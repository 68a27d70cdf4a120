//! Rate limits of routes: their annotations, and the tables that they keep [RATE-1..7].
//!
//! A table is kept by the route's name for as long as the route has a limit, so that a change of
//! anything, the limits included, forgets no client.

use std::{collections::HashMap, sync::Arc};

use super::{finding, policy::annotation};
use crate::{
    model::{
        finding::{Finding, codes},
        grammar,
        objects::{ObjectKey, Stored},
        route::{Route, Termination},
    },
    rates::{Limits, Rates},
    settings::limits::LimitSettings,
    snapshot::Rated,
};

/// The master switch.
const SWITCH: &str = "haproxy.router.openshift.io/rate-limit-connections";
const CONCURRENT: &str = "haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp";
const CONNECTIONS: &str = "haproxy.router.openshift.io/rate-limit-connections.rate-tcp";
const REQUESTS: &str = "haproxy.router.openshift.io/rate-limit-connections.rate-http";

/// The tables of the process.
#[derive(Debug)]
pub(super) struct Tables {
    clients: usize,
    prefix: u8,
    kept: HashMap<ObjectKey, Arc<Rates>>,
    next: HashMap<ObjectKey, Arc<Rates>>,
}

impl Tables {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        Self {
            clients: settings.rate_clients,
            prefix: settings.rate_ipv6_prefix,
            kept: HashMap::new(),
            next: HashMap::new(),
        }
    }

    /// Starts a compile. What one that panicked had taken goes back.
    pub(super) fn begin(&mut self) {
        self.kept.extend(self.next.drain());
    }

    /// The limits of `route` with its table, if it has any.
    pub(super) fn of(
        &mut self,
        route: &Stored<Route>,
        termination: Termination,
        findings: &mut Vec<Finding>,
    ) -> Option<Rated> {
        let limits = limits(route, termination, findings)?;
        let table = self.kept.remove(&route.key);
        let table = table.unwrap_or_else(|| Rates::new(self.clients, self.prefix));
        self.next.insert(route.key.clone(), Arc::clone(&table));
        Some(Rated { limits, table })
    }

    /// Ends a compile: what was not used is forgotten. Returns the tables in use.
    pub(super) fn finish(&mut self) -> Vec<Arc<Rates>> {
        self.kept = std::mem::take(&mut self.next);
        self.kept.values().map(Arc::clone).collect()
    }
}

/// What the annotations of `route` limit. Without the switch nothing; on a route that is passed through
/// there are no requests to count [RATE-1, RATE-4].
fn limits(
    route: &Stored<Route>,
    termination: Termination,
    findings: &mut Vec<Finding>,
) -> Option<Limits> {
    let limit = |name| annotation(route, name).and_then(grammar::parse_integer).map(clamp);
    let is_on = annotation(route, SWITCH).and_then(grammar::parse_bool) == Some(true);
    if !is_on {
        return None;
    }
    let limits = Limits {
        concurrent: limit(CONCURRENT),
        connections: limit(CONNECTIONS),
        requests: limit(REQUESTS).filter(|_| termination != Termination::Passthrough),
    };
    if limits.refuse_everybody() {
        let text = "a rate limit of the route refuses every client";
        let fix = "the newcomer counts with concurrent-tcp and rate-tcp: set at least 2 there, and \
                   at least 1 for rate-http";
        let field = format!("metadata.annotations[{SWITCH}]");
        findings.push(finding(route, codes::RATE_LIMIT_REFUSES_ALL, &field, text, fix));
    }
    (!limits.is_empty()).then_some(limits)
}

/// Zero and less are the same limit [RATE-6].
fn clamp(limit: i64) -> u32 {
    u32::try_from(limit.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(annotations: &[(&str, &str)]) -> Stored<Route> {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let object = json!({
            "metadata": {"name": "web", "annotations": annotations},
            "spec": {"host": "web.test", "to": {"kind": "Service", "name": "one"}},
        });
        let object = serde_json::from_value(object).unwrap();
        Stored::in_memory(ObjectKey::new("app", "web"), object, "test")
    }

    fn read(annotations: &[(&str, &str)], termination: Termination) -> (Option<Limits>, Vec<u16>) {
        let mut findings = Vec::new();
        let limits = limits(&route(annotations), termination, &mut findings);
        (limits, findings.iter().map(|finding| finding.code.number).collect())
    }

    /// [RATE-1, RATE-4, RATE-6]
    #[test]
    fn rate_1_limits_count_only_with_the_switch() {
        let all =
            |switch| [(SWITCH, switch), (CONCURRENT, "10"), (CONNECTIONS, "20"), (REQUESTS, "30")];
        let ten = |requests| Limits { concurrent: Some(10), connections: Some(20), requests };
        let http = Termination::Edge;
        assert_eq!(read(&all("true"), http), (Some(ten(Some(30))), vec![]));
        assert_eq!(read(&all("T"), Termination::None), (Some(ten(Some(30))), vec![]));
        assert_eq!(read(&all("true"), Termination::Passthrough), (Some(ten(None)), vec![]));
        for off in ["false", "", "yes"] {
            assert_eq!(read(&all(off), http), (None, vec![]), "{off:?}");
        }
        assert_eq!(read(&all("true")[1..], http), (None, vec![]), "validation says so");
        assert_eq!(read(&[(SWITCH, "true")], http), (None, vec![]));
        // What is no integer is as if it were not there [CONV-7].
        let bad = [(SWITCH, "true"), (CONCURRENT, "many"), (CONNECTIONS, "1.5"), (REQUESTS, "")];
        assert_eq!(read(&bad, http), (None, vec![]));
        let requests = |text| read(&[(SWITCH, "true"), (REQUESTS, text)], http);
        let only = |limit| Some(Limits { requests: Some(limit), ..Limits::default() });
        assert_eq!(requests("-5"), (only(0), vec![2141]));
        assert_eq!(requests("0"), (only(0), vec![2141]));
        assert_eq!(requests("1"), (only(1), vec![]));
        assert_eq!(requests("9999999999"), (only(u32::MAX), vec![]));
        let least = read(&[(SWITCH, "true"), (CONCURRENT, "1")], http);
        assert_eq!(least.1, [2141]);
    }

    /// a change forgets no client, and a route without limits keeps no table.
    #[test]
    fn rate_1_a_table_is_kept_from_snapshot_to_snapshot() {
        let mut tables = Tables::new(&LimitSettings::default());
        let mut of = |annotations: &[(&str, &str)]| {
            let rated = tables.of(&route(annotations), Termination::None, &mut Vec::new());
            assert_eq!(tables.finish().len(), usize::from(rated.is_some()));
            rated
        };
        let one = of(&[(SWITCH, "true"), (REQUESTS, "1")]).unwrap();
        let two = of(&[(SWITCH, "true"), (CONNECTIONS, "2")]).unwrap();
        assert!(Arc::ptr_eq(&one.table, &two.table));
        assert_ne!(one.limits, two.limits);
        assert!(of(&[]).is_none());
        let three = of(&[(SWITCH, "true"), (CONNECTIONS, "2")]).unwrap();
        assert!(!Arc::ptr_eq(&one.table, &three.table));
        // A compile that ended in the middle took the table and gave nothing back.
        let limited = route(&[(SWITCH, "true"), (CONNECTIONS, "2")]);
        for _ in 0..2 {
            tables.begin();
            let rated = tables.of(&limited, Termination::None, &mut Vec::new()).unwrap();
            assert!(Arc::ptr_eq(&rated.table, &three.table));
        }
    }
}
