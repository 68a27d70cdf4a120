//! The variables of admission and sharding (spec/route.md 17.1).

use std::{net::IpAddr, str::FromStr};

use super::{Kind, Outcome, RouterSettings, Row, rows::row, show};
use crate::model::{grammar, selector::SelectorError};

/// Every variable that says which routes are served, and under which host.
pub const ADMISSION: &[Row] = &[
    row(
        "ROUTER_CANONICAL_HOSTNAME",
        "routerCanonicalHostname in route status",
        Kind::Text(canonical_hostname),
    )
    .flags(&["--router-canonical-hostname"])
    .shows(|settings| settings.canonical_hostname.clone()),
    row(
        "ROUTER_SUBDOMAIN",
        "template of hosts, with ${name} and ${namespace}",
        Kind::Text(|settings, value| {
            value.clone_into(&mut settings.admission.hostname_template);
            Outcome::Used
        }),
    )
    .flags(&["--hostname-template"])
    .shows(|settings| settings.admission.hostname_template.clone()),
    row(
        "ROUTER_OVERRIDE_HOSTNAME",
        "the template replaces every host",
        Kind::Bool(|settings, flag| settings.admission.override_hostname = flag),
    )
    .flags(&["--override-hostname"])
    .shows(|settings| settings.admission.override_hostname.to_string()),
    row(
        "ROUTER_OVERRIDE_DOMAINS",
        "the template replaces hosts in these domains",
        Kind::List(',', |settings, values| list(&mut settings.admission.override_domains, values)),
    )
    .flags(&["--override-domains"])
    .shows(|settings| show::list(&settings.admission.override_domains)),
    row(
        "ROUTER_DENIED_DOMAINS",
        "hosts in these domains are refused",
        Kind::List(',', |settings, values| list(&mut settings.admission.denied_domains, values)),
    )
    .flags(&["--denied-domains"])
    .shows(|settings| show::list(&settings.admission.denied_domains)),
    row(
        "ROUTER_ALLOWED_DOMAINS",
        "hosts outside of these domains are refused",
        Kind::List(',', |settings, values| list(&mut settings.admission.allowed_domains, values)),
    )
    .flags(&["--allowed-domains"])
    .shows(|settings| show::list(&settings.admission.allowed_domains)),
    row(
        "WHARF_NAMESPACE",
        "the only namespace of this router",
        Kind::Text(|settings, value| {
            settings.admission.namespace = Some(value.to_owned()).filter(|name| !name.is_empty());
            Outcome::Used
        }),
    )
    .flags(&["--namespace"])
    .shows(|settings| show::option(settings.admission.namespace.as_ref())),
    row(
        "ROUTE_LABELS",
        "label selector of the routes of this router",
        Kind::Text(|settings, value| {
            selector(value, |labels| settings.admission.route_labels = labels)
        }),
    )
    .flags(&["--labels"])
    .shows_text(),
    row(
        "ROUTE_FIELDS",
        "field selector of the routes of this router",
        Kind::Text(|settings, value| {
            selector(value, |fields| settings.admission.route_fields = fields)
        }),
    )
    .flags(&["--fields"])
    .shows_text(),
    row(
        "NAMESPACE_LABELS",
        "label selector of the namespaces of this router",
        Kind::Text(|settings, value| {
            selector(value, |labels| settings.admission.namespace_labels = Some(labels))
        }),
    )
    .flags(&["--namespace-labels"])
    .shows_text(),
    row(
        "PROJECT_LABELS",
        "the same under its older name; * for all",
        Kind::Text(|settings, value| {
            selector(value, |labels| settings.admission.project_labels = Some(labels))
        }),
    )
    .flags(&["--project-labels"])
    .shows_text(),
];

fn selector<S: FromStr<Err = SelectorError>>(value: &str, set: impl FnOnce(S)) -> Outcome {
    match value.parse() {
        Ok(selector) => {
            set(selector);
            Outcome::Used
        },
        Err(error) => Outcome::Refused(error.problem()),
    }
}

/// A list of domains [ADM-1], each without white space around it.
fn list(place: &mut Vec<String>, values: &[&str]) -> Outcome {
    *place = values.iter().filter(|d| !d.is_empty()).map(|d| (*d).to_owned()).collect();
    Outcome::Used
}

/// What `routerCanonicalHostname` may be (spec/route.md 8.2).
#[must_use]
pub fn is_canonical_hostname(value: &str) -> bool {
    grammar::is_dns_subdomain(value) && value.parse::<IpAddr>().is_err()
}

