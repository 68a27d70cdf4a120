//! Certificates of routes, Secrets and the default, judged once for each content.
//!
//! Called by `compile` for each route, and for the store at the end. Verdicts are kept by a digest of
//! the PEM texts for as long as a compile asks for them, and a route whose objects are those of the
//! last compile is not even hashed: an edit costs what it changes. A Secret that turns bad keeps its
//! last good pair (decisions 4).

mod external;
mod serve;
mod verdict;

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::CryptoProvider;

use self::{
    external::{External, Found},
    serve::{Configs, Http2, Offers},
    verdict::{Pair, Verdict, Verdicts},
};
use super::secret_text;
use crate::{
    model::{
        finding::{Code, codes},
        objects::{ObjectKey, Stored},
        route::{Route, RouteTls},
        status::{Admission, RejectReason},
    },
    settings::RouterSettings,
    snapshot::RouteState,
    tls::{
        client_auth::ClientAuth,
        keys::KeyError,
        server::Profile,
        store::{CertStore, UnknownName},
        validation::{self, Field, Kind, Problem, Texts},
    },
};

/// All certificates of the process.
#[derive(Debug)]
pub(super) struct Certificates {
    settings: Arc<RouterSettings>,
    verdicts: Verdicts,
    external: External,
    configs: Configs,
    default: Pair,
    /// What was judged for each route in the last compile, and in this one.
    before: HashMap<ObjectKey, Judged>,
    now: HashMap<ObjectKey, Judged>,
}

/// A route's objects and what they hold.
#[derive(Debug)]
struct Judged {
    route: Arc<Stored<Route>>,
    secret: Option<Arc<Stored<Secret>>>,
    verdict: Verdict,
    /// What is served: of the verdict, or the last good pair of its Secret.
    pair: Option<Pair>,
}

/// One thing about a route's certificates that people should know.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    pub(super) code: Code,
    pub(super) field: &'static str,
    pub(super) text: String,
    pub(super) fix: &'static str,
}

/// Why a route's TLS section cannot be used.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: RejectReason,
    /// The message of the condition.
    pub(super) message: String,
    pub(super) complaints: Vec<Complaint>,
    /// The last good version of the route goes on.
    pub(super) keeps_last: bool,
}

impl Certificates {
    pub(super) fn new(
        settings: Arc<RouterSettings>,
        profile: Profile,
        default: (&str, &str),
    ) -> Result<Self, KeyError> {
        let default = Pair::parse(profile.provider(), default)?;
        let verdicts = Verdicts::new(profile.provider(), settings.extended_validation);
        Ok(Self {
            settings,
            verdicts,
            external: External::default(),
            configs: Configs::new(profile),
            default,
            before: HashMap::new(),
            now: HashMap::new(),
        })
    }

    pub(super) const fn provider(&self) -> &Arc<CryptoProvider> {
        self.configs.provider()
    }

    /// Asks clients for certificates from the next compile on.
    pub(super) fn set_client_auth(&mut self, client_auth: Arc<ClientAuth>) {
        self.configs.set_client_auth(client_auth);
    }

    pub(super) fn set_default(&mut self, pair: (&str, &str)) -> Result<bool, KeyError> {
        let pair = Pair::parse(self.verdicts.provider(), pair)?;
        let changed = pair.id != self.default.id;
        self.default = pair;
        Ok(changed)
    }

    /// Starts a compile with these Secrets.
    pub(super) fn begin(&mut self, secrets: &[Arc<Stored<Secret>>]) {
        self.external.begin(secrets);
        self.verdicts.begin();
        self.before = std::mem::take(&mut self.now);
    }

    /// Checks the certificate of `route`, from its own fields or from its Secret, and notes it for
    /// [`Self::store`]. Complaints come back also when the route is served.
    pub(super) fn check(&mut self, route: &Arc<Stored<Route>>) -> Result<Vec<Complaint>, Refusal> {
        let Some(tls) = &route.object.spec.tls else { return Ok(Vec::new()) };
        let named = tls.external_certificate.as_ref();
        let Some(name) = named.filter(|_| self.settings.external_certificates) else {
            self.external.forget(&route.key);
            return self.inline(route, tls);
        };
        match self.external.find(route, &name.name) {
            Found::Secret(secret) => self.of_secret(route, tls, &secret),
            Found::Refused(refusal) => Err(refusal),
        }
    }

