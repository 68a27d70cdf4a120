//! The variables of who this router is in route status, and which claims it admits (spec/route.md 17.1).

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    accept, row,
};

/// Where two rows set the same thing, the later one wins.
pub const IDENTITY: &[Row] = &[
    row("ROUTER_SERVICE_NAME", "name in route status", Kind::Text(router_name)),
    row("ROUTER_SERVICE_NAMESPACE", "required with ROUTER_SERVICE_NAME", Kind::Text(accept)),
    row(
        "ROUTER_UPDATE_STATUS",
        "this router's entry is in route status",
        Kind::Bool(|settings, flag| settings.update_status = flag),
    ),
    row(
        "UPGRADE_VALIDATION",
        "takes the condition UnservableInFutureVersions away where nothing is found",
        Kind::Bool(|settings, flag| settings.upgrade.validation = flag),
    ),
    row(
        "DEBUG_UPGRADE_VALIDATION_FORCE_ADD_CONDITION",
        "gives every admitted route the condition UnservableInFutureVersions",
        Kind::Bool(|settings, flag| settings.upgrade.force_add = flag),
    ),
    row(
        "DEBUG_UPGRADE_VALIDATION_FORCE_REMOVE_CONDITION",
        "accepted; validation finds nothing and takes the condition away as it is",
        Kind::Text(accept),
    ),
    row(
        "ROUTER_DOMAIN",
        "suffix of generated hosts, and what a spec.subdomain stands before",
        Kind::Text(domain),
    ),
    row(
        "ROUTER_ALLOW_WILDCARD_ROUTES",
        "admits wildcardPolicy: Subdomain",
        Kind::Bool(|settings, flag| settings.allow_wildcard_routes = flag),
    ),
    row(
        "ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK",
        "namespaces may share a host",
        Kind::Bool(|settings, flag| settings.disable_namespace_ownership_check = flag),
    ),
];

fn router_name(settings: &mut RouterSettings, value: &str) -> Outcome {
    value.clone_into(&mut settings.router_name);
    Outcome::Used
}

fn domain(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.domain = value.to_ascii_lowercase();
    Outcome::Used
}
