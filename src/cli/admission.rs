//! The flags of `wharf router` on which routes it serves and under which host (spec/route.md 17.1).

use clap::Args;

use crate::{
    model::selector::{LabelSelector, fields::FieldSelector},
    settings::{RouterSettings, admission::ProjectLabels, env},
};

/// Each flag wins over the variable of the same setting.
#[derive(Debug, Args)]
pub(super) struct AdmissionArgs {
    /// Canonical host name in route status
    #[arg(long, value_name = "NAME", value_parser = canonical_hostname)]
    router_canonical_hostname: Option<String>,
    /// Template of hosts, such as '${name}-${namespace}.apps.example.com'
    #[arg(long, value_name = "TEMPLATE")]
    hostname_template: Option<String>,
    /// Gives every route the host of the template
    #[arg(long)]
    override_hostname: bool,
    /// Gives routes of these domains the host of the template
    #[arg(long, value_name = "DOMAIN,...", value_delimiter = ',')]
    override_domains: Vec<String>,
    /// Refuses hosts in these domains
    #[arg(long, value_name = "DOMAIN,...", value_delimiter = ',')]
    denied_domains: Vec<String>,
    /// Refuses hosts outside of these domains
    #[arg(long, value_name = "DOMAIN,...", value_delimiter = ',')]
    allowed_domains: Vec<String>,
    /// Serves only routes with these labels, such as 'shard=a, tier in (web, api), !draft'
    #[arg(long, value_name = "SELECTOR")]
    labels: Option<LabelSelector>,
    /// Serves only routes with these fields, such as 'metadata.namespace=shop'
    #[arg(long, value_name = "SELECTOR")]
    fields: Option<FieldSelector>,
    /// Serves only this namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Serves only namespaces whose Namespace manifest has these labels
    #[arg(long, value_name = "SELECTOR")]
    namespace_labels: Option<LabelSelector>,
    /// The same; * for all namespaces
    #[arg(long, value_name = "SELECTOR")]
    project_labels: Option<ProjectLabels>,
}

fn canonical_hostname(text: &str) -> Result<String, &'static str> {
    if env::is_canonical_hostname(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a DNS name, not an address")
    }
}

impl AdmissionArgs {
    /// Puts what is given into `settings`.
    pub(super) fn apply(self, settings: &mut RouterSettings) {
        let admission = &mut settings.admission;
        super::dispatch::set(&mut settings.canonical_hostname, self.router_canonical_hostname);
        super::dispatch::set(&mut admission.hostname_template, self.hostname_template);
        admission.override_hostname |= self.override_hostname;
        domains(&mut admission.override_domains, self.override_domains);
        domains(&mut admission.denied_domains, self.denied_domains);
        domains(&mut admission.allowed_domains, self.allowed_domains);
        super::dispatch::set(&mut admission.route_labels, self.labels);
        super::dispatch::set(&mut admission.route_fields, self.fields);
        admission.namespace = self.namespace.filter(|name| !name.is_empty());
        admission.namespace_labels =
            self.namespace_labels.or_else(|| admission.namespace_labels.take());
        admission.project_labels = self.project_labels.or_else(|| admission.project_labels.take());
    }
}

/// A list of domains [ADM-1].
fn domains(place: &mut Vec<String>, given: Vec<String>) {
    if !given.is_empty() {
        let trimmed = given.iter().map(|domain| domain.trim());
        *place = trimmed.filter(|domain| !domain.is_empty()).map(Into::into).collect();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    /// The settings of a router with these flags.
    fn settings(flags: &[&str]) -> Option<RouterSettings> {
        let words = ["wharf", "router"].iter().chain(flags);
        let Command::Router(args) = Cli::try_parse_from(words).ok()?.command else { return None };
        let mut settings = RouterSettings::default();
        settings.admission.denied_domains = vec!["env.test".to_owned()];
        settings.admission.namespace_labels = Some("env".parse().ok()?);
        args.admission.apply(&mut settings);
        Some(settings)
    }

    #[test]
    fn every_flag_goes_to_its_own_setting() {
        let given = settings(&[
            "--router-canonical-hostname=router.test",
            "--hostname-template=${name}.test",
            "--override-hostname",
            "--override-domains=a.test, b.test",
            "--denied-domains=c.test",
            "--allowed-domains=d.test,,e.test",
            "--labels=a=b",
            "--fields=spec.host=x",
            "--namespace=app",
            "--namespace-labels=c",
            "--project-labels=*",
        ])
        .expect("the flags are understood");
        assert_eq!(given.canonical_hostname, "router.test");
        let admission = given.admission;
        assert_eq!(admission.hostname_template, "${name}.test");
        assert!(admission.override_hostname);
        assert_eq!(admission.override_domains, ["a.test", "b.test"]);
        assert_eq!(admission.denied_domains, ["c.test"], "the flag wins");
        assert_eq!(admission.allowed_domains, ["d.test", "e.test"]);
        assert_eq!(admission.route_labels, "a=b".parse().unwrap());
        assert_eq!(admission.route_fields, "spec.host=x".parse().unwrap());
        assert_eq!(admission.namespace.as_deref(), Some("app"));
        assert_eq!(admission.namespace_labels, Some("c".parse().unwrap()));
        assert_eq!(admission.project_labels, Some(ProjectLabels::All));
    }

    /// [SHARD-1]
    #[test]
    fn shard_1_what_is_not_given_stays_and_what_is_wrong_is_refused() {
        let none = settings(&[]).expect("no flag is needed").admission;
        assert_eq!(none.denied_domains, ["env.test"]);
        assert_eq!(none.namespace_labels, Some("env".parse().unwrap()));
        assert_eq!(none.namespace, None);
        assert!(none.route_labels.is_empty() && none.project_labels.is_none());
        let one = settings(&["--namespace=app"]).expect("it is understood").admission;
        assert!(one.check().is_err(), "of the environment and the command line together");
        for bad in [
            "--labels=a in b",
            "--fields=status=x",
            "--namespace-labels=*",
            "--project-labels=**",
            "--router-canonical-hostname=10.0.0.1",
        ] {
            assert!(settings(&[bad]).is_none(), "{bad}");
        }
    }
}
