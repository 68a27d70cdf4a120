//! Admission written once more from the rules of spec/route.md 3 and 4 with 26.3, as naive as can be:
//! every route against every other, until nothing changes. It shares no code with `routing::admit`.

use std::cmp::Ordering;

/// A route as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<i64>,
    pub(super) order: u64,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) policy: String,
    /// Empty for no `tls` section.
    pub(super) termination: String,
}

/// The router's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Router {
    pub(super) wildcards: bool,
    pub(super) shared: bool,
    pub(super) denied: &'static [&'static str],
    pub(super) allowed: &'static [&'static str],
}

/// What becomes of a route: `None` when it is admitted, else the reason and the texts that its message
/// may have.
pub(super) type Verdict = Option<(&'static str, Vec<String>)>;

/// [CLAIM-1], and where there are no timestamps or UIDs, the order of the source.
fn older(a: &Subject, b: &Subject) -> bool {
    let by_created = match (a.created, b.created) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.order.cmp(&b.order),
    };
    let by_uid = match (a.uid.as_str(), b.uid.as_str()) {
        ("", "") => Ordering::Equal,
        (_, "") => Ordering::Less,
        ("", _) => Ordering::Greater,
        (a, b) => a.cmp(b),
    };
    let last = (a.order, &a.namespace, &a.name).cmp(&(b.order, &b.namespace, &b.name));
    by_created.then(by_uid).then(last) == Ordering::Less
}

/// D(h) of 4.1.
fn domain(host: &str) -> &str {
    host.split_once('.').map_or("", |(_, domain)| domain)
}

/// [ADM-1]
fn listed(host: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| host == *entry || host.ends_with(&format!(".{entry}")))
}

/// The label rules of 1.1 [CLAIM-10].
fn is_name(host: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    host.len() <= 253
        && host.split('.').all(|label| {
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && good(bytes[0])
                && good(bytes[bytes.len() - 1])
                && bytes.iter().all(|byte| good(*byte) || *byte == b'-')
        })
}

fn is_wildcard(route: &Subject) -> bool {
    route.policy == "Subdomain"
}

impl Router {
    /// [ADM-1..4]
    fn policy(&self, route: &Subject) -> Option<String> {
        let host = route.host.as_str();
        if !host.is_empty() && listed(host, self.denied) {
            return Some("host in list of denied domains".to_owned());
        }
        if !host.is_empty() && !self.allowed.is_empty() && !listed(host, self.allowed) {
            return Some("host not in the allowed list of domains".to_owned());
        }
        match route.policy.as_str() {
            "" | "None" => None,
            "Subdomain" if self.wildcards => None,
            "Subdomain" => Some("wildcard routes are not allowed".to_owned()),
            other => Some(format!("unknown wildcard policy {other}")),
        }
    }

    fn friendly(&self, a: &Subject, b: &Subject) -> bool {
        self.shared || a.namespace == b.namespace
    }

    /// Whether only one of two routes may pass the wildcard admitter [CLAIM-3..5].
    fn fight(&self, a: &Subject, b: &Subject) -> bool {
        let friendly = self.friendly(a, b);
        let coexist = friendly && a.path != b.path;
        match (is_wildcard(a), is_wildcard(b)) {
            (false, false) => a.host == b.host && !coexist,
            (true, true) => domain(&a.host) == domain(&b.host) && !coexist,
            _ => domain(&a.host) == domain(&b.host) && !friendly,
        }
    }

    /// The texts of [CLAIM-7] for `route`, which loses to `owner`.
    fn held(&self, route: &Subject, owner: &Subject) -> String {
        let host = &route.host;
        if route.namespace != owner.namespace {
            return format!("a route in another namespace holds host {host}");
        }
        let Subject { namespace, name, .. } = owner;
        if is_wildcard(owner) {
            let domain = domain(&owner.host);
            format!("wildcard route {namespace}/{name} has host *.{domain}, blocking {host}")
        } else {
            format!("route {namespace}/{name} has host {}", owner.host)
        }
    }

