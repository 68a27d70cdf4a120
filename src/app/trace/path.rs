//! From what was seen of a request to a report: which hop did what, where the path breaks, and why.
//!
//! Called by [`super::run`]. Pure.

use std::{net::SocketAddr, time::Duration};

use super::{
    Target,
    ask::Resolved,
    report::{Hop, Name, Report, State, time},
    send::{Answered, Secured},
};
use crate::{
    admin::{
        explain::{Candidate, Explanation, Outcome},
        routes::EndpointLine,
    },
    model::{reason::REASONS, route::Termination},
    nlb::{
        explain::{FlowView, GroupView, TargetView},
        flow::Routing,
    },
    proxy::trace::Seen,
};

/// How alike a host must be to one that is not known, to be named beside it.
const ALIKE: f64 = 0.7;
/// Most hosts that are named.
const NEAR: usize = 3;

/// What was seen.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) live: bool,
    pub(super) target: Target,
    /// `--via` was given.
    pub(super) named_via: bool,
    /// `--insecure` was given.
    pub(super) insecure: bool,
    pub(super) dns: Option<Resolved>,
    /// Where the connection goes.
    pub(super) via: SocketAddr,
    /// What the load balancer says of the flow; nothing when no listener of it is there.
    pub(super) flow: Result<Option<FlowView>, String>,
    pub(super) routers: Vec<RouterSeen>,
    /// What became of the request, if one was to be sent.
    pub(super) sent: Option<Sent>,
}

/// A request that was sent, as far as it came.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) connected: Result<Duration, String>,
    pub(super) tls: Option<Result<Secured, String>>,
    pub(super) answer: Option<Result<Answered, String>>,
}

impl Default for Sent {
    fn default() -> Self {
        Self { connected: Ok(Duration::ZERO), tls: None, answer: None }
    }
}

/// A router.
#[derive(Debug)]
pub(super) struct RouterSeen {
    pub(super) admin: SocketAddr,
    /// Who serves the URL there.
    pub(super) explained: Result<Explanation, String>,
    /// Hosts that it knows, where this one is not among them.
    pub(super) hosts: Vec<String>,
    pub(super) seen: Asked,
}

/// What a router noted.
#[derive(Debug)]
pub(super) enum Asked {
    /// It was not asked to.
    Not,
    /// It could not be asked to.
    Failed(String),
    /// Nothing: the request did not come.
    Nothing,
    /// The request.
    Seen(Box<Seen>),
}

impl RouterSeen {
    fn seen(&self) -> Option<&Seen> {
        match &self.seen {
            Asked::Seen(seen) => Some(seen),
            _ => None,
        }
    }
}

impl Observed {
    /// The router that had the request.
    fn router(&self) -> Option<(&RouterSeen, &Seen)> {
        self.routers.iter().find_map(|router| router.seen().map(|seen| (router, seen)))
    }

    fn answer(&self) -> Option<&Result<Answered, String>> {
        self.sent.as_ref()?.answer.as_ref()
    }

    /// The load balancer's target that is the router with this admin port.
    fn behind(&self, admin: SocketAddr) -> Option<(&GroupView, &TargetView)> {
        let flow = self.flow.as_ref().ok()?.as_ref()?;
        let mut all =
            flow.groups.iter().flat_map(|group| group.targets.iter().map(move |it| (group, it)));
        all.find(|(_, target)| target.check == admin)
    }
}

/// The report.
pub(super) fn judge(observed: &Observed) -> Report {
    let mut report = Report::new(&observed.target.url, observed.live);
    dns(observed, &mut report);
    let steps: [fn(&Observed, &mut Report); 6] = [nlb, tls, router, route, pod, answer];
    for step in steps {
        if report.broken.is_none() {
            step(observed, &mut report);
        }
    }
    report
}

