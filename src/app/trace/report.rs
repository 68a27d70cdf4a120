//! What a trace found: hops in the order of the path, as text and as JSON with the same contents.
//!
//! Made by `path` and `service`. Always holds: every key of the JSON is one of a fixed set for its hop,
//! and the text shows every value of it.

use std::{fmt::Write as _, time::Duration};

use serde::{Serialize, Serializer};

use crate::app::table::clean;

/// The whole path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// What was asked for.
    pub(super) target: String,
    /// `live` or `explain`.
    pub(super) mode: &'static str,
    /// The whole path answers.
    pub(super) ok: bool,
    /// The hops that were reached, and the one that broke.
    pub(super) hops: Vec<Hop>,
    /// Where the path breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<Broken>,
}

/// A part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Name {
    Dns,
    Nlb,
    Tls,
    Router,
    Route,
    Service,
    Pod,
    Answer,
}

impl Name {
    const fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Nlb => "nlb",
            Self::Tls => "tls",
            Self::Router => "router",
            Self::Route => "route",
            Self::Service => "service",
            Self::Pod => "pod",
            Self::Answer => "answer",
        }
    }
}

/// How a hop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should.
    Ok,
    /// The path ends here.
    Broken,
    /// Nobody who could know was reached, or it was not asked.
    Unknown,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Broken => "broken",
            Self::Unknown => "?",
        }
    }
}

/// One hop.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hop {
    pub(super) hop: Name,
    pub(super) state: State,
    /// Time of the hop alone, as far as it was measured.
    #[serde(serialize_with = "micros", rename = "us")]
    pub(super) took: Option<Duration>,
    /// One line.
    pub(super) what: String,
    /// More about it.
    #[serde(serialize_with = "map")]
    pub(super) facts: Vec<(&'static str, Fact)>,
}

/// A value of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Fact {
    Text(String),
    Lines(Vec<String>),
}

impl<T: Into<String>> From<T> for Fact {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// Where the path breaks, why, and what to do.
#[derive(Debug, Serialize)]
pub(super) struct Broken {
    pub(super) hop: Name,
    pub(super) why: String,
    pub(super) fix: String,
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn micros<S: Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
}

fn map<S: Serializer>(facts: &[(&'static str, Fact)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(facts.iter().map(|(key, value)| (key, value)))
}

impl Hop {
    pub(super) fn new(hop: Name, state: State, what: impl Into<String>) -> Self {
        Self { hop, state, took: None, what: what.into(), facts: Vec::new() }
    }

    pub(super) const fn took(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }

    pub(super) fn fact(mut self, key: &'static str, value: impl Into<Fact>) -> Self {
        self.facts.push((key, value.into()));
        self
    }

    pub(super) fn lines(mut self, key: &'static str, lines: Vec<String>) -> Self {
        if !lines.is_empty() {
            self.facts.push((key, Fact::Lines(lines)));
        }
        self
    }

    /// A fact, if it is known.
    pub(super) fn maybe(self, key: &'static str, value: Option<impl Into<Fact>>) -> Self {
        match value {
            Some(value) => self.fact(key, value),
            None => self,
        }
    }
}

impl Report {
    pub(super) fn new(target: &str, live: bool) -> Self {
        Self {
            target: target.to_owned(),
            mode: if live { "live" } else { "explain" },
            ok: true,
            hops: Vec::new(),
            broken: None,
        }
    }

    pub(super) fn push(&mut self, hop: Hop) {
        self.hops.push(hop);
    }

    /// Adds a hop that the path ends at.
    pub(super) fn breaks(&mut self, mut hop: Hop, why: impl Into<String>, fix: impl Into<String>) {
        hop.state = State::Broken;
        self.ok = false;
        self.broken = Some(Broken { hop: hop.hop, why: why.into(), fix: fix.into() });
        self.hops.push(hop);
    }

    /// The text form.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = writeln!(out, "{} ({})", clean(&self.target), self.mode);
        for (number, hop) in self.hops.iter().enumerate() {
            let took = hop.took.map(time).unwrap_or_default();
            let (number, name, state) = (number + 1, hop.hop.word(), hop.state.word());
            let what = clean(&hop.what);
            let _ = writeln!(out, "{number} {name:<8}{state:<7}{took:>9}  {what}");
            let width = hop.facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
            for (key, value) in &hop.facts {
                let lines = match value {
                    Fact::Text(text) => std::slice::from_ref(text),
                    Fact::Lines(lines) => lines,
                };
                for (index, line) in lines.iter().enumerate() {
                    let key = if index == 0 { *key } else { "" };
                    let _ = writeln!(out, "    {key:<width$}  {}", clean(line));
                }
            }
        }
        match &self.broken {
            None => out.push_str("the path is whole\n"),
            Some(broken) => {
                let (hop, why) = (broken.hop.word(), clean(&broken.why));
                let _ = writeln!(out, "broken at {hop}: {why}\n  fix: {}", clean(&broken.fix));
            },
        }
        out
    }
}

/// A time for people: microseconds below one millisecond.
pub(super) fn time(took: Duration) -> String {
    let micros = took.as_micros();
    match micros {
        0..1000 => format!("{micros}us"),
        1000..10_000_000 => format!("{}.{:02}ms", micros / 1000, micros % 1000 / 10),
        _ => format!("{}s", micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_contents() {
        let mut report = Report::new("http://a/\u{1b}", true);
        report.push(
            Hop::new(Name::Dns, State::Ok, "a has 10.0.0.1")
                .took(Duration::from_micros(1234))
                .fact("server", "10.0.0.2:53"),
        );
        let nlb = Hop::new(Name::Nlb, State::Ok, "refused")
            .lines("targets", vec!["t1".to_owned(), "t2".to_owned()])
            .lines("none", Vec::new());
        report.breaks(nlb, "nobody listens", "start it");
        assert_eq!(
            report.text(),
            "http://a/ (live)\n\
             1 dns     ok        1.23ms  a has 10.0.0.1\n    server  10.0.0.2:53\n\
             2 nlb     broken            refused\n    targets  t1\n             t2\n\
             broken at nlb: nobody listens\n  fix: start it\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "target": "http://a/\u{1b}", "mode": "live", "ok": false,
                "hops": [
                    {"hop": "dns", "state": "ok", "us": 1234, "what": "a has 10.0.0.1",
                     "facts": {"server": "10.0.0.2:53"}},
                    {"hop": "nlb", "state": "broken", "us": null, "what": "refused",
                     "facts": {"targets": ["t1", "t2"]}},
                ],
                "broken": {"hop": "nlb", "why": "nobody listens", "fix": "start it"},
            })
        );
    }

    #[test]
    fn times_are_short() {
        for (micros, text) in [(0, "0us"), (999, "999us"), (1000, "1.00ms"), (12_345, "12.34ms")] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
        assert_eq!(time(Duration::from_secs(75)), "75s");
    }
}
