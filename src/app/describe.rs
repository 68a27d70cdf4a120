//! `wharf describe`: one Route as `oc describe route` prints it, with what wharf knows beyond it; a
//! Service or its endpoints as `kubectl describe` prints them; a target of the load balancer.
//!
//! Asks a running admin port ([`live`]) or a snapshot compiled here ([`offline`]), through the same
//! JSON.

mod ago;
mod route;
mod service;
mod target;

use std::{io::Write, time::SystemTime};

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::target::TargetView;
use super::{
    client,
    get::{self, GetError, Kind, Selected},
    table,
};
use crate::{
    admin::{
        model::{self, EndpointView, ServiceView},
        routes::{self, RouteDetail},
    },
    snapshot::Snapshot,
};

/// Why nothing could be described.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It could not be asked for, or does not exist.
    #[error(transparent)]
    Get(#[from] GetError),
    /// There is more about routes, services, endpoints and targets only.
    #[error("only routes, services, endpoints and targets can be described")]
    Kind,
    /// The answer is not what this version expects.
    #[error("cannot read the answer")]
    Read(#[from] serde_json::Error),
    /// The output is gone.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

/// Describes what the process at `server` has.
pub fn live(
    selected: &Selected,
    server: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), DescribeError> {
    let server = server.unwrap_or_else(|| selected.kind.server());
    let fetch = |list| {
        let path = match list {
            List::Services => "/api/v1/services".to_owned(),
            List::Endpoints => "/api/v1/endpoints".to_owned(),
            List::Routes => format!("/api/v1/details?{}", query(selected)),
            List::Targets => "/api/v1/targets".to_owned(),
        };
        Ok(get::fetch(server, &path)?)
    };
    print(selected, fetch, out)
}

/// Describes what `snapshot` has.
pub fn offline(
    selected: &Selected,
    snapshot: &Snapshot,
    out: &mut dyn Write,
) -> Result<(), DescribeError> {
    let list = |list| {
        Ok(match list {
            List::Services => serde_json::to_value(model::services(snapshot))?,
            List::Endpoints => serde_json::to_value(model::endpoints(snapshot))?,
            List::Routes => {
                let details =
                    routes::details(snapshot, selected.namespace.as_deref(), only_name(selected));
                serde_json::to_value(details)?
            },
            List::Targets => return Err(GetError::NoTargets.into()),
        })
    };
    print(selected, list, out)
}

/// A list of the API.
#[derive(Clone, Copy, Debug)]
enum List {
    Routes,
    Services,
    Endpoints,
    Targets,
}

/// The name, where one alone is asked for: the router then gives no other.
fn only_name(selected: &Selected) -> Option<&str> {
    match &selected.names[..] {
        [name] => Some(name),
        _ => None,
    }
}

fn query(selected: &Selected) -> String {
    let pairs = [("namespace", selected.namespace.as_deref()), ("name", only_name(selected))];
    let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
    given
        .map(|(key, value)| format!("{key}={}", client::percent_encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Prints what was asked for, two empty lines between two of them as `oc` does; `list` gives a list
/// of the API.
fn print(
    selected: &Selected,
    list: impl Fn(List) -> Result<Value, DescribeError>,
    out: &mut dyn Write,
) -> Result<(), DescribeError> {
    let now = SystemTime::now();
    let (texts, missing): (Vec<String>, _) = match selected.kind {
        Kind::Routes => {
            let (routes, missing) = chosen::<RouteDetail>(selected, "/route", list(List::Routes)?)?;
            (routes.iter().map(|detail| route::describe(detail, now)).collect(), missing)
        },
        Kind::Services | Kind::Endpoints => {
            // The Services are the list of names: one without endpoints is there all the same.
            let services = Selected { kind: Kind::Services, ..selected.clone() };
            let (services, missing) = chosen::<ServiceView>(&services, "", list(List::Services)?)?;
            let all: Vec<EndpointView> = serde_json::from_value(list(List::Endpoints)?)?;
            let text = |service| match selected.kind {
                Kind::Endpoints => service::endpoints(service, &all),
                _ => service::describe(service, &all),
            };
            (services.iter().map(text).collect(), missing)
        },
        Kind::Targets => {
            let (targets, missing) = chosen::<TargetView>(selected, "", list(List::Targets)?)?;
            (targets.iter().map(target::describe).collect(), missing)
        },
        Kind::Ingresses | Kind::Certs => return Err(DescribeError::Kind),
    };
    out.write_all(texts.join("\n\n").as_bytes())?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(GetError::NotFound(selected.kind, missing).into())
}

/// The items that were asked for, and the names that are not there.
fn chosen<T: DeserializeOwned>(
    selected: &Selected,
    inside: &str,
    list: Value,
) -> Result<(Vec<T>, Vec<String>), DescribeError> {
    let mut items: Vec<Value> = serde_json::from_value(list)?;
    let missing = selected.choose(inside, &mut items)?;
    let read: Result<Vec<T>, _> = items.into_iter().map(serde_json::from_value).collect();
    Ok((read?, missing))
}

/// Lines whose cells end with tabs.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    /// `label:`, then the value; each further line of it below, as `oc` does. Nothing is `<none>`.
    fn field(&mut self, label: &str, value: &str) {
        self.0.push_str(label);
        self.0.push(':');
        let value = if value.is_empty() { "<none>" } else { value };
        for line in value.split('\n') {
            self.under(line);
        }
    }

    /// A line below a label.
    fn under(&mut self, text: &str) {
        self.0.push('\t');
        self.0.push_str(&table::clean(text));
        self.0.push('\n');
    }

    /// A line as it is; its tabs end cells.
    fn line(&mut self, cells: &[&str]) {
        let cells: Vec<String> = cells.iter().map(|cell| table::clean(cell)).collect();
        self.0.push_str(&cells.join("\t"));
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests;
