//! Settings on which routes this router serves and under which host (spec/route.md 3, 8).
//!
//! Part of [`super::RouterSettings`]; [`AdmissionSettings::check`] runs once, after environment and
//! command line, because the rules are about several settings.

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
}
