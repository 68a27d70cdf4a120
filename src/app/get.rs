//! `wharf get`: routes, services, endpoints, certificates and NLB targets as tables, JSON or YAML.
//!
//! Asks a running admin port ([`live`]) or shows a snapshot compiled here ([`offline`]); both go
//! through the same JSON.

use std::{io::Write, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    client::{self, ClientError},
    table,
};
use crate::{
    admin::model::{self, CertView, EndpointView, RouteView, ServiceView, Share},
    snapshot::Snapshot,
};

#[cfg(test)]
mod tests;

/// For the whole answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Admin port of `wharf router`.
pub const ROUTER: &str = "127.0.0.1:1936";
/// API of `wharf nlb`.
pub const NLB: &str = "127.0.0.1:9090";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Routes.
    #[value(alias = "route")]
    Routes,
    /// Services of the DNS map.
    #[value(aliases = ["service", "svc"])]
    Services,
    /// Endpoints of the DNS map.
    #[value(aliases = ["endpoint", "ep"])]
    Endpoints,
    /// Certificates.
    #[value(aliases = ["cert", "certificates"])]
    Certs,
    /// Targets of the NLB.
    #[value(alias = "target")]
    Targets,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Routes => "/api/v1/routes",
            Self::Services => "/api/v1/services",
            Self::Endpoints => "/api/v1/endpoints",
            Self::Certs => "/api/v1/certs",
            Self::Targets => "/api/v1/targets",
        }
    }
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What to list and how.
#[derive(Clone, Debug)]
pub struct Get {
    /// Kind.
    pub kind: Kind,
    /// One namespace; all of them when absent.
    pub namespace: Option<String>,
    /// Format.
    pub output: Output,
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
    /// Targets belong to the NLB, not to manifests.
    #[error("targets are listed by a running NLB only")]
    NoTargets,
    /// The output is gone.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

/// Lists what the process at `server` has.
pub fn live(get: &Get, server: Option<&str>, out: &mut dyn Write) -> Result<(), GetError> {
    let standard = if get.kind == Kind::Targets { NLB } else { ROUTER };
    let value = fetch(server.unwrap_or(standard), get.kind.path())?;
    print(get, value, out)
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
pub fn offline(
    get: &Get,
    snapshot: &Snapshot,
    router_name: &str,
    out: &mut dyn Write,
) -> Result<(), GetError> {
    let value = match get.kind {
        Kind::Routes => serde_json::to_value(model::routes(snapshot, router_name))?,
        Kind::Services => serde_json::to_value(model::services(snapshot))?,
        Kind::Endpoints => serde_json::to_value(model::endpoints(snapshot))?,
        Kind::Certs => serde_json::to_value(model::certs(snapshot))?,
        Kind::Targets => return Err(GetError::NoTargets),
    };
    print(get, value, out)
}

fn print(get: &Get, mut value: Value, out: &mut dyn Write) -> Result<(), GetError> {
    if let (Some(namespace), Value::Array(items)) = (&get.namespace, &mut value) {
        items.retain(|item| {
            item.get("namespace").is_none_or(|have| have.as_str() == Some(namespace.as_str()))
        });
    }
    let text = match get.output {
        Output::Json => json(&value)?,
        Output::Yaml => yaml(&value)?,
        Output::Table | Output::Wide => tabulate(get, value)?,
    };
    Ok(out.write_all(text.as_bytes())?)
}

/// Pretty JSON. The control characters that JSON may hold raw stand only inside strings, where an
/// escape means the same.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\u{7f}'..='\u{9f}' => {
                out.push_str("\\u00");
                out.push_str(if character < '\u{80}' {
                    "7"
                } else if character < '\u{90}' {
                    "8"
                } else {
                    "9"
                });
                out.extend(char::from_digit(u32::from(character) & 15, 16));
            },
            _ => out.push(character),
        }
    }
    out.push('\n');
    Ok(out)
}

fn yaml(value: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let text = serde_saphyr::to_string(value)?;
    Ok(text.chars().filter(|character| *character == '\n' || !character.is_control()).collect())
}

