//! The flags of `wharf router` that set something: one for each name in the table of settings.
//!
//! A new row with a flag is a new flag here, with its help, its check and its place in
//! `--print-config`. Rows that set nothing are accepted and not shown in the help.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use crate::settings::env::{self, Config, Effect, EnvError, Row};

/// The flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(&'static Row, Vec<String>)>);

impl Flags {
    /// Puts them on top of what the environment said, in the order of the table.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), EnvError> {
        for (row, values) in &self.0 {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            config.flag(row, &values)?;
        }
        Ok(())
    }
}

/// Every row with a flag, and the flag's name without dashes, which is its id as well.
fn rows() -> impl Iterator<Item = (&'static Row, &'static str)> {
    env::rows().filter_map(|row| Some((row, bare(row.flags.first()?))))
}

fn bare(flag: &'static str) -> &'static str {
    flag.trim_start_matches('-')
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let given = rows()
            .filter(|(_, id)| matches.value_source(id) == Some(ValueSource::CommandLine))
            .map(|(row, id)| {
                let values = matches.get_many::<String>(id).unwrap_or_default();
                (row, values.cloned().collect())
            });
        self.0 = given.collect();
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        rows().fold(command, |command, (row, id)| command.arg(flag(row, id)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// As Go's flags take them: of a flag that is repeated the last one counts, unless it is a list, and a
/// boolean needs no value.
fn flag(row: &'static Row, id: &'static str) -> Arg {
    let arg = Arg::new(id)
        .long(id)
        .visible_aliases(row.flags.iter().skip(1).map(|alias| bare(alias)))
        .help(help(row))
        .hide(matches!(row.effect, Effect::Nothing | Effect::Refused))
        .value_parser(move |text: &str| row.check(text).map(|()| text.to_owned()));
    let arg = if row.is_list() {
        arg.action(ArgAction::Append)
    } else {
        arg.action(ArgAction::Set).overrides_with(id)
    };
    if row.is_bool() {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true)
    } else {
        arg.value_name("VALUE").allow_negative_numbers(true)
    }
}

/// The meaning, the default and the variable.
fn help(row: &Row) -> String {
    let mut help = row.meaning.to_owned();
    if let Some(first) = help.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    for (word, what) in [("default", row.default_value().as_deref()), ("env", Some(row.name))] {
        if let Some(what) = what.filter(|what| !what.is_empty()) {
            help.extend([" [", word, ": ", what, "]"]);
        }
    }
    help
}

#[cfg(test)]
mod tests;
