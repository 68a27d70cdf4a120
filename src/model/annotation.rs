//! The annotations of a Route: which there are, what their values look like, on which routes they do
//! something, and what counts in place of a value that is not understood (spec/route.md 14, ANN-0).
//!
//! Read by validation, which says what is wrong with a route's annotations. Compile reads values with
//! the same functions of [`grammar`]. Pure.

use std::borrow::Cow;

use super::{
    grammar,
    route::{Route, RouteTls},
};

/// Prefix of most annotations.
pub const H: &str = "haproxy.router.openshift.io/";
/// The other prefix of the router.
pub const R: &str = "router.openshift.io/";
/// A prefix of the API server, which knows more names under it than a router does.
pub const API: &str = "route.openshift.io/";

/// One annotation.
#[derive(Debug)]
pub struct Annotation {
    /// [`H`], [`R`] or [`API`].
    pub prefix: &'static str,
    /// The name behind the prefix.
    pub name: &'static str,
    /// Where it does something.
    pub applies: Applies,
    /// What its value looks like.
    pub grammar: Grammar,
    /// What counts when the value is not understood, as a sentence without its end.
    pub fallback: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub enum Grammar {
    /// Addresses and networks. Compile says what is wrong with one (decisions 6).
    AllowList,
    /// [CONV-1].
    Bool,
    /// [CONV-3].
    Duration,
    /// [HSTS-1].
    Hsts,
    /// [CONV-2].
    Integer,
    /// Letters, digits, `-` and `_`.
    Token,
    /// [REW-1].
    Path,
    /// One of these, exactly.
    Word(&'static [&'static str]),
}

/// Which routes an annotation does something for.
#[derive(Clone, Copy, Debug)]
pub enum Applies {
    /// All.
    All,
    /// Those whose requests the router sees: no TLS, edge, reencrypt.
    Http,
    /// Those whose TLS ends at the router: edge, reencrypt.
    Tls,
    /// Those of them that are not served in clear as well (`insecureEdgeTerminationPolicy: Allow`).
    TlsOnly,
    /// None, and why.
    Nowhere(&'static str),
}

use Applies::{All, Http, Nowhere, Tls, TlsOnly};

const OFF: &str = "it counts as false";
const NO_LIMIT: &str = "there is no such limit";

const fn row(
    prefix: &'static str,
    name: &'static str,
    applies: Applies,
    grammar: Grammar,
    fallback: &'static str,
) -> Annotation {
    Annotation { prefix, name, applies, grammar, fallback }
}

/// Every annotation [ANN-0].
pub const ANNOTATIONS: &[Annotation] = &[
    row(
        H,
        "balance",
        All,
        Grammar::Word(&["roundrobin", "leastconn", "source", "random"]),
        "the router's balancing is used",
    ),
    row(H, "disable_cookies", Http, Grammar::Bool, OFF),
    row(R, "cookie_name", Http, Grammar::Token, "the cookie has the router's name for it"),
    row(
        R,
        "cookie-same-site",
        TlsOnly,
        Grammar::Word(&["Lax", "Strict", "None"]),
        "the cookie says None",
    ),
    row(H, "timeout", All, Grammar::Duration, "the router's server timeout is used"),
    row(H, "timeout-tunnel", All, Grammar::Duration, "the router's tunnel timeout is used"),
    row(H, "rate-limit-connections", All, Grammar::Bool, "no rate is limited"),
    row(H, "rate-limit-connections.concurrent-tcp", All, Grammar::Integer, NO_LIMIT),
    row(H, "rate-limit-connections.rate-tcp", All, Grammar::Integer, NO_LIMIT),
    row(H, "rate-limit-connections.rate-http", Http, Grammar::Integer, NO_LIMIT),
    row(H, "pod-concurrent-connections", All, Grammar::Integer, NO_LIMIT),
    row(H, ALLOW, All, Grammar::AllowList, ""),
    row(H, "ip_whitelist", All, Grammar::AllowList, ""),
    row(H, "hsts_header", Tls, Grammar::Hsts, "the header is not set"),
    row(H, "rewrite-target", Http, Grammar::Path, "paths are not rewritten"),
    row(
        H,
        "set-forwarded-headers",
        Http,
        Grammar::Word(&["append", "replace", "if-none", "never"]),
        "the router's policy is used",
    ),
    row(H, "h1-adjust-case", Http, Grammar::Bool, OFF),
    row(
        R,
        "haproxy.health.check.interval",
        All,
        Grammar::Duration,
        "the router's interval is used",
    ),
    row(
        R,
        "pool-size",
        Nowhere("there are no blueprint routes: every change applies at once"),
        Grammar::Integer,
        "nothing changes",
    ),
    // Of Ingresses, and copied from there [ING-3].
    row(R, "reconcile-labels", All, Grammar::Bool, OFF),
    row(
        API,
        "allow-non-dns-compliant-host",
        All,
        Grammar::Word(&["true", "false"]),
        "the host's labels are checked",
    ),
];

const ALLOW: &str = "ip_allowlist";

/// Names that are written about and that no router knows, with what is to be known of them.
const PHANTOMS: &[(&str, &str)] = &[(
    "log-send-hostname",
    "OpenShift's router does not know it either; the host name is always sent to syslog",
)];

/// What an annotation's full name is to the router.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// One of its annotations.
    As(&'static Annotation),
    /// It has the router's prefix, and the router does not know it.
    Unknown {
        /// The name behind the prefix.
        short: usize,
        /// What is known all the same.
        hint: Option<&'static str>,
    },
    /// None of its business.
    Foreign,
}

/// Looks the full name of an annotation up.
#[must_use]
pub fn find(name: &str) -> Known {
    let Some(prefix) = [H, R, API].into_iter().find(|prefix| name.starts_with(prefix)) else {
        return Known::Foreign;
    };
    let short = &name[prefix.len()..];
    match ANNOTATIONS.iter().find(|known| known.prefix == prefix && known.name == short) {
        Some(annotation) => Known::As(annotation),
        None if prefix == API => Known::Foreign,
        None => {
            let phantom = PHANTOMS.iter().find(|(phantom, _)| *phantom == short);
            Known::Unknown { short: prefix.len(), hint: phantom.map(|(_, hint)| *hint) }
        },
    }
}

impl Grammar {
    /// True for a value that is understood. That of an allow list is judged entry by entry, elsewhere.
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::AllowList => true,
            Self::Bool => grammar::parse_bool(value).is_some(),
            Self::Duration => grammar::parse_duration(value).is_some(),
            Self::Hsts => grammar::is_hsts(value),
            Self::Integer => grammar::parse_integer(value).is_some(),
            Self::Token => {
                let token = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                !value.is_empty() && value.bytes().all(token)
            },
            Self::Path => grammar::is_rewrite_target(value),
            Self::Word(words) => words.contains(&value),
        }
    }

    /// What a value must be, behind "must be".
    #[must_use]
    pub fn wanted(self) -> Cow<'static, str> {
        match self {
            Self::AllowList => "addresses and networks, separated by blanks".into(),
            Self::Bool => "true or false".into(),
            Self::Duration => "a duration such as 30s".into(),
            Self::Hsts => "of the form max-age=31536000;includeSubDomains;preload".into(),
            Self::Integer => "a whole number".into(),
            Self::Token => "made of letters, digits, - and _".into(),
            Self::Path => "a path that starts with /, on one line".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")).into(),
        }
    }
}

