//! `wharf router --print-config`: every setting, and where its value came from.
//!
//! Secrets are never printed, only that they were given.

use std::io::Write;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    output::{self, Output},
    table,
};
use crate::settings::env::{Config, Origin, Setting};

/// Prints the settings of `config` in the order of the table of variables.
///
/// # Errors
/// When the output cannot be written.
pub fn print(config: &Config, output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => {
            let rows: Vec<_> = config.list().map(|setting| short(&setting).to_vec()).collect();
            table::render(Some(&["SETTING", "VALUE", "FROM"]), &rows)
        },
        Output::Wide => {
            let rows: Vec<_> = config.list().map(|setting| long(&setting)).collect();
            table::render(Some(&["SETTING", "VALUE", "FROM", "FLAG", "MEANING"]), &rows)
        },
        Output::Json => output::json(&document(config)).context("cannot write JSON")?,
        Output::Yaml => output::yaml(&document(config)).context("cannot write YAML")?,
        Output::Name => config.list().map(|setting| format!("{}\n", name(&setting))).collect(),
        Output::JsonPath(template) => output::picked(template, &document(config)),
    };
    Ok(out.write_all(text.as_bytes())?)
}

/// The variable, or the flag where there is none.
const fn name(setting: &Setting) -> &'static str {
    if setting.variable.is_empty() { setting.flag } else { setting.variable }
}

fn short(setting: &Setting) -> [String; 3] {
    let value = match &setting.value {
        Some(value) if value.is_empty() => "-",
        Some(value) => value,
        None if setting.ignored => "(no effect)",
        None if setting.origin == Origin::Default => "-",
        None => "(set)",
    };
    let from = match setting.origin {
        Origin::Default => "default",
        Origin::Variable(name) | Origin::Flag(name) => name,
        Origin::Start(reason) => reason,
    };
    [name(setting).to_owned(), value.to_owned(), from.to_owned()]
}

fn long(setting: &Setting) -> Vec<String> {
    let flag = if setting.flag.is_empty() { "-" } else { setting.flag };
    let mut row = short(setting).to_vec();
    row.extend([flag.to_owned(), setting.meaning.to_owned()]);
    row
}

fn document(config: &Config) -> Value {
    json!({"settings": config.list().map(|setting| entry(&setting)).collect::<Vec<_>>()})
}

/// `value` is null for a secret, and for what has no effect.
fn entry(setting: &Setting) -> Value {
    let (source, from) = match setting.origin {
        Origin::Default => ("default", None),
        Origin::Variable(name) => ("variable", Some(name)),
        Origin::Flag(name) => ("flag", Some(name)),
        Origin::Start(reason) => ("start", Some(reason)),
    };
    json!({
        "name": name(setting),
        "variable": Some(setting.variable).filter(|name| !name.is_empty()),
        "flag": Some(setting.flag).filter(|name| !name.is_empty()),
        "meaning": setting.meaning,
        "value": setting.value,
        "source": source,
        "from": from,
        "effect": !setting.ignored,
    })
}