fn tabulate(get: &Get, value: Value) -> Result<String, GetError> {
    let wide = get.output == Output::Wide;
    let table = match get.kind {
        Kind::Routes => rows(value, ROUTE_COLUMNS, |route| route_row(route, wide))?,
        Kind::Services => rows(value, SERVICE_COLUMNS, service_row)?,
        Kind::Endpoints => rows(value, ENDPOINT_COLUMNS, endpoint_row)?,
        Kind::Certs => rows(value, CERT_COLUMNS, cert_row)?,
        Kind::Targets => rows(value, TARGET_COLUMNS, target_row)?,
    };
    Ok(table.render(get.namespace.is_none(), wide))
}

const ROUTE_COLUMNS: &[&str] = &[
    "NAMESPACE",
    "NAME",
    "HOST/PORT",
    "PATH",
    "SERVICES",
    "PORT",
    "TERMINATION",
    "WILDCARD",
    "|",
    "PLACE",
    "MESSAGE",
];
const SERVICE_COLUMNS: &[&str] =
    &["NAMESPACE", "NAME", "CLUSTER-IP", "EXTERNAL-NAME", "PORT(S)", "ENDPOINTS", "|", "FQDN"];
const ENDPOINT_COLUMNS: &[&str] =
    &["NAMESPACE", "SERVICE", "ADDRESS", "PORTS", "STATE", "CHECK", "|", "POD", "ZONE"];
const CERT_COLUMNS: &[&str] = &["HOST", "SOURCE", "NOT-AFTER", "|", "NAMES"];
const TARGET_COLUMNS: &[&str] =
    &["GROUP", "TARGET", "PORT", "ZONE", "STATE", "REASON", "|", "FLOWS"];

/// Rows with all their columns; those behind `|` are for the wide table.
struct Rows {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Rows {
    fn render(self, with_namespace: bool, wide: bool) -> String {
        let hide_namespace = !with_namespace && self.columns[0] == "NAMESPACE";
        let skip = usize::from(hide_namespace);
        let narrow = self.columns.iter().position(|column| *column == "|");
        let narrow = narrow.unwrap_or(self.columns.len());
        let names: Vec<&str> = self.columns.iter().copied().filter(|name| *name != "|").collect();
        let end = if wide { names.len() } else { narrow };
        if self.rows.is_empty() {
            return "No resources found.\n".to_owned();
        }
        let rows: Vec<Vec<String>> = self
            .rows
            .into_iter()
            .map(|row| row.into_iter().take(end).skip(skip).collect())
            .collect();
        table::render(&names[skip..end], &rows)
    }
}

fn rows<T: DeserializeOwned>(
    value: Value,
    columns: &'static [&'static str],
    row: impl Fn(T) -> Vec<String>,
) -> Result<Rows, GetError> {
    let items: Vec<T> = serde_json::from_value(value)?;
    Ok(Rows { columns, rows: items.into_iter().map(row).collect() })
}

/// As `oc get route` prints it: the host column is the reason of a route that is not admitted.
fn route_row(route: RouteView, wide: bool) -> Vec<String> {
    let condition = route.status.ingress.first().and_then(|ingress| ingress.conditions.first());
    let (host, message) = match condition {
        Some(condition) if condition.status != "True" => {
            let host = if wide {
                format!("{} {}", route.host, condition.reason)
            } else {
                condition.reason.clone()
            };
            (host, condition.message.clone())
        },
        Some(_) => (route.host, String::new()),
        None => ("Pending".to_owned(), String::new()),
    };
    let termination = match (route.termination.as_str(), route.insecure.as_str()) {
        (termination, "") => termination.to_owned(),
        (termination, insecure) => format!("{termination}/{insecure}"),
    };
    vec![
        route.namespace,
        route.name,
        host,
        route.path,
        services(&route.services),
        route.port.unwrap_or_else(|| "<all>".to_owned()),
        termination,
        route.wildcard_policy,
        route.place,
        message,
    ]
}

/// `a(90%),b(10%)`; a single service stands alone.
fn services(shares: &[Share]) -> String {
    if let [only] = shares {
        return only.name.clone();
    }
    let total: i64 = shares.iter().map(|share| i64::from(share.weight)).sum();
    let share = |share: &Share| {
        let percent = (i64::from(share.weight) * 100).checked_div(total).unwrap_or(0);
        format!("{}({percent}%)", share.name)
    };
    shares.iter().map(share).collect::<Vec<_>>().join(",")
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
    vec![or_none(cert.host), cert.source, cert.not_after, or_none(cert.names.join(","))]
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
