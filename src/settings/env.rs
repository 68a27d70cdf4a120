//! L1: the table of environment variables, and the only place that reads the environment.
//!
//! Called once at start, before the command line, whose flags win. Names are those of OpenShift's
//! router (spec/route.md 17) and `WHARF_*`; an empty variable is an unset one [CONV-6].

mod admission;
mod headers;
mod http2;
mod rows;
mod tls;

use std::{borrow::Cow, fmt};

use super::{RouterSettings, parse};
use crate::model::grammar;
pub use admission::{ADMISSION, is_canonical_hostname};
pub use headers::HEADERS;
pub use http2::HTTP2;
pub use rows::{CAPACITY, CERTIFICATES, IDENTITY, LISTENERS, NOT_YET, PROCESS, TIMEOUTS, TRAFFIC};
pub use tls::TLS;

#[cfg(test)]
mod tests;

/// Where variables come from.
pub trait Vars {
    /// The value of `name`, if it is set and is text.
    fn get(&self, name: &str) -> Option<String>;
    /// The names of all variables that are set.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Vars for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

/// The command that started this process, as it can be typed again.
#[must_use]
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "wharf".to_owned())
}

/// Something about a variable that the log should say; the process starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the variable.
    pub name: String,
    /// What about it, following the name in a sentence.
    pub text: &'static str,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// A variable whose value stops the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?}: {problem}")]
pub struct EnvError {
    /// Name of the variable.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
}

/// One variable that is honoured.
#[derive(Debug)]
pub struct Row {
    /// Name.
    pub name: &'static str,
    /// What it sets, one line.
    pub meaning: &'static str,
    kind: Kind,
}

/// How a value is read and where it goes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// [CONV-1]: what is not a boolean counts as false.
    Bool(fn(&mut RouterSettings, bool)),
    /// [CONV-3]: what is not a duration leaves the default [TMO-3].
    Duration(fn(&mut RouterSettings, std::time::Duration)),
    /// A duration of Go; what is not one leaves the default.
    GoDuration(fn(&mut RouterSettings, std::time::Duration)),
    /// A number from the first to the second; what is not one leaves the default.
    Number(u32, u32, fn(&mut RouterSettings, u32)),
    /// Any other grammar.
    Text(fn(&mut RouterSettings, &str) -> Outcome),
}

/// The tables, one for each idea; the order of rows counts only within one of them.
const TABLES: &[&[Row]] = &[
    LISTENERS,
    CERTIFICATES,
    TLS,
    IDENTITY,
    ADMISSION,
    TRAFFIC,
    HEADERS,
    HTTP2,
    TIMEOUTS,
    CAPACITY,
    PROCESS,
];

/// Every variable that is honoured.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// What became of a value.
#[derive(Clone, Debug)]
enum Outcome {
    /// It was used, or means nothing here.
    Used,
    /// Something should be said.
    Noted(&'static str),
    /// The start stops.
    Refused(&'static str),
    /// The same, where more than one thing can be wrong.
    Wrong(String),
}

impl Row {
    fn set(&self, settings: &mut RouterSettings, value: &str) -> Outcome {
        match self.kind {
            Kind::Bool(set) => {
                let flag = grammar::parse_bool(value);
                set(settings, flag.unwrap_or(false));
                flag.map_or(Outcome::Noted("is not a boolean and counts as false"), |_| {
                    Outcome::Used
                })
            },
            Kind::Duration(set) => duration(grammar::parse_duration(value), settings, set),
            Kind::GoDuration(set) => duration(parse::go_duration(value), settings, set),
            Kind::Number(min, max, set) => {
                let number = grammar::parse_integer(value).and_then(|it| u32::try_from(it).ok());
                match number.filter(|number| (min..=max).contains(number)) {
                    Some(number) => set(settings, number),
                    None => {
                        return Outcome::Noted("is not a number in its range; the default is used");
                    },
                }
                Outcome::Used
            },
            Kind::Text(set) => set(settings, value),
        }
    }
}

fn duration(
    value: Option<std::time::Duration>,
    settings: &mut RouterSettings,
    set: fn(&mut RouterSettings, std::time::Duration),
) -> Outcome {
    match value {
        Some(value) => {
            set(settings, value);
            Outcome::Used
        },
        None => Outcome::Noted("is not a duration; the default is used"),
    }
}

/// Puts what `vars` says into `settings`, in the order of [`rows`], so that a later row wins.
pub fn apply(settings: &mut RouterSettings, vars: &dyn Vars) -> Result<Vec<Note>, EnvError> {
    let mut notes = Vec::new();
    for row in rows() {
        let Some(value) = vars.get(row.name).filter(|value| !value.is_empty()) else { continue };
        match row.set(settings, &value) {
            Outcome::Used => {},
            Outcome::Noted(text) => notes.push(Note { name: row.name.to_owned(), text }),
            Outcome::Refused(problem) => {
                return Err(EnvError { name: row.name, value, problem: problem.into() });
            },
            Outcome::Wrong(problem) => {
                return Err(EnvError { name: row.name, value, problem: problem.into() });
            },
        }
    }
    require_namespace(vars)?;
    notes.extend(unknown(vars));
    Ok(notes)
}

/// A router with a name writes its status as that name, in a namespace that must be known.
fn require_namespace(vars: &dyn Vars) -> Result<(), EnvError> {
    let set = |name| vars.get(name).filter(|value: &String| !value.is_empty());
    match (set("ROUTER_SERVICE_NAME"), set("ROUTER_SERVICE_NAMESPACE")) {
        (Some(value), None) => Err(EnvError {
            name: "ROUTER_SERVICE_NAME",
            value,
            problem: "ROUTER_SERVICE_NAMESPACE must be set with it".into(),
        }),
        _ => Ok(()),
    }
}

/// Variables that are set and do nothing: of OpenShift's router, or perhaps a slip of the pen.
fn unknown(vars: &dyn Vars) -> Vec<Note> {
    let mut notes = Vec::new();
    for name in vars.names() {
        let known = NOT_YET.contains(&name.as_str());
        let honoured = rows().any(|row| row.name == name);
        let ours = name.starts_with("ROUTER_") || name.starts_with("WHARF_");
        let text = match vars.get(&name) {
            None if honoured => "is not UTF-8 and is ignored",
            Some(value) if value.is_empty() || honoured => continue,
            Some(_) if known => "is not honoured yet",
            Some(value) if ours && !is_service_link(&name, &value) => {
                "is not a variable of this router; is it misspelt?"
            },
            _ => continue,
        };
        notes.push(Note { name, text });
    }
    notes.sort_by(|a, b| a.name.cmp(&b.name));
    notes
}

/// Variables that Kubernetes sets for every Service of the namespace, such as
/// `ROUTER_INTERNAL_DEFAULT_PORT_80_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_TCP_")
        || name.contains("_UDP_")
        || value.starts_with("tcp://")
        || value.starts_with("udp://")
}
