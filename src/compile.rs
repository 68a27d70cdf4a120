//! L5: from objects to a snapshot.
//!
//! Called by `app` at every change, on the control runtime. One call does the whole work: the DNS map,
//! certificates, claims, policies, backends, the routing table. What must outlive a snapshot (peers,
//! counters, round-robin positions, parsed certificates) is carried over here, by identity. An object
//! that cannot be compiled fails alone.

mod allow;
mod annotations;
mod backends;
mod certs;
mod claims;
mod policy;
mod rates;
mod select;
mod status;
mod sticky;
mod trust;

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::CryptoProvider;

pub use self::trust::ServiceCa;
use self::{
    annotations::Annotations,
    backends::Backends,
    certs::{Certificates, Complaint},
    status::{Seen, Statuses},
    trust::{Policies, Tls},
};
use crate::{
    model::{
        finding::{Code, Finding, codes},
        objects::{ObjectKey, Objects, Stored},
        page::Pages,
        route::{InsecurePolicy, Route, RouteTls, Termination},
        status::{Admission, RejectReason},
    },
    routing::{
        admit::{self, Claim, Rules},
        clients::AllowList,
        host::rewrite::Rewriter,
        sni::{self, SniTable},
        table::{Entry, PlainRule, Ports, RouteTable},
    },
    settings::RouterSettings,
    snapshot::{CompiledRoute, RouteState, Snapshot},
    tls::{
        client::Trust, client_auth::ClientAuth, keys::KeyError, server::Profile, store::CertStore,
    },
    zone::{Resolved, Zone, ZoneOptions},
};

/// Compiles, and remembers what the next compile carries over.
#[derive(Debug)]
pub struct Compiler {
    settings: Arc<RouterSettings>,
    certificates: Certificates,
    backends: Backends,
    policies: Policies,
    rates: rates::Tables,
    /// Last routes whose certificate was good or that had none (decisions 4).
    last_good: HashMap<ObjectKey, Arc<Stored<Route>>>,
    rewriter: Rewriter,
    rules: Rules,
    statuses: Statuses,
    pages: Arc<Pages>,
    zone_options: ZoneOptions,
    generation: u64,
}

/// A route on its way through one compile.
struct Candidate {
    /// The object whose spec is used: the present one or the last good one.
    source: Arc<Stored<Route>>,
    /// The object as it is now.
    present: Arc<Stored<Route>>,
    /// The host that `source` has here [PIPE-3].
    host: Arc<str>,
    /// Set when the route cannot be served whatever its claims are.
    refused: Option<Admission>,
}

/// What is known of a route before it is compiled.
#[derive(Default)]
struct Given {
    /// Of a reencrypt route: whose certificates its pods may show.
    trust: Option<Trust>,
    /// Who may use it; everybody when absent.
    allow: Option<Arc<AllowList>>,
}

impl Compiler {
    /// A compiler for `settings`; `default_pair` is the PEM of the default certificate and key.
    ///
    /// # Errors
    /// When the default certificate cannot be served.
    pub fn new(
        settings: Arc<RouterSettings>,
        profile: Profile,
        default_pair: (&str, &str),
    ) -> Result<Self, KeyError> {
        let policies = Policies::new(&settings, profile.provider());
        let certificates = Certificates::new(Arc::clone(&settings), profile, default_pair)?;
        let backends = Backends::new(&settings);
        let rates = rates::Tables::new(&settings.limits);
        let rewriter = Rewriter::new(&settings);
        let rules = Rules::new(&settings);
        let statuses = Statuses::new(&settings);
        Ok(Self {
            settings,
            certificates,
            backends,
            policies,
            rates,
            last_good: HashMap::new(),
            rewriter,
            rules,
            statuses,
            pages: Arc::default(),
            zone_options: ZoneOptions::default(),
            generation: 0,
        })
    }

    /// Replaces the default certificate [DCERT-1]; true if it is another one. A bad one is refused
    /// and the old one stays.
    ///
    /// # Errors
    /// When the pair cannot be served.
    pub fn set_default(&mut self, pair: (&str, &str)) -> Result<bool, KeyError> {
        self.certificates.set_default(pair)
    }

    /// Replaces the error pages of the snapshots to come [NOMATCH-4].
    pub fn set_pages(&mut self, pages: Pages) {
        self.pages = Arc::new(pages);
    }

