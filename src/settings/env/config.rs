//! The settings of a process with where each of them came from.
//!
//! [`Config::of`] reads the environment, `cli` puts the flags on top with [`Config::flag`]. Flags win
//! over variables, which win over defaults; where two rows set the same thing, the later row wins.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    Effect, EnvError, Note, Row, Vars, require_namespace,
    row::{Given, Outcome},
    rows, unknown,
};
use crate::settings::RouterSettings;

/// Where a value came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// This variable.
    Variable(&'static str),
    /// This flag, dashes included.
    Flag(&'static str),
    /// The start, for a reason such as a limit of the system.
    Start(&'static str),
}

/// Settings and their origins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What the process runs with.
    pub settings: RouterSettings,
    /// By [`Row::key`]: where it came from, and the text where it is shown as given.
    origins: BTreeMap<&'static str, (Origin, String)>,
}

/// One setting as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its variable; empty where there is none.
    pub variable: &'static str,
    /// Its flag, dashes included; empty where there is none.
    pub flag: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Its value; none for a secret and for what sets nothing.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
    /// It sets nothing.
    pub ignored: bool,
}

impl Config {
    /// The defaults and what `vars` says on top, with what there is to say about it.
    ///
    /// # Errors
    /// The first variable that stops the start.
    pub fn of(vars: &dyn Vars) -> Result<(Self, Vec<Note>), EnvError> {
        let mut config = Self::default();
        let mut notes = Vec::new();
        for row in rows().filter(|row| !row.name.is_empty()) {
            let Some(value) = vars.get(row.name).filter(|value| !value.is_empty()) else {
                continue;
            };
            match config.put(row, &[&value], Origin::Variable(row.name)) {
                Outcome::Used => {},
                Outcome::Noted(text) => {
                    notes.push(Note { name: row.name.to_owned(), text: text.to_owned() });
                },
                Outcome::Refused(problem) => {
                    return Err(refused(row.name, row, value, problem.into()));
                },
                Outcome::Wrong(problem) => {
                    return Err(refused(row.name, row, value, problem.into()));
                },
            }
        }
        require_namespace(vars)?;
        notes.extend(unknown(vars));
        Ok((config, notes))
    }

    /// Puts the values of a flag on top.
    ///
    /// # Errors
    /// When they stop the start.
    pub fn flag(&mut self, row: &'static Row, values: &[&str]) -> Result<(), EnvError> {
        let name = row.flags.first().copied().unwrap_or(row.name);
        match self.put(row, values, Origin::Flag(name)) {
            Outcome::Used => Ok(()),
            Outcome::Noted(problem) | Outcome::Refused(problem) => {
                Err(refused(name, row, values.join(" "), problem.into()))
            },
            Outcome::Wrong(problem) => Err(refused(name, row, values.join(" "), problem.into())),
        }
    }

    /// Lets the start change settings, for `reason`.
    pub fn adjust(&mut self, reason: &'static str, change: impl FnOnce(&mut RouterSettings)) {
        let before = self.shown();
        change(&mut self.settings);
        self.mark_changed(&before, Origin::Start(reason));
    }

    /// True where nobody has said anything about the row with this key.
    #[must_use]
    pub fn is_default(&self, key: &str) -> bool {
        !self.origins.contains_key(key)
    }

    /// Sets, and remembers who did: at this row, at the one it is like, and at every other whose value
    /// is a new one.
    fn put(&mut self, row: &'static Row, values: &[&str], by: Origin) -> Outcome {
        let before = self.shown();
        let given = if matches!(by, Origin::Flag(_)) { Given::Flag } else { Given::Variable };
        let outcome = row.set(&mut self.settings, values, given);
        // What is noted may be in force all the same; where it shows, `mark_changed` finds out.
        let kept = match &outcome {
            Outcome::Used => true,
            Outcome::Noted(_) => matches!(row.effect, Effect::Secret),
            Outcome::Refused(_) | Outcome::Wrong(_) => false,
        };
        if kept {
            let key = if let Effect::Like(key) = row.effect { key } else { row.key() };
            let text = match row.effect {
                Effect::AsGiven => values.join(","),
                _ => String::new(),
            };
            self.origins.insert(key, (by, text));
        }
        self.mark_changed(&before, by);
        outcome
    }

    fn mark_changed(&mut self, before: &[String], by: Origin) {
        let now = self.shown();
        for ((row, before), now) in shown_rows().zip(before).zip(&now) {
            if before != now {
                self.origins.insert(row.key(), (by, String::new()));
            }
        }
    }

    /// What every row shows that can.
    fn shown(&self) -> Vec<String> {
        shown_rows().map(|row| row.shown(&self.settings).unwrap_or_default()).collect()
    }

    /// Every setting, in the order of the tables. What sets nothing is there if it was given.
    pub fn list(&self) -> impl Iterator<Item = Setting> + '_ {
        rows().filter_map(|row| {
            let (origin, text) = self.origins.get(row.key()).cloned().unwrap_or_default();
            let value = match row.effect {
                Effect::Shown(show) => Some(show(&self.settings)),
                Effect::AsGiven => Some(text),
                Effect::Secret | Effect::Unsaid => None,
                Effect::Nothing if origin != Origin::Default => None,
                Effect::Nothing | Effect::Like(_) | Effect::Refused => return None,
            };
            Some(Setting {
                variable: row.name,
                flag: row.flags.first().copied().unwrap_or_default(),
                meaning: row.meaning,
                value,
                origin,
                ignored: matches!(row.effect, Effect::Nothing),
            })
        })
    }
}

fn refused(name: &'static str, row: &Row, value: String, problem: Cow<'static, str>) -> EnvError {
    EnvError { name, value: row.printable(value), problem }
}

fn shown_rows() -> impl Iterator<Item = &'static Row> {
    rows().filter(|row| matches!(row.effect, Effect::Shown(_)))
}

impl Row {
    fn shown(&self, settings: &RouterSettings) -> Option<String> {
        match self.effect {
            Effect::Shown(show) => Some(show(settings)),
            _ => None,
        }
    }

    /// The default in words; none where there is no word for it.
    #[must_use]
    pub fn default_value(&self) -> Option<String> {
        self.shown(&RouterSettings::default()).filter(|value| !value.is_empty())
    }

    /// What an error may repeat of a value.
    fn printable(&self, value: String) -> String {
        if matches!(self.effect, Effect::Secret | Effect::Unsaid) {
            "...".to_owned()
        } else {
            value
        }
    }
}