impl Annotation {
    /// Why the annotation does nothing for `route`, behind "has no effect", if that is so.
    #[must_use]
    pub fn idle(&self, route: &Route) -> Option<String> {
        let tls = route.spec.tls.as_ref();
        let is = |termination| tls.is_some_and(|tls: &RouteTls| tls.termination == termination);
        let clear = |tls: &RouteTls| tls.insecure_edge_termination_policy == "Allow";
        let place = match self.applies {
            Nowhere(why) => Some(format!(": {why}")),
            Http | Tls | TlsOnly if is("passthrough") => {
                Some(" on a route with passthrough".to_owned())
            },
            Tls | TlsOnly if tls.is_none() => Some(" on a route with no TLS".to_owned()),
            TlsOnly if tls.is_some_and(clear) => {
                Some(" on a route with insecureEdgeTerminationPolicy Allow".to_owned())
            },
            _ => None,
        };
        place.or_else(|| self.outdone(route))
    }

    /// The same for what another annotation of the route says.
    fn outdone(&self, route: &Route) -> Option<String> {
        let value = |name: &str| {
            let full = format!("{}{name}", self.prefix);
            route.metadata.annotations.as_ref()?.get(&full).map(String::as_str)
        };
        let passes = |tls: &RouteTls| tls.termination == "passthrough";
        let limits = "rate-limit-connections";
        let other = match self.name {
            "ip_whitelist" => value(ALLOW).filter(|list| !list.trim().is_empty()).map(|_| ALLOW)?,
            // Passthrough is a tunnel from the start [ANN-TMO-1].
            "timeout" if route.spec.tls.as_ref().is_some_and(passes) => {
                let other = "timeout-tunnel";
                value(other).and_then(grammar::parse_duration).map(|_| other)?
            },
            name if name != limits && name.starts_with(limits) => {
                let on = value(limits).and_then(grammar::parse_bool) == Some(true);
                return (!on).then(|| format!(" without {limits}: \"true\""));
            },
            _ => return None,
        };
        Some(format!(" beside {other}"))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::model::route::RouteSpec;

    fn named(name: &str) -> &'static Annotation {
        ANNOTATIONS.iter().find(|known| known.name == name).unwrap()
    }