    /// What DNS shows of the zones of the snapshots to come; routes are not concerned.
    pub fn set_zone_options(&mut self, options: ZoneOptions) {
        self.zone_options = options;
    }

    /// Takes over the CA of pods of reencrypt routes that name none [REENC-2], from the file at
    /// `path`. Once there was one, pods are never again taken without verifying them.
    pub fn set_service_ca(&mut self, path: &Path, found: &ServiceCa) {
        self.policies.set_service_ca(path, found);
    }

    /// The crypto provider of every certificate.
    #[must_use]
    pub const fn provider(&self) -> &Arc<CryptoProvider> {
        self.certificates.provider()
    }

    /// Asks clients for certificates, from the next snapshot on [MTLS-1]. Sessions and tickets of what
    /// was asked until now are not resumed (S-67).
    pub fn set_client_auth(&mut self, client_auth: Arc<ClientAuth>) {
        self.certificates.set_client_auth(client_auth);
    }

    /// The snapshot that serves nothing, for the time before the first objects.
    #[must_use]
    pub fn empty() -> Snapshot {
        Snapshot {
            generation: 0,
            built_at: UNIX_EPOCH,
            table: RouteTable::build(Vec::new()),
            certs: CertStore::default(),
            passthrough: SniTable::default(),
            zone: Arc::default(),
            routes: Vec::new(),
            ingresses: Vec::new(),
            checked: Vec::new(),
            rated: Vec::new(),
            pages: Arc::default(),
            findings: Vec::new(),
        }
    }

    /// Compiles `objects`. `findings` are those of the source; compile adds its own behind them.
    pub fn compile(
        &mut self,
        objects: &Objects,
        resolved: &Resolved,
        mut findings: Vec<Finding>,
        now: SystemTime,
    ) -> Snapshot {
        self.generation += 1;
        let serial = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let serial = u32::try_from(serial & u64::from(u32::MAX)).unwrap_or(0);
        let (domain, shown) = (&self.settings.cluster_domain, self.zone_options.clone());
        let zone = Arc::new(Zone::build_with(objects, domain, resolved, serial, shown));
        self.certificates.begin(&objects.secrets);
        let selected = select::select(objects, &self.settings.admission, &mut findings);
        let annotations = Annotations::of(&findings);
        let candidates = self.candidates(&selected, &mut findings);
        let claims: Vec<Claim<'_>> = candidates.iter().map(claims::claim).collect();
        let admissions = admit::admit(&claims, &self.rules);
        let ranks = claims::ranks(&claims);
        self.backends.begin();
        self.rates.begin();
        self.policies.begin(&mut findings);
        let mut entries = Vec::with_capacity(candidates.len());
        let mut routes = Vec::with_capacity(candidates.len());
        for ((candidate, admission), rank) in candidates.iter().zip(admissions).zip(ranks) {
            // Secrets are looked at behind claims: what has no host goes through no transition.
            let passing = self.certificates.transition(&candidate.present.key);
            let passing = passing.filter(|_| admission.is_admitted());
            let admission = judge(candidate, admission, &mut findings);
            let (admission, trust) = self.trust(candidate, admission, &mut findings);
            let fails_open = self.settings.allow_list_fails_open;
            let before = findings.len();
            let allow = allow::read(&candidate.source, fails_open, &mut findings);
            let given = Given { trust, allow };
            let compiled =
                admission.is_admitted().then(|| self.route(candidate, given, &zone, &mut findings));
            let said = annotations.message(&candidate.present.key, &findings[before..]);
            if let Some(route) = &compiled {
                entries.push(entry(route, rank));
            }
            let host = Arc::clone(&candidate.host);
            let source = Arc::clone(&candidate.present);
            let seen = Seen { passing: passing.as_ref(), now: &admission, annotations: &said };
            let status = self.statuses.next(&source, &host, seen, now);
            routes.push(RouteState { source, host, admission, status, compiled });
        }
        self.statuses.finish();
        routes.sort_by(|a, b| a.source.key.cmp(&b.source.key));
        let certs = self.certificates.store(&routes);
        let checked = self.backends.finish();
        let rated = self.rates.finish();
        self.policies.finish();
        let passthrough = SniTable::build(entries.iter().filter_map(sni_entry).collect());
        let table = RouteTable::build(entries);
        let (generation, built_at) = (self.generation, now);
        Snapshot {
            generation,
            built_at,
            table,
            certs,
            passthrough,
            zone,
            routes,
            ingresses: objects.ingresses.clone(),
            checked,
            rated,
            pages: Arc::clone(&self.pages),
            findings,
        }
    }