    /// Decides for all routes.
    pub(super) fn judge(&self, routes: &[Subject]) -> Vec<Verdict> {
        let policies: Vec<_> = routes.iter().map(|route| self.policy(route)).collect();
        let enters = |at: usize| policies[at].is_none() && !routes[at].host.is_empty();
        // Who passes the admitter: nobody older that passes is in the way [CLAIM-6].
        let passing = settle(routes.len(), |at, passing| {
            enters(at)
                && !(self.wildcards
                    && (0..routes.len()).any(|other| {
                        passing[other]
                            && older(&routes[other], &routes[at])
                            && self.fight(&routes[other], &routes[at])
                    }))
        });
        let indexed = |at: usize| passing[at] && is_name(&routes[at].host);
        // [CLAIM-12]: the namespace of the oldest route of a host has it.
        let owns = |at: usize| {
            self.shared
                || !(0..routes.len()).any(|other| {
                    indexed(other)
                        && routes[other].host == routes[at].host
                        && routes[other].namespace != routes[at].namespace
                        && (0..routes.len()).all(|third| {
                            !indexed(third)
                                || routes[third].host != routes[at].host
                                || third == other
                                || older(&routes[other], &routes[third])
                        })
                })
        };
        let active = settle(routes.len(), |at, active| {
            indexed(at)
                && owns(at)
                && !(0..routes.len()).any(|other| {
                    active[other]
                        && older(&routes[other], &routes[at])
                        && clash(&routes[other], &routes[at])
                })
        });
        (0..routes.len())
            .map(|at| {
                let route = &routes[at];
                if let Some(text) = &policies[at] {
                    return Some(("RouteNotAdmitted", vec![text.clone()]));
                }
                if route.host.is_empty() {
                    let text = "no host value was defined for the route".to_owned();
                    return Some(("NoHostValue", vec![text]));
                }
                if !passing[at] {
                    let owners = (0..routes.len()).filter(|other| {
                        passing[*other]
                            && older(&routes[*other], route)
                            && self.fight(&routes[*other], route)
                    });
                    let texts = owners.map(|owner| self.held(route, &routes[owner])).collect();
                    return Some(("HostAlreadyClaimed", texts));
                }
                if !is_name(&route.host) {
                    return Some(("InvalidHost", Vec::new()));
                }
                (!active[at]).then(|| {
                    let owner = owner(routes, &active, at);
                    ("HostAlreadyClaimed", vec![exposed(route, owner)])
                })
            })
            .collect()
    }
}

/// [CLAIM-12, CLAIM-13, CLAIM-14]: two routes of a host of which one can be active.
fn clash(a: &Subject, b: &Subject) -> bool {
    let tls = !a.termination.is_empty() && !b.termination.is_empty();
    let passthrough = a.termination == "passthrough" || b.termination == "passthrough";
    a.host == b.host && (a.path == b.path || tls && passthrough)
}

/// Whom the message names [CLAIM-17]: of the active routes of the host that are older, so that the text
/// is true, the newest with the same path, or else the newest.
fn owner<'a>(routes: &'a [Subject], active: &[bool], at: usize) -> &'a Subject {
    let route = &routes[at];
    let newest = |same_path: bool| {
        let mut found: Option<&Subject> = None;
        for (other, active) in routes.iter().zip(active) {
            let fits = *active
                && other.host == route.host
                && older(other, route)
                && (!same_path || other.path == route.path);
            if fits && found.is_none_or(|found| older(found, other)) {
                found = Some(other);
            }
        }
        found
    };
    newest(true).or_else(|| newest(false)).expect("somebody older is active")
}

/// The texts of [CLAIM-17].
fn exposed(route: &Subject, owner: &Subject) -> String {
    let host = &route.host;
    if route.namespace == owner.namespace {
        format!("route {} already exposes {host} and is older", owner.name)
    } else {
        format!("a route in another namespace holds {host} and is older than {}", route.name)
    }
}

/// The set that `rule` describes by itself: asked for each member with the set so far, from "all", until
/// nothing changes. Rules look at older routes only, so each round gets at least one more route right.
fn settle(count: usize, rule: impl Fn(usize, &[bool]) -> bool) -> Vec<bool> {
    let mut now = vec![true; count];
    for _ in 0..=count {
        let next: Vec<bool> = (0..count).map(|at| rule(at, &now)).collect();
        if next == now {
            return now;
        }
        now = next;
    }
    panic!("the rules contradict each other");
}