fn dns(observed: &Observed, report: &mut Report) {
    let (host, via) = (&observed.target.host, observed.via);
    let Some(dns) = &observed.dns else {
        let what = match (observed.named_via, host.parse::<std::net::IpAddr>().is_ok()) {
            (true, _) => format!("not asked: --via {via}"),
            (false, true) => format!("not asked: {host} is an address"),
            (false, false) => {
                format!("not asked without --dns: {via}, where `wharf up` listens")
            },
        };
        return report.push(Hop::new(Name::Dns, State::Unknown, what));
    };
    let hop = |state, what| {
        Hop::new(Name::Dns, state, what).took(dns.took).fact("server", dns.server.clone())
    };
    match &dns.addresses {
        Ok(addresses) => {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let hop = hop(State::Ok, format!("{host} is {}", all.join(", ")));
            report.push(hop.fact("connecting", via.to_string()));
        },
        Err(why) if observed.named_via => {
            report.push(hop(State::Unknown, format!("{why}; --via {via}")));
        },
        Err(why) => report.breaks(
            hop(State::Broken, format!("no address of {host}")),
            why.clone(),
            format!("add {host} to that DNS, ask another with --dns, or name the load balancer with --via"),
        ),
    }
}

fn nlb(observed: &Observed, report: &mut Report) {
    let via = observed.via;
    let (state, what) = match &observed.flow {
        Ok(Some(flow)) => (State::Ok, format!("listener {} at {via}", flow.listener)),
        Ok(None) => (State::Unknown, format!("no listener of the load balancer is at {via}")),
        Err(why) => {
            (State::Unknown, format!("{via}; the load balancer's API does not tell: {why}"))
        },
    };
    let mut hop = Hop::new(Name::Nlb, state, what);
    if let Ok(Some(flow)) = &observed.flow {
        hop = flow_facts(hop, flow, observed);
    }
    let connected = observed.sent.as_ref().map(|sent| &sent.connected);
    if let Some(Ok(took)) = connected {
        hop = hop.took(*took).fact("connect", time(*took));
    }
    let fix = "start `wharf up` or `wharf nlb`, or name a listener that is there with --via";
    match (dead_end(observed), connected) {
        (Some((why, fix)), _) => report.breaks(hop, why, fix),
        (None, Some(Err(why))) => report.breaks(hop, format!("{via}: {why}"), fix),
        (None, _) => report.push(hop),
    }
}

/// What keeps a flow from every router.
fn dead_end(observed: &Observed) -> Option<(String, String)> {
    let Ok(Some(flow)) = &observed.flow else { return None };
    if !flow.admitted {
        let why = format!("the source ranges of listener {} leave this client out", flow.listener);
        return Some((why, "add the client's address to them".to_owned()));
    }
    let groups = || flow.groups.iter().filter(|group| group.weight > 0);
    let targets = || groups().flat_map(|group| &group.targets);
    let fix = || {
        let checks = targets().next().map_or_else(
            || "register targets".to_owned(),
            |target| format!("look at http://{}/healthz/ready?verbose", target.check),
        );
        format!("start the routers, then {checks} and `wharf get targets`")
    };
    if !targets().any(|target| target.eligible) {
        return Some((format!("no target of listener {} may get a flow", flow.listener), fix()));
    }
    // Without an answer and without a router that noted it, the flow ended here. A certificate that is
    // refused was shown by somebody.
    let lost = match observed.sent.as_ref()? {
        // It may be reset before the client has seen that it was accepted.
        Sent { connected: Err(why), .. } => why,
        Sent { tls: Some(Err(why)), .. } if !why.contains("certificate") => why,
        Sent { answer: Some(Err(why)), .. } => why,
        _ => return None,
    };
    if observed.router().is_some() || targets().any(|target| target.state == "healthy") {
        return None;
    }
    let why = format!(
        "no target is healthy, and the one that was tried all the same did not answer: {lost}"
    );
    Some((why, fix()))
}

