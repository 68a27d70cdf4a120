//! A row of the table: one setting, the variable and the flags that set it, and how its value is read
//! and shown.
//!
//! The tables beside this file are made of rows; `cli` makes a flag of each name in [`Row::flags`].

use std::{borrow::Cow, time::Duration};

use super::super::{RouterSettings, parse};
use crate::model::grammar;

/// One variable, or one flag without a variable.
#[derive(Debug)]
pub struct Row {
    /// Name of the variable; empty where there are only flags.
    pub name: &'static str,
    /// What it sets, or why it sets nothing: one line.
    pub meaning: &'static str,
    /// Flags of the same meaning, dashes included; the first is the one that help shows.
    pub flags: &'static [&'static str],
    /// What it does to the settings.
    pub effect: Effect,
    kind: Kind,
}

/// What a row does, and what is printed of it.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// It sets what this shows, in words that it could be given again.
    Shown(fn(&RouterSettings) -> String),
    /// It sets what its text says, which is shown as it was given.
    AsGiven,
    /// It sets a part of what the row of this name shows.
    Like(&'static str),
    /// It is a secret: whether it was given is all that is ever shown.
    Secret,
    /// Nobody has said, so it is as good as a secret; a test finds such a row.
    Unsaid,
    /// It sets nothing; `meaning` says why.
    Nothing,
    /// It stops the start; `meaning` says why.
    Refused,
}

/// How a value is read and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// [CONV-1]: what is not a boolean counts as false.
    Bool(fn(&mut RouterSettings, bool)),
    /// The word `true` alone for the variable [PIPE-2], any boolean for the flag.
    Word(fn(&mut RouterSettings, bool)),
    /// [CONV-3]: what is not a duration leaves the default [TMO-3].
    Duration(fn(&mut RouterSettings, Duration)),
    /// A duration of Go; what is not one leaves the default.
    GoDuration(fn(&mut RouterSettings, Duration)),
    /// A number from the first to the second; what is not one leaves the default.
    Number(u32, u32, fn(&mut RouterSettings, u32)),
    /// Any other grammar.
    Text(fn(&mut RouterSettings, &str) -> Outcome),
    /// A list: the variable has this character between its entries, a flag may be repeated as well.
    List(char, fn(&mut RouterSettings, &[&str]) -> Outcome),
}

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was used, or means nothing here.
    Used,
    /// Something should be said. Behind a flag, it stops the start.
    Noted(&'static str),
    /// The start stops.
    Refused(&'static str),
    /// The same, where more than one thing can be wrong.
    Wrong(String),
}

/// A row that is a secret until it says how it is shown.
pub(super) const fn row(name: &'static str, meaning: &'static str, kind: Kind) -> Row {
    Row { name, meaning, flags: &[], effect: Effect::Unsaid, kind }
}

/// A variable of OpenShift's router that means nothing here, with the reason.
pub(super) const fn nothing(name: &'static str, why: &'static str) -> Row {
    row(name, why, Kind::Text(accept)).nothing()
}

/// Reads a value and lets it be.
pub(super) const fn accept(_: &mut RouterSettings, _: &str) -> Outcome {
    Outcome::Used
}

impl Row {
    pub(super) const fn shows(mut self, show: fn(&RouterSettings) -> String) -> Self {
        self.effect = Effect::Shown(show);
        self
    }

    pub(super) const fn shows_text(mut self) -> Self {
        self.effect = Effect::AsGiven;
        self
    }

    pub(super) const fn like(mut self, name: &'static str) -> Self {
        self.effect = Effect::Like(name);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.effect = Effect::Secret;
        self
    }

    pub(super) const fn nothing(mut self) -> Self {
        self.effect = Effect::Nothing;
        self
    }

    /// The flag may stand without a value.
    pub(super) const fn yes_or_no(mut self) -> Self {
        self.kind = Kind::Bool(|_, _| {});
        self
    }

    pub(super) const fn refused(mut self) -> Self {
        self.effect = Effect::Refused;
        self
    }

    pub(super) const fn flags(mut self, flags: &'static [&'static str]) -> Self {
        self.flags = flags;
        self
    }

    /// What the row is called: its variable, or its flag.
    #[must_use]
    pub fn key(&self) -> &'static str {
        if self.name.is_empty() {
            self.flags.first().copied().unwrap_or_default()
        } else {
            self.name
        }
    }

    /// How its value is read.
    #[cfg(test)]
    pub(super) const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// True where a flag without a value means yes.
    #[must_use]
    pub const fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool(_) | Kind::Word(_))
    }

    /// True where a flag may be repeated.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..))
    }

    /// Checks one value of a flag.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, value: &str) -> Result<(), Cow<'static, str>> {
        match self.set(&mut RouterSettings::default(), &[value], Given::Flag) {
            Outcome::Used => Ok(()),
            Outcome::Noted(problem) | Outcome::Refused(problem) => Err(problem.into()),
            Outcome::Wrong(problem) => Err(problem.into()),
        }
    }

    /// Puts a value into `settings`; of several, those of a list count together and of others the last.
    pub(super) fn set(
        &self,
        settings: &mut RouterSettings,
        values: &[&str],
        given: Given,
    ) -> Outcome {
        let value = values.last().copied().unwrap_or_default();
        match self.kind {
            Kind::Word(set) if given == Given::Variable => {
                set(settings, value == "true");
                Outcome::Used
            },
            Kind::Bool(set) | Kind::Word(set) => {
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
            // A path behind a flag may have a colon.
            Kind::List(':', set) if given == Given::Flag => set(settings, values),
            Kind::List(between, set) => {
                let entries = values.iter().flat_map(|value| value.split(between));
                let entries: Vec<&str> = entries.map(str::trim).collect();
                set(settings, &entries)
            },
        }
    }
}

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// In the environment.
    Variable,
    /// On the command line.
    Flag,
}

fn duration(
    value: Option<Duration>,
    settings: &mut RouterSettings,
    set: fn(&mut RouterSettings, Duration),
) -> Outcome {
    match value {
        Some(value) => {
            set(settings, value);
            Outcome::Used
        },
        None => Outcome::Noted("is not a duration; the default is used"),
    }
}
