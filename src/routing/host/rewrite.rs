//! The host that this router gives a route [HOST-1, HOST-2]: a subdomain of the router's domain, or the
//! router's own template.
//!
//! Built once from the settings; compile asks it for each route before any check [PIPE-3], and uses
//! what it answers from there on. The object keeps its host.

use std::borrow::Cow;

use super::domains::DomainList;
use crate::settings::RouterSettings;

/// What a rewrite looks at.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Namespace of the route.
    pub namespace: &'a str,
    /// Name of the route.
    pub name: &'a str,
    /// `spec.host`.
    pub host: &'a str,
    /// `spec.subdomain`.
    pub subdomain: &'a str,
}

/// The rules of a router.
#[derive(Clone, Debug, Default)]
pub struct Rewriter {
    /// `ROUTER_DOMAIN`; empty for none.
    domain: String,
    /// `ROUTER_SUBDOMAIN`; `None` when there is none or it cannot be expanded.
    template: Option<Vec<Piece>>,
    /// `ROUTER_OVERRIDE_HOSTNAME`.
    overrides_all: bool,
    /// `ROUTER_OVERRIDE_DOMAINS`.
    overrides: DomainList,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Namespace,
}

impl Rewriter {
    /// The rules that `settings` ask for.
    #[must_use]
    pub fn new(settings: &RouterSettings) -> Self {
        let admission = &settings.admission;
        Self {
            domain: settings.domain.clone(),
            template: parse(&admission.hostname_template),
            overrides_all: admission.override_hostname,
            overrides: admission.override_domains.iter().collect(),
        }
    }

    /// The host of a route; empty when it has none [HOST-4].
    #[must_use]
    pub fn host<'a>(&self, route: Named<'a>) -> Cow<'a, str> {
        let mut host = Cow::Borrowed(route.host);
        if host.is_empty() && !route.subdomain.is_empty() && !self.domain.is_empty() {
            host = Cow::Owned(format!("{}.{}", route.subdomain, self.domain));
        }
        match &self.template {
            Some(pieces)
                if host.is_empty() || self.overrides_all || self.overrides.contains(&host) =>
            {
                Cow::Owned(expand(pieces, route))
            },
            _ => host,
        }
    }
}

fn expand(pieces: &[Piece], route: Named<'_>) -> String {
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Name => route.name,
            Piece::Namespace => route.namespace,
        })
        .collect();
    text.trim_matches(['"', '\'']).to_owned()
}

/// Reads a template the way Go's `os.Expand` does, which OpenShift's router uses: `${name}` and `$name`
/// are variables, `${}` and an open `${` vanish, any other `$` stays. `None` without a template, and
/// when it names an unknown variable: such a template changes nothing.
fn parse(template: &str) -> Option<Vec<Piece>> {
    if template.is_empty() {
        return None;
    }
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        pieces.push(Piece::Text(rest[..dollar].to_owned()));
        let tail = &rest[dollar + 1..];
        let (variable, used) = variable(tail);
        match variable {
            "name" => pieces.push(Piece::Name),
            "namespace" => pieces.push(Piece::Namespace),
            "" if used == 0 => pieces.push(Piece::Text("$".to_owned())),
            "" => {},
            _ => return None,
        }
        rest = &tail[used..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Some(pieces)
}

/// The name of the variable behind a `$`, and the bytes that it takes.
fn variable(text: &str) -> (&str, usize) {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.find('}').map_or(("", 1), |end| (&braced[..end], end + 2));
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || "*#$@!?-".contains(c)) {
        return text.split_at_checked(1).map_or(("", 0), |(name, _)| (name, 1));
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (&text[..end], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewriter(domain: &str, template: &str, all: bool, domains: &[&str]) -> Rewriter {
        let mut settings =
            RouterSettings { domain: domain.to_owned(), ..RouterSettings::default() };
        settings.admission.hostname_template = template.to_owned();
        settings.admission.override_hostname = all;
        settings.admission.override_domains = domains.iter().map(ToString::to_string).collect();
        Rewriter::new(&settings)
    }

    fn host(rewriter: &Rewriter, host: &str, subdomain: &str) -> String {
        let named = Named { namespace: "app", name: "shop", host, subdomain };
        rewriter.host(named).into_owned()
    }

    /// [HOST-1]
    #[test]
    fn host_1_a_subdomain_goes_before_the_domain_of_the_router() {
        let plain = rewriter("apps.test", "", false, &[]);
        assert_eq!(host(&plain, "", "a.b"), "a.b.apps.test");
        assert_eq!(host(&plain, "x.test", "a.b"), "x.test", "the host wins");
        assert_eq!(host(&plain, "", ""), "", "[HOST-4]");
        assert_eq!(host(&rewriter("", "", false, &[]), "", "a.b"), "", "no domain");
    }

    /// [HOST-2]: for a route without host, for all, or for those of some domains.
    #[test]
    fn host_2_the_template_replaces_what_it_is_meant_for() {
        let template = "${name}-${namespace}.apps.test";
        let empty = rewriter("", template, false, &[]);
        assert_eq!(host(&empty, "", ""), "shop-app.apps.test");
        assert_eq!(host(&empty, "", "sub"), "shop-app.apps.test", "no domain for the subdomain");
        assert_eq!(host(&empty, "x.test", ""), "x.test");
        let with_domain = rewriter("d.test", template, false, &[]);
        assert_eq!(host(&with_domain, "", "sub"), "sub.d.test", "[HOST-1] comes first");
        let all = rewriter("", template, true, &[]);
        assert_eq!(host(&all, "x.test", ""), "shop-app.apps.test");
        let some = rewriter("d.test", template, false, &["x.test", "d.test"]);
        assert_eq!(host(&some, "a.x.test", ""), "shop-app.apps.test");
        assert_eq!(host(&some, "a.y.test", ""), "a.y.test");
        assert_eq!(host(&some, "", "sub"), "shop-app.apps.test", "also what [HOST-1] made");
    }

    /// [HOST-2]: the grammar of templates.
    #[test]
    fn host_2_templates_expand_like_those_of_the_shell() {
        for (template, want) in [
            ("$name.$namespace.test", "shop.app.test"),
            ("${name}${namespace}", "shopapp"),
            ("\"${name}.test\"", "shop.test"),
            ("'$name.test'", "shop.test"),
            ("fixed.test", "fixed.test"),
            ("$name_x.test", "x.test"),
            ("${other}.$name", "x.test"),
            ("$1.test", "x.test"),
            ("${}a${name}", "ashop"),
            ("a${name", "aname"),
            ("a$.b$", "a$.b$"),
        ] {
            assert_eq!(host(&rewriter("", template, true, &[]), "x.test", ""), want, "{template}");
        }
    }
}