fn flow_facts(mut hop: Hop, flow: &FlowView, observed: &Observed) -> Hop {
    let zone = flow.zone.as_ref().map(|zone| format!("zone {zone}"));
    hop =
        hop.fact("node", format!("{} ({})", flow.address, zone.as_deref().unwrap_or("all zones")));
    let groups = flow.groups.iter().map(|group| {
        let proxy = if group.proxy_protocol { ", PROXY header" } else { "" };
        format!("{} weight {}{proxy}", group.name, group.weight)
    });
    hop = hop.lines("groups", groups.collect());
    let found = observed.router().and_then(|(router, _)| observed.behind(router.admin));
    let known = || {
        let group = flow.groups.iter().find(|group| group.chosen.is_some())?;
        let chosen = group.targets.iter().find(|target| Some(target.address) == group.chosen)?;
        // Of several groups the flow may get another.
        (flow.groups.iter().filter(|group| group.weight > 0).count() == 1)
            .then_some((group, chosen))
    };
    if let Some((group, target)) = found.or_else(known) {
        hop = hop.fact("target", named(target)).fact("why", chosen_because(group));
    } else if let Some(group) = flow.groups.first() {
        hop = hop.fact("why", chosen_because(group));
    }
    let targets = flow.groups.iter().flat_map(|group| &group.targets).map(|target| {
        let reason = target.reason.as_ref().map(|reason| format!(" ({reason})"));
        format!("{} {}{}", named(target), target.state, reason.unwrap_or_default())
    });
    hop.lines("targets", targets.collect())
}

fn named(target: &TargetView) -> String {
    match &target.zone {
        Some(zone) => format!("{} zone {zone}", target.address),
        None => target.address.to_string(),
    }
}

/// Why a target of `group` was chosen.
fn chosen_because(group: &GroupView) -> String {
    let count = group.targets.iter().filter(|target| target.eligible).count();
    let of = match group.routing {
        Some(Routing::Healthy) => format!("of {count} healthy"),
        Some(Routing::FailOpen) => format!("fail-open: too few are healthy, so of all {count}"),
        None => return "there is no target".to_owned(),
    };
    let by = match (group.sticky, count) {
        (true, _) => "stickiness, by the client's address",
        (false, 1) => "the only one",
        (false, _) => "flow hash, by protocol, addresses, ports and sequence number",
    };
    format!("{by}, {of}")
}

fn tls(observed: &Observed, report: &mut Report) {
    if !observed.target.tls {
        return;
    }
    let host = &observed.target.host;
    let explained = explained(observed);
    let passed = explained
        .and_then(|explained| explained.winner.as_ref())
        .is_some_and(|winner| winner.termination == "passthrough");
    let ends = if passed { "at the pod" } else { "at the router" };
    let outcome = observed.sent.as_ref().and_then(|sent| sent.tls.as_ref());
    match outcome {
        None => {
            let certificate = explained.and_then(|explained| explained.certificate.as_ref());
            let text = certificate
                .map(|cert| format!("of {}, valid until {}", cert.source, cert.not_after));
            let hop = Hop::new(Name::Tls, State::Ok, format!("ends {ends}, SNI {host}"));
            report.push(hop.maybe("certificate", text));
        },
        Some(Ok(secured)) => {
            let how = if observed.insecure { "not verified" } else { "verified" };
            let what = format!("{} ends {ends}, SNI {host}", secured.version);
            let hop = Hop::new(Name::Tls, State::Ok, what).took(secured.took);
            let text = format!("{}, until {}, {how}", secured.subject, secured.not_after);
            report.push(hop.fact("certificate", text).fact("handshake", time(secured.took)));
        },
        Some(Err(why)) => {
            let hop = Hop::new(Name::Tls, State::Broken, format!("no handshake, SNI {host}"));
            let unknown = explained.is_some_and(|it| it.outcome == Outcome::NoHost);
            let noted = observed.router().is_some_and(|(_, seen)| seen.reason.is_some());
            if unknown || noted {
                // It is a consequence: the hop that is to blame follows.
                let hop = hop.fact("failed", why.clone());
                return report.push(Hop { state: State::Unknown, ..hop });
            }
            let fix = match passed {
                true => "look at the pods and their certificates, or use --cacert or --insecure",
                false => "name the authority with --cacert, or do without it with --insecure",
            };
            report.breaks(hop, why.clone(), fix);
        },
    }
}