    /// What happened to the Secret of `route` since the last compile, as the condition that OpenShift
    /// writes before it judges anew [EXT-4..6].
    pub(super) fn transition(&mut self, route: &ObjectKey) -> Option<Admission> {
        self.external.transition(route)
    }

    fn inline(
        &mut self,
        route: &Arc<Stored<Route>>,
        tls: &RouteTls,
    ) -> Result<Vec<Complaint>, Refusal> {
        let verdict = self.judge(route, None, texts(tls, None));
        let pair = verdict.as_ref().ok().and_then(|accepted| accepted.pair.clone());
        let outcome = match &verdict {
            Ok(accepted) => Ok(accepted.cut.iter().map(|field| cut(*field)).collect()),
            Err(problems) => Err(Refusal {
                reason: RejectReason::ExtendedValidationFailed,
                message: validation::message(problems),
                complaints: problems.iter().map(inline_complaint).collect(),
                keeps_last: !closes(problems),
            }),
        };
        self.note(route, None, verdict, pair);
        outcome
    }

    /// The data of a Secret stands in for the route's own fields, and everything else is the same
    /// [EXT-3].
    fn of_secret(
        &mut self,
        route: &Arc<Stored<Route>>,
        tls: &RouteTls,
        secret: &Arc<Stored<Secret>>,
    ) -> Result<Vec<Complaint>, Refusal> {
        let texts = texts(tls, Some(secret));
        let mut verdict = self.judge(route, Some(secret), texts);
        if texts.certificate.is_empty() {
            // Elsewhere this means the default certificate; here somebody has asked for another.
            verdict = Err(Arc::new([Problem {
                field: Field::Certificate,
                kind: Kind::Content,
                text: "there is no tls.crt".to_owned(),
            }]));
        }
        let (pair, outcome) = match &verdict {
            Ok(accepted) => {
                let complaints = accepted.cut.iter().map(|field| cut(*field)).collect();
                (accepted.pair.clone(), Ok(complaints))
            },
            Err(problems) => {
                let complaints =
                    problems.iter().map(|it| secret_complaint(&secret.key, it)).collect();
                let last = self.before.get(&route.key).filter(|before| {
                    before.secret.as_ref().is_some_and(|before| before.key == secret.key)
                });
                match last.and_then(|last| last.pair.clone()).filter(|_| !closes(problems)) {
                    Some(pair) => (Some(pair), Ok(complaints)),
                    None => (None, Err(refusal(problems, complaints))),
                }
            },
        };
        self.note(route, Some(secret), verdict, pair);
        outcome
    }

    /// The verdict of the last compile if the objects are the same ones or say the same, else by
    /// content. A file that comes or goes moves the others, and Ingresses are converted anew at each
    /// change: their Routes are then other objects with the same texts, and parse nothing again.
    fn judge(
        &mut self,
        route: &Arc<Stored<Route>>,
        secret: Option<&Arc<Stored<Secret>>>,
        texts: Texts<'_>,
    ) -> Verdict {
        match self.before.get(&route.key).filter(|before| before.says(route, secret, &texts)) {
            Some(known) => known.verdict.clone(),
            None => self.verdicts.of(&texts),
        }
    }

    fn note(
        &mut self,
        route: &Arc<Stored<Route>>,
        secret: Option<&Arc<Stored<Secret>>>,
        verdict: Verdict,
        pair: Option<Pair>,
    ) {
        let judged =
            Judged { route: Arc::clone(route), secret: secret.map(Arc::clone), verdict, pair };
        self.now.insert(route.key.clone(), judged);
    }