    /// Every route with the spec that counts: a route whose inline certificate is broken keeps its
    /// last good version; one that never was good is refused.
    fn candidates(
        &mut self,
        routes: &[Arc<Stored<Route>>],
        findings: &mut Vec<Finding>,
    ) -> Vec<Candidate> {
        let mut last_good = HashMap::with_capacity(self.last_good.len());
        let mut candidates = Vec::with_capacity(routes.len());
        for route in routes {
            if let Some(refused) = claims::out_of_table(route, findings) {
                candidates.push(Candidate {
                    source: Arc::clone(route),
                    present: Arc::clone(route),
                    host: claims::host(&self.rewriter, route),
                    refused: Some(refused),
                });
                continue;
            }
            let (source, refused) = match self.certificates.check(route) {
                Ok(complaints) => {
                    findings.extend(complaints.iter().map(|it| complain(route, it)));
                    last_good.insert(route.key.clone(), Arc::clone(route));
                    (Arc::clone(route), None)
                },
                Err(refusal) => {
                    findings.extend(refusal.complaints.iter().map(|it| complain(route, it)));
                    let previous = self.last_good.get(&route.key).filter(|previous| {
                        // Checked again, so that its certificate is served and not the default one.
                        refusal.keeps_last && self.certificates.check(previous).is_ok()
                    });
                    if let Some(previous) = previous {
                        last_good.insert(route.key.clone(), Arc::clone(previous));
                    }
                    let refused = previous.is_none().then(|| Admission::Rejected {
                        reason: refusal.reason,
                        message: refusal.message.clone(),
                    });
                    (Arc::clone(previous.unwrap_or(route)), refused)
                },
            };
            let host = claims::host(&self.rewriter, &source);
            candidates.push(Candidate { source, present: Arc::clone(route), host, refused });
        }
        self.last_good = last_good;
        candidates
    }

    /// Whose certificates the pods of a route may show that is admitted so far: only of a reencrypt
    /// route, which is refused when its CA cannot be understood (decisions 4). Pods that nobody verifies
    /// are a finding.
    fn trust(
        &mut self,
        candidate: &Candidate,
        admission: Admission,
        findings: &mut Vec<Finding>,
    ) -> (Admission, Option<Trust>) {
        let route = &candidate.source;
        let kind = termination(route.object.spec.tls.as_ref());
        if !admission.is_admitted() || kind != Termination::Reencrypt {
            return (admission, None);
        }
        match self.policies.trust(route) {
            Ok(trust) => {
                if self.policies.is_open(&trust) {
                    let text = "the certificates of the route's pods are not verified";
                    let fix = "set spec.tls.destinationCACertificate, or give the router a CA with \
                               --default-destination-ca";
                    findings.push(finding(route, codes::PODS_NOT_VERIFIED, "spec.tls", text, fix));
                }
                (admission, Some(trust))
            },
            Err(error) => {
                let field = "spec.tls.destinationCACertificate";
                let fix = "put PEM certificates there, or leave it out";
                let message = format!("destinationCACertificate: {error}");
                findings.push(finding(route, codes::BAD_DESTINATION_CA, field, &message, fix));
                let reason = RejectReason::ExtendedValidationFailed;
                (Admission::Rejected { reason, message }, None)
            },
        }
    }

    /// Compiles one admitted route.
    fn route(
        &mut self,
        candidate: &Candidate,
        given: Given,
        zone: &Zone,
        findings: &mut Vec<Finding>,
    ) -> Arc<CompiledRoute> {
        let source = &candidate.source;
        let spec = &source.object.spec;
        let termination = termination(spec.tls.as_ref());
        let tls = given.trust.map(|trust| Tls { trust, policies: &mut self.policies });
        let backend = self.backends.backend(source, termination, tls, zone, findings);
        let rated = self.rates.of(source, termination, findings);
        Arc::new(CompiledRoute {
            key: source.key.clone(),
            // Lower case already, or it would not be admitted [CLAIM-10].
            host: Arc::clone(&candidate.host),
            wildcard: spec.wildcard_policy == "Subdomain" && self.rules.allow_wildcard,
            path: spec.path.as_str().into(),
            termination,
            insecure: insecure(spec.tls.as_ref()),
            policy: policy::compile(source, termination, given.allow, &self.settings),
            rated,
            backend,
        })
    }
}