/// What the router that had the request says of the URL, else the first that says anything.
fn explained(observed: &Observed) -> Option<&Explanation> {
    let had = observed.router().map(|(router, _)| router);
    let first = || observed.routers.iter().find(|router| router.explained.is_ok());
    had.or_else(first)?.explained.as_ref().ok()
}

fn router(observed: &Observed, report: &mut Report) {
    let reached: Vec<String> = observed
        .routers
        .iter()
        .filter(|router| router.explained.is_ok())
        .map(|router| router.admin.to_string())
        .collect();
    if let Some((router, seen)) = observed.router() {
        let zone = observed.behind(router.admin).and_then(|(_, target)| target.zone.clone());
        let zone = zone.map(|zone| format!(" in zone {zone}")).unwrap_or_default();
        let what = format!("the router with admin port {}{zone}", router.admin);
        let head = seen.head_us.map(u64::from).map(Duration::from_micros);
        let mut hop = Hop::new(Name::Router, State::Ok, what)
            .fact("frontend", seen.frontend.clone())
            .fact("client", seen.client.to_string())
            .fact("snapshot", seen.generation.to_string());
        hop.took = head;
        return report.push(hop.maybe("head", head.map(time)));
    }
    if reached.is_empty() {
        let failures = observed.routers.iter().filter_map(|router| {
            let why = router.explained.as_ref().err()?;
            Some(format!("{}: {why}", router.admin))
        });
        let hop =
            Hop::new(Name::Router, State::Unknown, "no admin port answers: name them with --admin");
        return report.push(hop.lines("asked", failures.collect()));
    }
    if !observed.live {
        let hop = Hop::new(Name::Router, State::Ok, "any of these routers");
        return report.push(hop.lines("admin", reached));
    }
    let asked = observed.routers.iter().map(|router| match &router.seen {
        Asked::Failed(why) => format!("{}: {why}", router.admin),
        _ => format!("{}: no request of this connection", router.admin),
    });
    let what = "none noted it: it did not come, another one had it, or the client's address is \
                changed on the way";
    report.push(Hop::new(Name::Router, State::Unknown, what).lines("asked", asked.collect()));
}

/// What the reason of a router's own answer means, and what to do.
fn meaning(word: &str) -> (String, &'static str) {
    let known = REASONS.iter().find(|(_, known, _)| *known == word);
    let text = known.map_or(word, |(_, _, meaning)| meaning);
    let fix = match word {
        "no_route" | "no_path" => {
            "look at `wharf get routes`; a Route that is refused says why in `wharf describe route`"
        },
        "no_endpoints" => "look at `wharf get endpoints` and at the selector and targetPort",
        "all_unhealthy" | "connect_failed" | "connect_timeout" => {
            "look at the pods: do they listen on the port of `wharf get endpoints`?"
        },
        "tls_verify_failed" => {
            "set destinationCACertificate, or have the pod show the Service's name"
        },
        "upstream_reset" | "upstream_invalid" => "look at the pod's log; does it speak HTTP there?",
        "upstream_timeout" => "look at the pod, or raise haproxy.router.openshift.io/timeout",
        "queue_timeout" | "queue_full" | "overload" | "local_ports" => {
            "look at /metrics of the router, and add pods or raise the limit"
        },
        "denied_allowlist" => "add the client to haproxy.router.openshift.io/ip_allowlist",
        "rate_limited" => "wait, or raise the route's rate limit",
        "client_cert_denied" => "the router wants a client certificate",
        "draining" => "wait for the router that takes its place",
        _ => "look at the router's access log",
    };
    (text.to_owned(), fix)
}

/// Reasons that a Route gives, and not its pods.
const OF_ROUTES: [&str; 8] = [
    "no_route",
    "no_path",
    "denied_allowlist",
    "rate_limited",
    "misdirected",
    "client_cert_denied",
    "bad_request",
    "redirect",
];

