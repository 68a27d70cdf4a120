//! Annotations of a route: unknown names and values that cannot be understood (spec/route.md 14).
//!
//! An annotation never makes a route invalid [CONV-7]; a security annotation that cannot be
//! understood denies instead (decisions 6).

use super::Report;
use crate::{
    model::{
        finding::codes,
        grammar,
        route::{Route, RouteTls},
    },
    source::schema::closest,
};

/// Prefix of most annotations.
const H: &str = "haproxy.router.openshift.io/";
/// The other prefix.
const R: &str = "router.openshift.io/";

/// What a value must look like.
#[derive(Clone, Copy)]
enum Grammar {
    AllowList,
    Bool,
    Duration,
    Hsts,
    Integer,
    Token,
    Rewrite,
    Word(&'static [&'static str]),
}

/// Which routes an annotation has an effect on.
#[derive(Clone, Copy, PartialEq)]
enum Applies {
    All,
    Http,
    Tls,
}

use Applies::{All, Http, Tls};

/// The table of spec/route.md 14.
const TABLE: &[(&str, &str, Applies, Grammar)] = &[
    (H, "balance", All, Grammar::Word(&["roundrobin", "leastconn", "source", "random"])),
    (H, "disable_cookies", Http, Grammar::Bool),
    (R, "cookie_name", Http, Grammar::Token),
    (R, "cookie-same-site", Tls, Grammar::Word(&["Lax", "Strict", "None"])),
    (H, "timeout", All, Grammar::Duration),
    (H, "timeout-tunnel", All, Grammar::Duration),
    (H, "rate-limit-connections", All, Grammar::Bool),
    (H, "rate-limit-connections.concurrent-tcp", All, Grammar::Integer),
    (H, "rate-limit-connections.rate-tcp", All, Grammar::Integer),
    (H, "rate-limit-connections.rate-http", Http, Grammar::Integer),
    (H, "pod-concurrent-connections", All, Grammar::Integer),
    (H, "ip_allowlist", All, Grammar::AllowList),
    (H, "ip_whitelist", All, Grammar::AllowList),
    (H, "hsts_header", Tls, Grammar::Hsts),
    (H, "rewrite-target", Http, Grammar::Rewrite),
    (H, "set-forwarded-headers", Http, Grammar::Word(&["append", "replace", "if-none", "never"])),
    (H, "h1-adjust-case", Http, Grammar::Bool),
    (R, "haproxy.health.check.interval", All, Grammar::Duration),
    (R, "pool-size", All, Grammar::Integer),
    // Of Ingresses, and copied from there [ING-3].
    (R, "reconcile-labels", All, Grammar::Bool),
];

/// Those of the table that this version obeys.
const HONOURED: &[&str] = &[
    "balance",
    "disable_cookies",
    "h1-adjust-case",
    "hsts_header",
    "haproxy.health.check.interval",
    "ip_allowlist",
    "ip_whitelist",
    "pod-concurrent-connections",
    "rate-limit-connections",
    "rate-limit-connections.concurrent-tcp",
    "rate-limit-connections.rate-http",
    "rate-limit-connections.rate-tcp",
    "reconcile-labels",
    "set-forwarded-headers",
    "timeout",
    "timeout-tunnel",
];

/// Reports every annotation of the two prefixes that is unknown, ineffective, not understood or not
/// obeyed yet.
pub(super) fn check(report: &mut Report<'_, Route>, route: &Route) {
    for (name, value) in route.metadata.annotations.iter().flatten() {
        let ours = [H, R].into_iter().find(|prefix| name.starts_with(prefix));
        let Some(prefix) = ours else { continue };
        let field = format!("metadata.annotations[{name}]");
        let short = &name[prefix.len()..];
        match TABLE.iter().find(|(owner, known, ..)| *owner == prefix && *known == short) {
            Some((_, _, applies, grammar)) => {
                judge(report, &field, short, value, *grammar);
                effect(report, &field, short, *applies, route.spec.tls.as_ref());
                if !HONOURED.contains(&short) {
                    let text = format!("{short} does nothing in this version of wharf");
                    report.add(codes::NOT_BUILT, &field, text);
                }
            },
            None => unknown(report, &field, name, short),
        }
    }
}

fn unknown(report: &mut Report<'_, Route>, field: &str, name: &str, short: &str) {
    let meant = closest(short, TABLE.iter().map(|(_, known, ..)| *known));
    let full = meant.and_then(|meant| TABLE.iter().find(|(_, known, ..)| *known == meant));
    let fix = full
        .map_or_else(String::new, |(prefix, known, ..)| format!("did you mean {prefix}{known}?"));
    let text = format!("the annotation {name} is unknown");
    report.add_with_fix(codes::UNKNOWN_ANNOTATION, field, text, fix);
}

fn effect(
    report: &mut Report<'_, Route>,
    field: &str,
    short: &str,
    applies: Applies,
    tls: Option<&RouteTls>,
) {
    let passthrough = tls.is_some_and(|tls| tls.termination == "passthrough");
    let why = match applies {
        Http | Tls if passthrough => "passthrough",
        Tls if tls.is_none() => "no TLS",
        _ => return,
    };
    let text = format!("{short} has no effect on a route with {why}");
    report.add(codes::NO_EFFECT, field, text);
}

fn judge(report: &mut Report<'_, Route>, field: &str, short: &str, value: &str, grammar: Grammar) {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let (good, wanted) = match grammar {
        Grammar::AllowList => return allow_list(report, field, short, value),
        Grammar::Bool => (grammar::parse_bool(value).is_some(), "true or false".to_owned()),
        Grammar::Duration => {
            (grammar::parse_duration(value).is_some(), "a duration such as 30s".to_owned())
        },
        Grammar::Hsts => {
            let wanted = "of the form max-age=31536000;includeSubDomains;preload".to_owned();
            (grammar::is_hsts(value), wanted)
        },
        Grammar::Integer => (grammar::parse_integer(value).is_some(), "a whole number".to_owned()),
        Grammar::Token => {
            let good = !value.is_empty() && value.bytes().all(token);
            (good, "made of letters, digits, - and _".to_owned())
        },
        Grammar::Rewrite => (
            value.starts_with('/') && !value.contains('\n'),
            "a path that starts with /".to_owned(),
        ),
        Grammar::Word(words) => (words.contains(&value), format!("one of {}", words.join(", "))),
    };
    if good {
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
    let text = format!("{short} must be {wanted}, not \"{value}\"; the default is used");
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

fn allow_list(report: &mut Report<'_, Route>, field: &str, short: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let mut valid = 0;
    for entry in grammar::allow_list(value) {
        match entry {
            Ok(_) => valid += 1,
            Err(entry) => {
                let text = format!("\"{entry}\" in {short} is not an address or network");
                report.add(codes::BAD_ALLOW_LIST_ENTRY, field, text);
            },
        }
    }
    if valid == 0 {
        let text = format!("{short} has no valid entry, so every client is refused");
        report.add(codes::ALLOW_LIST_DENIES_ALL, field, text);
    }
}