    /// The store for the admitted `routes`, which ends the compile.
    pub(super) fn store(&mut self, routes: &[RouteState]) -> CertStore {
        self.external.finish(routes);
        let pairs: Vec<_> = routes
            .iter()
            .filter_map(|state| {
                let compiled = state.compiled.as_ref()?;
                Some((compiled, self.now.get(&compiled.key)?.pair.as_ref()?))
            })
            .collect();
        let unknown = match self.settings.strict_sni {
            true => UnknownName::Refuse,
            false => UnknownName::Default,
        };
        let http2 = match (self.settings.disable_http2, self.settings.tls.http2_everywhere) {
            (true, _) => Http2::Nowhere,
            (false, true) => Http2::Everywhere,
            (false, false) => Http2::OwnCertificate,
        };
        self.configs.store(pairs, &self.default, Offers { http2, unknown })
    }
}

impl Judged {
    /// Whether what was judged is what these objects hold.
    fn says(
        &self,
        route: &Arc<Stored<Route>>,
        secret: Option<&Arc<Stored<Secret>>>,
        now: &Texts<'_>,
    ) -> bool {
        let same_secret = match (&self.secret, secret) {
            (None, None) => true,
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            // An empty certificate means something else in a Secret.
            _ => return false,
        };
        let same = same_secret && Arc::ptr_eq(&self.route, route);
        let tls = self.route.object.spec.tls.as_ref();
        same || tls.is_some_and(|tls| texts(tls, self.secret.as_ref()) == *now)
    }
}

/// What is judged: the route's own fields, or the data of its Secret in place of its pair.
fn texts<'a>(tls: &'a RouteTls, secret: Option<&'a Arc<Stored<Secret>>>) -> Texts<'a> {
    let data =
        |secret: &'a Arc<Stored<Secret>>, key| secret_text(&secret.object, key).unwrap_or_default();
    Texts {
        certificate: secret.map_or(&*tls.certificate, |it| data(it, "tls.crt")),
        key: secret.map_or(&*tls.key, |it| data(it, "tls.key")),
        ca: &tls.ca_certificate,
        destination_ca: &tls.destination_ca_certificate,
    }
}

fn refusal(problems: &[Problem], complaints: Vec<Complaint>) -> Refusal {
    Refusal {
        reason: RejectReason::ExtendedValidationFailed,
        message: validation::message(problems),
        complaints,
        keeps_last: false,
    }
}

/// What pods are verified by is a matter of security: if it makes no sense, the route is closed, and
/// no last version stands in (decisions 4).
fn closes(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.field == Field::DestinationCa)
}

fn code(problem: &Problem) -> Code {
    match problem.kind {
        Kind::Content if problem.field == Field::DestinationCa => codes::BAD_DESTINATION_CA,
        Kind::Content => codes::BAD_PEM,
        Kind::Pair => codes::KEY_MISMATCH,
        Kind::Chain => codes::BAD_CHAIN,
    }
}

fn inline_complaint(problem: &Problem) -> Complaint {
    let fix = match problem.kind {
        Kind::Content => "openssl x509 -noout -text and openssl pkey -noout -text show what it is",
        Kind::Pair => {
            "put a matching PEM certificate and key there, the certificate of the server first; \
             openssl x509 -noout -pubkey and openssl pkey -pubout show whether they match"
        },
        Kind::Chain => {
            "put the certificate that has signed the first one into caCertificate, or leave \
             caCertificate out and put intermediates behind the first certificate"
        },
    };
    let (code, text) = (code(problem), problem.text.clone());
    Complaint { code, field: problem.field.path(), text, fix }
}

fn secret_complaint(secret: &ObjectKey, problem: &Problem) -> Complaint {
    let key = match problem.field {
        Field::Certificate => "tls.crt",
        Field::Key => "tls.key",
        Field::Ca | Field::DestinationCa => return inline_complaint(problem),
    };
    Complaint {
        code: codes::BAD_EXTERNAL_CERTIFICATE,
        field: external::FIELD,
        text: format!("Secret {secret}, {key}: {}", problem.text),
        fix: "put a matching tls.crt and tls.key into the Secret",
    }
}

fn cut(field: Field) -> Complaint {
    Complaint {
        code: codes::PEM_CUT,
        field: field.path(),
        text: "a block has no end of its own, and what follows is ignored".to_owned(),
        fix: "end the block with the line that belongs to its first one",
    }
}
