//! The variables of who this router is in route status, and which claims it admits (spec/route.md 17.1).

use super::{
    super::{Kind, Outcome, RouterSettings, Row, row::nothing},
    row,
};

/// Where two rows set the same thing, the later one wins.
pub const IDENTITY: &[Row] = &[
    row("ROUTER_SERVICE_NAME", "name in route status", Kind::Text(router_name))
        .flags(&["--router-name", "--name"])
        .shows(|settings| settings.router_name.clone()),
    nothing(
        "ROUTER_SERVICE_NAMESPACE",
        "must stand beside ROUTER_SERVICE_NAME; no object is looked up by it",
    ),
    row(
        "WHARF_CLUSTER_DOMAIN",
        "cluster domain",
        Kind::Text(|settings, value| {
            value.clone_into(&mut settings.cluster_domain);
            Outcome::Used
        }),
    )
    .flags(&["--cluster-domain"])
    .shows(|settings| settings.cluster_domain.clone()),
    row(
        "ROUTER_UPDATE_STATUS",
        "this router's entry is in route status",
        Kind::Bool(|settings, flag| settings.update_status = flag),
    )
    .flags(&["--update-status"])
    .shows(|settings| settings.update_status.to_string()),
    row(
        "UPGRADE_VALIDATION",
        "takes the condition UnservableInFutureVersions away where nothing is found",
        Kind::Bool(|settings, flag| settings.upgrade.validation = flag),
    )
    .flags(&["--upgrade-validation"])
    .shows(|settings| settings.upgrade.validation.to_string()),
    row(
        "DEBUG_UPGRADE_VALIDATION_FORCE_ADD_CONDITION",
        "gives every admitted route the condition UnservableInFutureVersions",
        Kind::Bool(|settings, flag| settings.upgrade.force_add = flag),
    )
    .flags(&["--debug-upgrade-validation-force-add-condition"])
    .shows(|settings| settings.upgrade.force_add.to_string()),
    nothing(
        "DEBUG_UPGRADE_VALIDATION_FORCE_REMOVE_CONDITION",
        "validation finds nothing and takes the condition away as it is",
    )
    .flags(&["--debug-upgrade-validation-force-remove-condition"]),
    row(
        "ROUTER_DOMAIN",
        "suffix of generated hosts, and what a spec.subdomain stands before",
        Kind::Text(domain),
    )
    .flags(&["--router-domain"])
    .shows(|settings| settings.domain.clone()),
    row(
        "ROUTER_ALLOW_WILDCARD_ROUTES",
        "admits wildcardPolicy: Subdomain",
        Kind::Bool(|settings, flag| settings.allow_wildcard_routes = flag),
    )
    .flags(&["--allow-wildcard-routes"])
    .shows(|settings| settings.allow_wildcard_routes.to_string()),
    row(
        "ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK",
        "namespaces may share a host",
        Kind::Bool(|settings, flag| settings.disable_namespace_ownership_check = flag),
    )
    .flags(&["--disable-namespace-ownership-check"])
    .shows(|settings| settings.disable_namespace_ownership_check.to_string()),
];

fn router_name(settings: &mut RouterSettings, value: &str) -> Outcome {
    value.clone_into(&mut settings.router_name);
    Outcome::Used
}

fn domain(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.domain = value.to_ascii_lowercase();
    Outcome::Used
}
