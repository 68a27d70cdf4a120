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