fn route(observed: &Observed, report: &mut Report) {
    let seen = observed.router().map(|(_, seen)| seen);
    let Some(explained) = explained(observed) else { return };
    let Some(winner) = &explained.winner else {
        let hosts = observed.routers.iter().flat_map(|router| &router.hosts);
        let near = near(&observed.target.host, hosts.map(String::as_str));
        let knows = observed.routers.iter().filter(|router| router.explained.is_ok());
        let knows = knows.map(|router| format!("{} knows none", router.admin)).collect();
        let losers = explained.losers.iter().map(|loser| {
            format!("{}/{} path {:?}: {}", loser.namespace, loser.name, loser.path, loser.why)
        });
        let what = format!("no route for {}{}", explained.host, explained.path);
        let hop = Hop::new(Name::Route, State::Broken, what)
            .lines("routers", knows)
            .lines("losers", losers.collect())
            .lines("near", near.clone());
        let fix = match near.first() {
            Some(near) => format!("did you mean {near}? `wharf get routes` shows all"),
            None => "`wharf get routes` shows what there is".to_owned(),
        };
        return report.breaks(hop, explained.why.clone(), fix);
    };
    let mut hop =
        Hop::new(Name::Route, State::Ok, route_line(winner)).fact("why", explained.why.clone());
    hop = hop.fact("termination", winner.termination.clone());
    if let Some(rewrite) = &winner.policy.rewrite {
        hop = hop.fact("rewrite", format!("the path becomes {rewrite}"));
    }
    if !explained.losers.is_empty() {
        let losers = explained.losers.iter();
        let losers = losers.map(|it| format!("{}/{}: {}", it.namespace, it.name, it.why));
        hop = hop.lines("losers", losers.collect());
    }
    if let Some(other) = seen.and_then(|seen| seen.route.as_ref())
        && (&other.namespace, &other.name) != (&winner.namespace, &winner.name)
    {
        hop = hop
            .fact("had", format!("{}/{}: the snapshot has changed", other.namespace, other.name));
    }
    if explained.outcome == Outcome::Redirect {
        return report.push(hop.fact("answer", "redirect to https; ask there"));
    }
    let reason = seen.and_then(|seen| seen.reason.as_deref());
    match reason.filter(|reason| OF_ROUTES.contains(reason)) {
        Some("redirect") | None => report.push(hop),
        Some(reason) => {
            let (text, fix) = meaning(reason);
            report.breaks(hop, format!("{reason}: {text}"), fix);
        },
    }
}

fn route_line(winner: &Candidate) -> String {
    let path = if winner.path.is_empty() { "/" } else { &winner.path };
    format!("{}/{} host {} path {path}", winner.namespace, winner.name, winner.host)
}