fn complain(route: &Stored<Route>, complaint: &Complaint) -> Finding {
    finding(route, complaint.code, complaint.field, &complaint.text, complaint.fix)
}

/// A finding about a field of a route.
fn finding(route: &Stored<Route>, code: Code, field: &str, text: &str, fix: &str) -> Finding {
    Finding {
        code,
        place: route.field_place(field),
        field: field.to_owned(),
        object: format!("Route {}", route.key),
        text: text.to_owned(),
        fix: fix.to_owned(),
    }
}

/// The outcome for a candidate: its claims, then what compile knows about it. Every refusal is a
/// finding as well.
fn judge(candidate: &Candidate, claimed: Admission, findings: &mut Vec<Finding>) -> Admission {
    let route = &candidate.source;
    if let Admission::Rejected { reason, message } = &claimed {
        let (code, fix) = match reason {
            RejectReason::HostAlreadyClaimed => {
                (codes::HOST_CLAIMED, "choose another host or path, or remove one of the routes")
            },
            RejectReason::NoHostValue => (
                codes::NOT_ADMITTED,
                "set spec.host, or spec.subdomain where the router has a domain",
            ),
            RejectReason::InvalidHost => {
                (codes::NOT_ADMITTED, "use labels of a-z, 0-9 and -, separated by dots")
            },
            _ => (
                codes::NOT_ADMITTED,
                "change the host or the wildcardPolicy, or the router's ROUTER_ALLOWED_DOMAINS, \
                 ROUTER_DENIED_DOMAINS or ROUTER_ALLOW_WILDCARD_ROUTES",
            ),
        };
        findings.push(finding(route, code, "spec.host", message, fix));
        return claimed;
    }
    if let Some(refused) = &candidate.refused {
        return refused.clone();
    }
    claimed
}

/// How TLS ends for a defaulted route.
fn termination(tls: Option<&RouteTls>) -> Termination {
    match tls.map(|tls| tls.termination.as_str()) {
        None => Termination::None,
        Some("reencrypt") => Termination::Reencrypt,
        Some("passthrough") => Termination::Passthrough,
        Some(_) => Termination::Edge,
    }
}

fn insecure(tls: Option<&RouteTls>) -> InsecurePolicy {
    match tls.map(|tls| tls.insecure_edge_termination_policy.as_str()) {
        Some("Allow") => InsecurePolicy::Allow,
        Some("Redirect") => InsecurePolicy::Redirect,
        _ => InsecurePolicy::None,
    }
}

/// The table entry of a route: the row of spec/route.md 10.4.
fn entry(route: &Arc<CompiledRoute>, age_rank: u64) -> Entry<Arc<CompiledRoute>> {
    let plain = match (route.termination, route.insecure) {
        (Termination::None, _)
        | (Termination::Edge | Termination::Reencrypt, InsecurePolicy::Allow) => PlainRule::Serve,
        (_, InsecurePolicy::Redirect) => PlainRule::Redirect,
        _ => PlainRule::Hidden,
    };
    let secure = matches!(route.termination, Termination::Edge | Termination::Reencrypt);
    Entry {
        host: Arc::clone(&route.host),
        wildcard: route.wildcard,
        path: Arc::clone(&route.path),
        ports: Ports { plain, secure },
        age_rank,
        value: Arc::clone(route),
    }
}

/// What the TLS port's table of server names says of a route: nothing of one without TLS.
fn sni_entry(entry: &Entry<Arc<CompiledRoute>>) -> Option<sni::Entry<'_, Arc<CompiledRoute>>> {
    let value = match entry.value.termination {
        Termination::None => return None,
        Termination::Edge | Termination::Reencrypt => None,
        Termination::Passthrough => Some(Arc::clone(&entry.value)),
    };
    let Entry { host, wildcard, age_rank, .. } = entry;
    Some(sni::Entry { host, wildcard: *wildcard, age_rank: *age_rank, value })
}

/// The data of a TLS Secret as text.
fn secret_text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

#[cfg(test)]
mod tests;
