//! L1: the table of environment variables, and the only place that reads the environment.
//!
//! Called once at start, before the command line, whose flags win. Names are those of OpenShift's
//! router (spec/route.md 17) and `WHARF_*`; an empty variable is an unset one [CONV-6].

mod admin;
mod admission;
mod config;
mod headers;
mod health;
mod http2;
mod limits;
mod row;
mod rows;
mod show;
mod tls;

use std::{borrow::Cow, fmt, io, os::unix::process::CommandExt as _, process::Command};

use super::RouterSettings;
pub use admin::ADMIN;
pub use admission::{ADMISSION, is_canonical_hostname};
pub use config::{Config, Origin, Setting};
pub use headers::HEADERS;
pub use health::HEALTH;
pub use http2::HTTP2;
pub use limits::LIMITS;
pub use row::{Effect, Row};
use row::{Kind, Outcome};
pub use rows::{
    CAPACITY, CERTIFICATES, HAPROXY, IDENTITY, LISTENERS, LOG, PROCESS, TIMEOUTS, TRAFFIC,
};
pub use tls::TLS;

#[cfg(test)]
mod conversions;
#[cfg(test)]
mod ledger;
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

/// True if `word` is one of the arguments of the process, whatever it stands for there.
#[must_use]
pub fn has_argument(word: &str) -> bool {
    std::env::args_os().any(|argument| argument == word)
}

/// True if the variable is set, to whatever it is.
#[must_use]
pub fn has_variable(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// Executes the program of this process in its place, with its arguments and one variable more. Returns only
/// if that cannot be done.
pub fn start_again((name, value): (&str, &str)) -> io::Error {
    let mut arguments = std::env::args_os();
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    if let Some(called) = arguments.next() {
        command.arg0(called);
    }
    command.args(arguments).env(name, value).exec()
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
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// A variable or a flag whose value stops the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?}: {problem}")]
pub struct EnvError {
    /// Name of the variable, or of the flag with its dashes.
    pub name: &'static str,
    /// Its value; three dots for a secret.
    pub value: String,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
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
    HEALTH,
    CAPACITY,
    LIMITS,
    PROCESS,
    HAPROXY,
    LOG,
    ADMIN,
];

/// Every row of the table: what can be said about the router in the environment or by a flag.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
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

/// Variables that are set and do nothing, perhaps by a slip of the pen.
fn unknown(vars: &dyn Vars) -> Vec<Note> {
    let mut notes = Vec::new();
    for name in vars.names() {
        let honoured = rows().any(|row| row.name == name);
        let ours = name.starts_with("ROUTER_") || name.starts_with("WHARF_");
        let text = match vars.get(&name) {
            None if honoured => "is not UTF-8 and is ignored".to_owned(),
            Some(value) if value.is_empty() || honoured => continue,
            Some(value) if ours && !is_service_link(&name, &value) => nearest(&name).map_or_else(
                || "is not a variable of this router; is it misspelt?".to_owned(),
                |near| format!("is not a variable of this router; did you mean {near}?"),
            ),
            _ => continue,
        };
        notes.push(Note { name, text });
    }
    notes.sort_by(|a, b| a.name.cmp(&b.name));
    notes
}

/// How alike two names must be, from 0 to 1, for one to be a slip of the pen for the other. What all
/// names begin with counts for nothing.
const ALIKE: f64 = 0.85;

/// The variable that `name` was perhaps meant to be.
fn nearest(name: &str) -> Option<&'static str> {
    let bare =
        |name: &str| name.split_once('_').map_or_else(String::new, |(_, rest)| rest.to_owned());
    let wanted = bare(name);
    rows()
        .map(|row| row.name)
        .map(|known| (strsim::normalized_damerau_levenshtein(&wanted, &bare(known)), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
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