/// The hosts most like `host`, the nearest first.
pub(super) fn near<'a>(host: &str, hosts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<(f64, &str)> = hosts
        .map(|known| (strsim::normalized_damerau_levenshtein(host, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.dedup();
    all.into_iter().take(NEAR).map(|(_, host)| host.to_owned()).collect()
}

/// The Service and the pod.
fn pod(observed: &Observed, report: &mut Report) {
    let Some(explained) = explained(observed) else { return };
    let Some(winner) = explained.winner.as_ref().filter(|_| explained.outcome == Outcome::Serve)
    else {
        return;
    };
    let seen = observed.router().map(|(_, seen)| seen);
    let server = seen.and_then(|seen| seen.server.as_ref());
    let lines: Vec<String> = explained.endpoints.iter().map(endpoint).collect();
    let mut services: Vec<&str> = explained.endpoints.iter().map(|line| &*line.service).collect();
    services.dedup();
    let what = match server {
        Some(server) => format!("{}/{}", winner.namespace, server.service),
        None => format!("{}: {}", winner.namespace, services.join(", ")),
    };
    let state = if lines.is_empty() { State::Broken } else { State::Ok };
    let mut hop =
        Hop::new(Name::Service, state, what).fact("balance", winner.policy.balance.clone());
    let queue = seen.and_then(|seen| seen.queue_us).map(micros);
    hop.took = queue;
    let hop = hop.maybe("queue", queue.map(time)).lines("endpoints", lines);
    let reason = seen.and_then(|seen| seen.reason.as_deref());
    let up = explained.endpoints.iter().any(|line| line.up || line.cluster_ip);
    if explained.endpoints.is_empty() || (!up && seen.is_none()) {
        let word = if explained.endpoints.is_empty() { "no_endpoints" } else { "all_unhealthy" };
        let (text, fix) = meaning(reason.unwrap_or(word));
        return report.breaks(hop, format!("{}: {text}", reason.unwrap_or(word)), fix);
    }
    report.push(hop);
    let Some(seen) = seen else {
        let what = match &explained.endpoints[..] {
            [only] => only.address.clone(),
            all => format!("one of {}, by {}", all.len(), winner.policy.balance),
        };
        return report.push(Hop::new(Name::Pod, State::Unknown, what));
    };
    reached_pod(seen, report);
}

fn reached_pod(seen: &Seen, report: &mut Report) {
    let what = match &seen.server {
        Some(server) if server.cluster_ip => {
            format!("{}, the cluster IP: kube-proxy chose the pod", server.address)
        },
        Some(server) if server.pod.is_empty() => server.address.clone(),
        Some(server) => format!("{} at {}", server.pod, server.address),
        None => "none was chosen".to_owned(),
    };
    let (connect, response) = (seen.connect_us.map(micros), seen.response_us.map(micros));
    let mut hop = Hop::new(Name::Pod, State::Ok, what)
        .maybe(
            "connect",
            connect.map(|took| match took.is_zero() {
                true => "kept connection".to_owned(),
                false => time(took),
            }),
        )
        .maybe("response", response.map(time))
        .fact("total", time(micros(seen.total_us)));
    hop.took = match (connect, response) {
        (None, None) => None,
        (connect, response) => Some(connect.unwrap_or_default() + response.unwrap_or_default()),
    };
    if seen.retries > 0 {
        hop = hop.fact("retries", seen.retries.to_string());
    }
    let passed = seen.route.as_ref().is_some_and(|it| it.termination == Termination::Passthrough);
    match &seen.reason {
        // The client's own end of a connection that is passed through breaks nothing.
        Some(reason) if !(passed && reason.starts_with("client")) => {
            let (text, fix) = meaning(reason);
            report.breaks(hop, format!("{reason}: {text}"), fix);
        },
        _ => report.push(hop),
    }
}

const fn micros(count: u32) -> Duration {
    Duration::from_micros(count as u64)
}

fn endpoint(line: &EndpointLine) -> String {
    let health = match (line.cluster_ip, line.up) {
        (true, _) => "cluster IP",
        (false, true) => "up",
        (false, false) => "down",
    };
    let pod = if line.pod.is_empty() { String::new() } else { format!(" {}", line.pod) };
    format!("{} {}{pod} weight {} {health}", line.service, line.address, line.weight)
}

fn answer(observed: &Observed, report: &mut Report) {
    match observed.answer() {
        None => {},
        Some(Ok(answered)) => {
            let hop = Hop::new(Name::Answer, State::Ok, format!("status {}", answered.status))
                .took(answered.took)
                .maybe("location", answered.location.clone())
                .fact("first", time(answered.first));
            // What the router did not spend, others did on the way there and back.
            let own = observed.router().map(|(_, seen)| {
                let parts = [seen.queue_us, seen.connect_us, seen.response_us];
                micros(parts.into_iter().flatten().sum())
            });
            let outside = own.map(|own| time(answered.first.saturating_sub(own)));
            report.push(hop.maybe("outside", outside));
        },
        Some(Err(why)) => {
            let hop = Hop::new(Name::Answer, State::Broken, "none");
            let fix = "look at the access log of the router, and at `wharf get targets`";
            report.breaks(hop, why.clone(), fix);
        },
    }
}

#[cfg(test)]
mod tests;
