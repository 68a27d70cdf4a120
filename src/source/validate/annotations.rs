//! What is said of a route's annotations: unknown names, values that are not understood, and what does
//! nothing on this route. The table is [`crate::model::annotation`].
//!
//! An annotation never makes a route invalid [CONV-7]. What is wrong with an allow list, which denies
//! instead, depends on the router's settings: compile says it.

use super::Report;
use crate::{
    model::{
        annotation::{self, ANNOTATIONS, Annotation, Grammar, Known},
        finding::{ANNOTATION, SHOWN, codes, excerpt},
        grammar,
        route::Route,
    },
    routing::rewrite,
    source::schema::closest,
};

/// Reports every annotation of the router's that is unknown, ineffective or not understood.
pub(super) fn check(report: &mut Report<'_, Route>, route: &Route) {
    for (name, value) in route.metadata.annotations.iter().flatten() {
        let field = format!("{ANNOTATION}{name}]");
        match annotation::find(name) {
            Known::As(known) => {
                judge(report, &field, known, value);
                if let Some(why) = known.idle(route) {
                    report.add(
                        codes::NO_EFFECT,
                        &field,
                        format!("{} has no effect{why}", known.name),
                    );
                }
            },
            Known::Unknown { short, hint } => {
                let fix = hint.map_or_else(|| meant(&name[short..]), str::to_owned);
                let text = format!("the annotation {} is unknown", shown(name));
                report.add_with_fix(codes::UNKNOWN_ANNOTATION, &field, text, fix);
            },
            Known::Foreign => {},
        }
    }
}

/// The annotation whose name is near to `short`, as a question.
fn meant(short: &str) -> String {
    let meant = closest(short, ANNOTATIONS.iter().map(|known| known.name));
    let known = meant.and_then(|meant| ANNOTATIONS.iter().find(|known| known.name == meant));
    known.map_or_else(String::new, |known| format!("did you mean {}{}?", known.prefix, known.name))
}

fn judge(report: &mut Report<'_, Route>, field: &str, known: &Annotation, value: &str) {
    let Annotation { name, grammar, fallback, .. } = known;
    if grammar.accepts(value) {
        if matches!(grammar, Grammar::Path) && rewrite::is_surprising(value) {
            let text =
                format!("pods see {} in place of \"{}\"", rewrite::shown(value), shown(value));
            report.add(codes::REWRITE_TARGET, field, text);
        }
        return;
    }
    let fix = match grammar {
        Grammar::Word(words) => closest(value, words.iter().copied())
            .map_or_else(String::new, |word| format!("did you mean {word}?")),
        Grammar::Hsts => {
            hsts_meant(value).map_or_else(String::new, |value| format!("did you mean {value}?"))
        },
        _ => String::new(),
    };
    let (wanted, value) = (grammar.wanted(), shown(value));
    let text = format!("{name} must be {wanted}, not \"{value}\"; {fallback}");
    report.add_with_fix(codes::BAD_ANNOTATION, field, text, fix);
}

/// The value of `hsts_header` that was perhaps meant: directives that are nearly right, without the blanks
/// and semicolons that are too many.
fn hsts_meant(value: &str) -> Option<String> {
    const DIRECTIVES: [&str; 3] = ["max-age", "includeSubDomains", "preload"];
    let directive = |part: &str| {
        let (name, age) =
            part.split_once('=').map_or((part, None), |(name, age)| (name, Some(age)));
        let name = name.trim();
        let known = DIRECTIVES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        let known = known.or_else(|| closest(name, DIRECTIVES.into_iter()))?;
        Some(age.map_or_else(|| known.to_owned(), |age| format!("{known}={}", age.trim())))
    };
    let parts = value.split([';', ',']).map(str::trim).filter(|part| !part.is_empty());
    let meant = parts.map(directive).collect::<Option<Vec<_>>>()?.join("; ");
    grammar::is_hsts(&meant).then_some(meant)
}

/// The beginning of a text, which may be long.
fn shown(text: &str) -> String {
    excerpt(text, SHOWN)
}
