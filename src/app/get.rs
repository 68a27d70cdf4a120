//! `wharf get`: routes, services, endpoints, certificates and NLB targets as tables, JSON, YAML,
//! names, or what a template picks.
//!
//! Asks a running admin port ([`live`]) or shows a snapshot compiled here ([`offline`]); both go
//! through the same JSON. Routes are printed as `oc get route` prints them.

mod ingresses;
mod routes;

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, SystemTime},
};

use k8s_openapi::api::networking::v1::Ingress;
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    client::{self, ClientError},
    output::{self, Output},
    table,
};
use crate::{
    admin::{
        ingresses as ingresses_api,
        model::{self, CertView, EndpointView, ServiceView},
        routes as routes_api,
    },
    model::{route::Route, selector::LabelSelector},
    snapshot::Snapshot,
};

#[cfg(test)]
mod tests;

/// For the whole answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Admin port of `wharf router`.
pub const ROUTER: &str = "127.0.0.1:1936";
/// API of `wharf nlb`.
const NLB: &str = "127.0.0.1:9090";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Routes.
    Routes,
    /// Ingresses.
    Ingresses,
    /// Services of the DNS map.
    Services,
    /// Endpoints of the DNS map.
    Endpoints,
    /// Certificates.
    Certs,
    /// Targets of the NLB.
    Targets,
}

/// Each kind with the words that mean it, the usual one first.
const KINDS: [(Kind, &[&str]); 6] = [
    (Kind::Routes, &["routes", "route", "routes.route.openshift.io", "route.route.openshift.io"]),
    (Kind::Ingresses, &["ingresses", "ingress", "ing", "ingresses.networking.k8s.io"]),
    (Kind::Services, &["services", "service", "svc"]),
    (Kind::Endpoints, &["endpoints", "endpoint", "ep"]),
    (Kind::Certs, &["certs", "cert", "certificates", "certificate"]),
    (Kind::Targets, &["targets", "target"]),
];

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Routes => "/api/v1/routes",
            Self::Ingresses => "/api/v1/ingresses",
            Self::Services => "/api/v1/services",
            Self::Endpoints => "/api/v1/endpoints",
            Self::Certs => "/api/v1/certs",
            Self::Targets => "/api/v1/targets",
        }
    }

    /// Who is asked unless told otherwise.
    pub(super) const fn server(self) -> &'static str {
        if matches!(self, Self::Targets) { NLB } else { ROUTER }
    }

    /// What `oc` calls the resource where one is not found.
    const fn resource(self) -> &'static str {
        match self {
            Self::Routes => "routes.route.openshift.io",
            Self::Ingresses => "ingresses.networking.k8s.io",
            Self::Services => "services",
            Self::Endpoints => "endpoints",
            Self::Certs => "certificates",
            Self::Targets => "targets",
        }
    }

    /// In front of a name under `-o name`.
    const fn singular(self) -> &'static str {
        match self {
            Self::Routes => "route.route.openshift.io",
            Self::Ingresses => "ingress.networking.k8s.io",
            Self::Services => "service",
            Self::Endpoints => "endpoints",
            Self::Certs => "certificate",
            Self::Targets => "target",
        }
    }

    /// True for kinds that are listed as whole objects of the API.
    const fn is_object(self) -> bool {
        matches!(self, Self::Routes | Self::Ingresses)
    }

    /// Where an item has its namespace and its name.
    const fn pointers(self) -> (&'static str, &'static str) {
        match self {
            Self::Routes | Self::Ingresses => ("/metadata/namespace", "/metadata/name"),
            Self::Services => ("/namespace", "/name"),
            Self::Endpoints => ("/namespace", "/service"),
            Self::Certs => ("/namespace", "/host"),
            Self::Targets => ("/namespace", "/id"),
        }
    }
}

/// What is asked for: a kind, and perhaps names. Both `route web` and `route/web` are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Kind.
    pub kind: Kind,
    /// The name behind a slash.
    pub name: Option<String>,
}

impl std::str::FromStr for Resource {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let (word, name) = match text.split_once('/') {
            Some((word, name)) => (word, Some(name.to_owned())),
            None => (text, None),
        };
        let word = word.to_ascii_lowercase();
        let known = KINDS.iter().find(|(_, words)| words.contains(&&*word));
        known.map(|(kind, _)| Self { kind: *kind, name }).ok_or(UnknownKind)
    }
}