fn canonical_hostname(settings: &mut RouterSettings, value: &str) -> Outcome {
    if !is_canonical_hostname(value) {
        return Outcome::Refused("expected a DNS name such as router.apps.example.com");
    }
    value.clone_into(&mut settings.canonical_hostname);
    Outcome::Used
}

#[cfg(test)]
mod tests {
    use super::super::tests::{quiet, read};
    use crate::settings::admission::{AdmissionError, ProjectLabels};

    #[test]
    fn adm_1_lists_are_trimmed_and_empty_entries_dropped() {
        let settings = quiet(&[
            ("ROUTER_DENIED_DOMAINS", " a.test , ,b.test,"),
            ("ROUTER_ALLOWED_DOMAINS", "c.test"),
            ("ROUTER_OVERRIDE_DOMAINS", ","),
        ]);
        assert_eq!(settings.admission.denied_domains, ["a.test", "b.test"]);
        assert_eq!(settings.admission.allowed_domains, ["c.test"]);
        assert!(settings.admission.override_domains.is_empty());
    }

    /// [HOST-3]
    #[test]
    fn host_3_overrides_without_a_template_stop_the_start() {
        let check = |vars: &[_]| quiet(vars).admission.check();
        let template = ("ROUTER_SUBDOMAIN", "${name}.test");
        let all = ("ROUTER_OVERRIDE_HOSTNAME", "true");
        let some = ("ROUTER_OVERRIDE_DOMAINS", "a.test");
        assert_eq!(check(&[all]), Err(AdmissionError::OverrideHostname));
        assert_eq!(check(&[some]), Err(AdmissionError::OverrideDomains));
        assert_eq!(check(&[template, all, some]), Ok(()));
        assert_eq!(check(&[template]), Ok(()));
        assert_eq!(check(&[("ROUTER_OVERRIDE_HOSTNAME", "false")]), Ok(()));
        let settings = quiet(&[template, all, some]).admission;
        assert_eq!(settings.hostname_template, "${name}.test");
        assert!(settings.override_hostname);
        assert_eq!(settings.override_domains, ["a.test"]);
    }

    /// [SHARD-1]
    #[test]
    fn shard_1_ways_to_choose_namespaces_exclude_each_other() {
        let labels = ("NAMESPACE_LABELS", "a=b");
        let projects = ("PROJECT_LABELS", "*");
        let both = quiet(&[labels, projects]);
        assert_eq!(both.admission.check(), Err(AdmissionError::Namespaces));
        for one in [labels, projects, ("NAMESPACE_LABELS", "")] {
            let mut settings = quiet(&[one]).admission;
            assert_eq!(settings.check(), Ok(()), "{one:?}");
            let alone = settings.namespace_labels.is_none() && settings.project_labels.is_none();
            settings.namespace = Some("app".to_owned());
            assert_eq!(settings.check().is_ok(), alone, "{one:?}");
        }
    }

    /// [SHARD-1]
    #[test]
    fn shard_1_selectors_are_read_and_bad_ones_stop_the_start() {
        let settings = quiet(&[("ROUTE_LABELS", "a in (b)"), ("ROUTE_FIELDS", "spec.host=x")]);
        assert_eq!(settings.admission.route_labels, "a=b".parse().unwrap());
        assert_eq!(settings.admission.route_fields, "spec.host==x".parse().unwrap());
        assert_eq!(settings.admission.namespace_selector(), None);
        let settings = quiet(&[("PROJECT_LABELS", "*")]).admission;
        assert_eq!(settings.project_labels, Some(ProjectLabels::All));
        assert_eq!(settings.namespace_selector(), None);
        for name in ["PROJECT_LABELS", "NAMESPACE_LABELS"] {
            let settings = quiet(&[(name, "!a")]).admission;
            assert_eq!(settings.namespace_selector(), Some(&"!a".parse().unwrap()), "{name}");
        }
        for (name, bad) in [
            ("ROUTE_LABELS", "a=*"),
            ("ROUTE_FIELDS", "status=x"),
            ("NAMESPACE_LABELS", "*"),
            ("PROJECT_LABELS", "* "),
        ] {
            let error = read(&[(name, bad)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={bad:?}: ")), "{error}");
        }
    }

    /// Section 8.2: a DNS name and no address.
    #[test]
    fn the_canonical_hostname_is_a_name() {
        let settings = quiet(&[("ROUTER_CANONICAL_HOSTNAME", "router.apps.test")]);
        assert_eq!(settings.canonical_hostname, "router.apps.test");
        for bad in ["10.0.0.1", "Router.test", "a..b", "*.test", "a_b", "::1"] {
            assert!(read(&[("ROUTER_CANONICAL_HOSTNAME", bad)]).is_err(), "{bad}");
        }
    }
}
