//! Settings on which routes this router serves and under which host (spec/route.md 3, 8).
//!
//! Part of [`super::RouterSettings`]; [`AdmissionSettings::check`] runs once, after environment and
//! command line, because its rules are about several settings.

use crate::model::selector::{LabelSelector, fields::FieldSelector};

/// Which routes are served, and under which host.
#[derive(Clone, Debug, Default)]
pub struct AdmissionSettings {
    /// Template of hosts [HOST-2]; empty for none. ROUTER_SUBDOMAIN.
    pub hostname_template: String,
    /// The template replaces every host [HOST-2]. ROUTER_OVERRIDE_HOSTNAME.
    pub override_hostname: bool,
    /// The template replaces hosts in these domains [HOST-2]. ROUTER_OVERRIDE_DOMAINS.
    pub override_domains: Vec<String>,
    /// Hosts in these domains are refused [ADM-2]. ROUTER_DENIED_DOMAINS.
    pub denied_domains: Vec<String>,
    /// Hosts outside of these domains are refused; empty for no such rule [ADM-2].
    /// ROUTER_ALLOWED_DOMAINS.
    pub allowed_domains: Vec<String>,
    /// Labels of the routes that exist for this router [SHARD-1]. ROUTE_LABELS.
    pub route_labels: LabelSelector,
    /// Fields of the routes that exist for this router [SHARD-1]. ROUTE_FIELDS.
    pub route_fields: FieldSelector,
    /// The only namespace of this router; all when absent [SHARD-1].
    pub namespace: Option<String>,
    /// Labels of the namespaces of this router; all when absent [SHARD-1]. NAMESPACE_LABELS.
    pub namespace_labels: Option<LabelSelector>,
    /// The same under its older name. PROJECT_LABELS.
    pub project_labels: Option<ProjectLabels>,
}

/// A value of PROJECT_LABELS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectLabels {
    /// `*`: every namespace.
    All,
    /// Those with these labels.
    Labels(LabelSelector),
}

impl std::str::FromStr for ProjectLabels {
    type Err = crate::model::selector::SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::Labels) }
    }
}

/// Settings that cannot stand together; the start stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// [HOST-3]
    #[error("ROUTER_OVERRIDE_HOSTNAME (--override-hostname) needs ROUTER_SUBDOMAIN")]
    OverrideHostname,
    /// [HOST-3]
    #[error("ROUTER_OVERRIDE_DOMAINS (--override-domains) needs ROUTER_SUBDOMAIN")]
    OverrideDomains,
    /// [SHARD-1]
    #[error("only one of --namespace, NAMESPACE_LABELS and PROJECT_LABELS may be set")]
    Namespaces,
}

impl AdmissionSettings {
    /// Checks what holds between settings.
    ///
    /// # Errors
    /// When some of them contradict each other.
    pub fn check(&self) -> Result<(), AdmissionError> {
        if self.hostname_template.is_empty() {
            if self.override_hostname {
                return Err(AdmissionError::OverrideHostname);
            }
            if !self.override_domains.is_empty() {
                return Err(AdmissionError::OverrideDomains);
            }
        }
        let ways = [
            self.namespace.is_some(),
            self.namespace_labels.is_some(),
            self.project_labels.is_some(),
        ];
        if ways.into_iter().filter(|set| *set).count() > 1 {
            return Err(AdmissionError::Namespaces);
        }
        Ok(())
    }

    /// The labels that the namespaces of this router must have; `None` when any will do.
    #[must_use]
    pub const fn namespace_selector(&self) -> Option<&LabelSelector> {
        match (&self.namespace_labels, &self.project_labels) {
            (Some(labels), _) | (None, Some(ProjectLabels::Labels(labels))) => Some(labels),
            (None, Some(ProjectLabels::All) | None) => None,
        }
    }
}