/// A word that is no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected routes, ingresses, services, endpoints, certs or targets")]
pub struct UnknownKind;

/// Which objects are meant.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Kind.
    pub kind: Kind,
    /// Only these; all of them when empty.
    pub names: Vec<String>,
    /// One namespace; all of them when absent.
    pub namespace: Option<String>,
    /// Only what has these labels.
    pub labels: Option<LabelSelector>,
}

/// What to list and how.
#[derive(Clone, Debug)]
pub struct Get {
    /// What.
    pub selected: Selected,
    /// Format.
    pub output: Output,
    /// Prints the names of the columns.
    pub headers: bool,
}

/// Where data and talk go.
#[expect(missing_debug_implementations, reason = "writers have none")]
pub struct Streams<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub talk: &'a mut dyn Write,
}

/// Why nothing could be listed.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The process could not be asked.
    #[error("cannot ask {server}; is it running, and is --server right?")]
    Ask {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// It did not like the question.
    #[error("{server} answered {status}: {text}")]
    Refused {
        /// Its address.
        server: String,
        /// Status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The answer is not what this version expects.
    #[error("cannot read the answer")]
    Read(#[from] serde_json::Error),
    /// The list cannot be written as YAML.
    #[error("cannot write YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// Labels are known of whole objects only.
    #[error("only routes and ingresses can be selected by label")]
    NoLabels,
    /// Some of the names do not exist; the others have been printed.
    #[error("{}", missing(.0, .1))]
    NotFound(Kind, Vec<String>),
    /// Targets belong to the NLB, not to manifests.
    #[error("targets are listed by a running NLB only")]
    NoTargets,
    /// The output is gone.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

/// Lists what the process at `server` has.
pub fn live(get: &Get, server: Option<&str>, streams: &mut Streams<'_>) -> Result<(), GetError> {
    let kind = get.selected.kind;
    let value = fetch(server.unwrap_or_else(|| kind.server()), kind.path())?;
    print(get, value, streams)
}

/// The JSON at `path` of `server`.
pub fn fetch(server: &str, path: &str) -> Result<Value, GetError> {
    let url = format!("{}{path}", client::base(server));
    let reply = client::get(&url, DEADLINE)
        .map_err(|source| GetError::Ask { server: server.to_owned(), source })?;
    if reply.status != 200 {
        let text = table::clean(String::from_utf8_lossy(&reply.body).trim());
        return Err(GetError::Refused { server: server.to_owned(), status: reply.status, text });
    }
    Ok(serde_json::from_slice(&reply.body)?)
}

/// Lists what `snapshot` has.
pub fn offline(get: &Get, snapshot: &Snapshot, streams: &mut Streams<'_>) -> Result<(), GetError> {
    let value = match get.selected.kind {
        Kind::Routes => routes_api::list(snapshot),
        Kind::Ingresses => ingresses_api::list(snapshot),
        Kind::Services => serde_json::to_value(model::services(snapshot))?,
        Kind::Endpoints => serde_json::to_value(model::endpoints(snapshot))?,
        Kind::Certs => serde_json::to_value(model::certs(snapshot))?,
        Kind::Targets => return Err(GetError::NoTargets),
    };
    print(get, value, streams)
}

fn print(get: &Get, value: Value, streams: &mut Streams<'_>) -> Result<(), GetError> {
    let mut items = match value {
        Value::Array(items) => items,
        mut list => serde_json::from_value(list["items"].take())?,
    };
    let kind = get.selected.kind;
    let missing = get.selected.choose("", &mut items)?;
    let text = match &get.output {
        Output::Json => output::json(&document(get, items))?,
        Output::Yaml => output::yaml(&document(get, items))?,
        Output::JsonPath(template) => match document(get, items) {
            Value::Array(items) => output::picked(template, &json!({ "items": items })),
            document => output::picked(template, &document),
        },
        Output::Name => names(kind, &items),
        Output::Table | Output::Wide => {
            if items.is_empty() && missing.is_empty() {
                nothing(get, streams.talk)?;
            }
            tabulate(get, items)?
        },
    };
    streams.out.write_all(text.as_bytes())?;
    if missing.is_empty() { Ok(()) } else { Err(GetError::NotFound(kind, missing)) }
}

impl Selected {
    /// Keeps what was asked for, named ones in the order of the names; returns the names that are not
    /// there. `inside` is where an item has the object.
    ///
    /// # Errors
    /// When labels are asked for that nobody knows.
    pub fn choose(&self, inside: &str, items: &mut Vec<Value>) -> Result<Vec<String>, GetError> {
        let (namespace, name) = self.kind.pointers();
        let at = |pointer: &str| format!("{inside}{pointer}");
        let (namespace, name, labels) = (at(namespace), at(name), at("/metadata/labels"));
        if let Some(wanted) = &self.namespace {
            let is_there = |have: &Value| have.as_str() == Some(wanted.as_str());
            items.retain(|item| item.pointer(&namespace).is_none_or(is_there));
        }
        if let Some(selector) = &self.labels {
            if !self.kind.is_object() {
                return Err(GetError::NoLabels);
            }
            let labels = |item: &Value| {
                item.pointer(&labels).and_then(|all| BTreeMap::deserialize(all).ok())
            };
            items.retain(|item| selector.matches(labels(item).as_ref()));
        }
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for wanted in &self.names {
            let before = kept.len();
            let is_wanted =
                |item: &&Value| item.pointer(&name).and_then(Value::as_str) == Some(wanted);
            kept.extend(items.iter().filter(is_wanted).cloned());
            if kept.len() == before {
                missing.push(wanted.clone());
            }
        }
        *items = kept;
        Ok(missing)
    }
}

/// What JSON, YAML and templates see: of whole objects what `oc` would have, one alone or a List.
fn document(get: &Get, mut items: Vec<Value>) -> Value {
    if !get.selected.kind.is_object() {
        return Value::Array(items);
    }
    for item in &mut items {
        if let Value::Object(members) = item {
            members.remove(routes_api::BEYOND);
        }
    }
    if get.selected.names.len() == 1 && items.len() == 1 {
        return items.remove(0);
    }
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": items,
    })
}

/// `kind/name`, each once.
fn names(kind: Kind, items: &[Value]) -> String {
    let (_, pointer) = kind.pointers();
    let mut lines: Vec<String> = items
        .iter()
        .filter_map(|item| item.pointer(pointer)?.as_str())
        .map(|name| format!("{}/{}\n", kind.singular(), table::clean(name)))
        .collect();
    lines.dedup();
    lines.concat()
}

/// The sentence of `oc` about an empty list.
fn nothing(get: &Get, talk: &mut dyn Write) -> Result<(), GetError> {
    match &get.selected.namespace {
        Some(namespace) => {
            writeln!(talk, "No resources found in {} namespace.", table::clean(namespace))?;
        },
        None => writeln!(talk, "No resources found")?,
    }
    Ok(())
}

/// A line for each name that is not there.
fn missing(kind: &Kind, names: &[String]) -> String {
    let line = |name: &String| format!("{} \"{}\" not found", kind.resource(), table::clean(name));
    names.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn tabulate(get: &Get, items: Vec<Value>) -> Result<String, GetError> {
    let wide = get.output == Output::Wide;
    let table = match get.selected.kind {
        Kind::Routes => rows(items, routes::COLUMNS, |route: Route| routes::row(&route))?,
        Kind::Ingresses => {
            let now = SystemTime::now();
            rows(items, ingresses::COLUMNS, |ingress: Ingress| ingresses::row(&ingress, wide, now))?
        },
        Kind::Services => rows(items, SERVICE_COLUMNS, service_row)?,
        Kind::Endpoints => rows(items, ENDPOINT_COLUMNS, endpoint_row)?,
        Kind::Certs => rows(items, CERT_COLUMNS, cert_row)?,
        Kind::Targets => rows(items, TARGET_COLUMNS, target_row)?,
    };
    Ok(table.render(get.selected.namespace.is_none(), wide, get.headers))
}

const SERVICE_COLUMNS: &[&str] =
    &["NAMESPACE", "NAME", "CLUSTER-IP", "EXTERNAL-NAME", "PORT(S)", "ENDPOINTS", "|", "FQDN"];
const ENDPOINT_COLUMNS: &[&str] =
    &["NAMESPACE", "SERVICE", "ADDRESS", "PORTS", "STATE", "CHECK", "|", "POD", "ZONE"];
const CERT_COLUMNS: &[&str] =
    &["HOST", "SOURCE", "SUBJECT", "NOT-AFTER", "NAMES", "|", "KEY", "HTTP/2", "CHAIN"];
const TARGET_COLUMNS: &[&str] =
    &["GROUP", "TARGET", "PORT", "ZONE", "STATE", "REASON", "|", "FLOWS"];

/// Rows with all their columns; those behind `|` are for the wide table.
struct Rows {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Rows {
    fn render(self, with_namespace: bool, wide: bool, headers: bool) -> String {
        let hide_namespace = !with_namespace && self.columns[0] == "NAMESPACE";
        let skip = usize::from(hide_namespace);
        let narrow = self.columns.iter().position(|column| *column == "|");
        let narrow = narrow.unwrap_or(self.columns.len());
        let names: Vec<&str> = self.columns.iter().copied().filter(|name| *name != "|").collect();
        let end = if wide { names.len() } else { narrow };
        if self.rows.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<String>> = self
            .rows
            .into_iter()
            .map(|row| row.into_iter().take(end).skip(skip).collect())
            .collect();
        table::render(headers.then_some(&names[skip..end]), &rows)
    }
}

fn rows<T: DeserializeOwned>(
    items: Vec<Value>,
    columns: &'static [&'static str],
    row: impl Fn(T) -> Vec<String>,
) -> Result<Rows, GetError> {
    let read = |item| Ok(row(serde_json::from_value::<T>(item)?));
    let rows: Result<Vec<_>, serde_json::Error> = items.into_iter().map(read).collect();
    Ok(Rows { columns, rows: rows? })
}

fn service_row(service: ServiceView) -> Vec<String> {
    let addresses = match (service.cluster_ips.is_empty(), &service.external_name) {
        (true, Some(_)) => "<none>".to_owned(),
        (true, None) => "None".to_owned(),
        (false, _) => service.cluster_ips.join(","),
    };
    vec![
        service.namespace,
        service.name,
        addresses,
        service.external_name.unwrap_or_else(none),
        or_none(service.ports.join(",")),
        service.endpoints.to_string(),
        service.fqdn,
    ]
}

fn endpoint_row(endpoint: EndpointView) -> Vec<String> {
    let state = match (endpoint.terminating, endpoint.ready) {
        (true, _) => "terminating",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let check = match endpoint.up {
        Some(true) => "up",
        Some(false) => "down",
        None => "<none>",
    };
    vec![
        endpoint.namespace,
        endpoint.service,
        endpoint.address,
        or_none(endpoint.ports.join(",")),
        state.to_owned(),
        check.to_owned(),
        endpoint.pod.unwrap_or_else(none),
        endpoint.zone.unwrap_or_else(none),
    ]
}

fn cert_row(cert: CertView) -> Vec<String> {
    let chain: Vec<String> = cert
        .chain
        .iter()
        .map(|link| format!("{} until {}", link.subject, link.not_after))
        .collect();
    vec![
        or_none(cert.host),
        cert.source,
        or_none(cert.subject),
        cert.not_after,
        or_none(cert.names.join(",")),
        or_none(cert.key),
        if cert.http2 { "yes" } else { "no" }.to_owned(),
        or_none(chain.join("; ")),
    ]
}

/// The NLB is another process, perhaps of another version: fields are taken as they come.
fn target_row(target: Value) -> Vec<String> {
    ["targetGroup", "id", "port", "availabilityZone", "state", "reason", "activeFlows"]
        .into_iter()
        .map(|key| match target.get(key) {
            None | Some(Value::Null) => none(),
            Some(Value::String(text)) => or_none(text.clone()),
            Some(other) => other.to_string(),
        })
        .collect()
}

fn none() -> String {
    "<none>".to_owned()
}

fn or_none(text: String) -> String {
    if text.is_empty() { none() } else { text }
}