    fn route(termination: &str, insecure: &str, annotations: &[(&str, &str)]) -> Route {
        let tls = (!termination.is_empty()).then(|| RouteTls {
            termination: termination.to_owned(),
            insecure_edge_termination_policy: insecure.to_owned(),
            ..RouteTls::default()
        });
        let all = annotations.iter().map(|(name, value)| (format!("{H}{name}"), (*value).into()));
        Route {
            metadata: ObjectMeta { annotations: Some(all.collect()), ..ObjectMeta::default() },
            spec: RouteSpec { tls, ..RouteSpec::default() },
            ..Route::default()
        }
    }

    /// [ANN-0]: the table of section 14, row by row.
    #[test]
    fn ann_0_every_annotation_is_known_under_its_prefix_only() {
        assert_eq!(ANNOTATIONS.len(), 21);
        for known in ANNOTATIONS {
            let full = format!("{}{}", known.prefix, known.name);
            assert!(matches!(find(&full), Known::As(found) if found.name == known.name), "{full}");
            let other = if known.prefix == H { R } else { H };
            let misplaced = format!("{other}{}", known.name);
            assert!(matches!(find(&misplaced), Known::Unknown { hint: None, .. }), "{misplaced}");
        }
        for foreign in ["timeout", "example.com/timeout", "route.openshift.io/termination"] {
            assert!(matches!(find(foreign), Known::Foreign), "{foreign}");
        }
        let phantom = find("haproxy.router.openshift.io/log-send-hostname");
        assert!(matches!(phantom, Known::Unknown { hint: Some(_), .. }));
    }

    #[test]
    fn ann_0_values_have_grammars() {
        for (name, good, bad) in [
            ("balance", "random", "Random"),
            ("disable_cookies", "T", "yes"),
            ("cookie_name", "a-B_1", "a b"),
            ("cookie-same-site", "Lax", "lax"),
            ("timeout", "5s", "1.5s"),
            ("rate-limit-connections.rate-tcp", "-1", "1.0"),
            ("hsts_header", "max-age=1", "max-age=1;"),
            ("rewrite-target", "/x", "x"),
            ("allow-non-dns-compliant-host", "true", "True"),
        ] {
            let grammar = named(name).grammar;
            assert!(grammar.accepts(good) && !grammar.accepts(bad), "{name}");
            assert!(!named(name).fallback.is_empty() && !grammar.wanted().is_empty(), "{name}");
        }
    }

    /// Rows: annotation, termination, policy, other annotations, what is said behind "has no effect".
    #[test]
    fn ann_0_what_does_nothing_here_is_said() {
        type Row<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
        let limits = "rate-limit-connections.rate-tcp";
        let off = Some(" without rate-limit-connections: \"true\"");
        let rows: &[Row<'_>] = &[
            ("timeout", "passthrough", "", &[], None),
            (
                "timeout",
                "passthrough",
                "",
                &[("timeout-tunnel", "1s")],
                Some(" beside timeout-tunnel"),
            ),
            ("timeout", "passthrough", "", &[("timeout-tunnel", "x")], None),
            ("timeout", "edge", "", &[("timeout-tunnel", "1s")], None),
            ("rewrite-target", "passthrough", "", &[], Some(" on a route with passthrough")),
            ("rewrite-target", "", "", &[], None),
            ("hsts_header", "", "", &[], Some(" on a route with no TLS")),
            ("hsts_header", "edge", "Allow", &[], None),
            (
                "cookie-same-site",
                "reencrypt",
                "Allow",
                &[],
                Some(" on a route with insecureEdgeTerminationPolicy Allow"),
            ),
            ("cookie-same-site", "edge", "Redirect", &[], None),
            ("ip_whitelist", "", "", &[("ip_allowlist", "::1")], Some(" beside ip_allowlist")),
            ("ip_whitelist", "", "", &[("ip_allowlist", " ")], None),
            (limits, "", "", &[("rate-limit-connections", "T")], None),
            (limits, "", "", &[("rate-limit-connections", "no")], off),
            (limits, "", "", &[], off),
            ("rate-limit-connections", "", "", &[], None),
        ];
        for (name, termination, insecure, annotations, said) in rows {
            let route = route(termination, insecure, annotations);
            assert_eq!(
                named(name).idle(&route).as_deref(),
                *said,
                "{name} {termination} {insecure}"
            );
        }
        assert!(named("pool-size").idle(&route("", "", &[])).is_some());
    }
}
