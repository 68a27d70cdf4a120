//! Names of load balancers and target groups, made as the controllers make them (A.14).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use data_encoding::HEXLOWER;

use super::{Controller, Report};
use crate::model::{objects::Stored, service::Service};

/// Longest name of a load balancer.
const MAX_NAME: usize = 32;

/// The name of the load balancer of a Service.
pub(super) fn balancer(report: &mut Report<'_>, controller: Controller) -> String {
    let stored = report.stored;
    match (controller, report.annotation("name")) {
        (Controller::Lbc, Some(name)) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let edge = name.starts_with('-') || name.ends_with('-');
            if name.is_empty() || name.len() > MAX_NAME || edge || !name.bytes().all(fits) {
                let text = format!("the name \"{name}\" is not one of a load balancer");
                let fix = "at most 32 letters, digits and hyphens, no hyphen at either end";
                report.refuse(&super::annotations::field("name"), text, fix);
            }
            name.to_owned()
        },
        (Controller::Lbc, None) => {
            let scheme = report.annotation("scheme").unwrap_or("internal");
            let hash = HEXLOWER
                .encode(digest(&SHA256, format!("{}{scheme}", uid(stored)).as_bytes()).as_ref());
            with_hash(stored, &hash)
        },
        (Controller::InTree, _) => {
            let hex = match Some(&*stored.object.uid).filter(|uid| !uid.is_empty()) {
                Some(uid) => uid.replace('-', ""),
                None => HEXLOWER.encode(digest(&SHA256, uid(stored).as_bytes()).as_ref()),
            };
            format!("a{hex}").chars().take(MAX_NAME).collect()
        },
    }
}

/// What the name of a target group depends on, in the order of the controllers; the identifier of a
/// cluster, which manifests do not have, is empty.
pub(super) struct GroupKey<'a> {
    pub(super) port: u16,
    pub(super) target_port: u16,
    pub(super) protocol: &'a str,
    pub(super) target_type: &'a str,
    /// Protocol and interval of the check, as the AWS Load Balancer Controller has them.
    pub(super) check: (&'a str, i64),
}

/// `k8s-<namespace, 8>-<name, 8>-<10 hex digits>`.
pub(super) fn group(
    stored: &Stored<Service>,
    controller: Controller,
    key: &GroupKey<'_>,
) -> String {
    let GroupKey { port, target_port, protocol, target_type, check } = key;
    let hash = match controller {
        Controller::InTree => {
            let (namespace, name) = (&stored.key.namespace, &stored.key.name);
            let text = format!("{namespace}{name}{port}{target_port}{protocol}{target_type}");
            digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())
        },
        Controller::Lbc => {
            let (check, interval) = check;
            let uid = uid(stored);
            let text = format!("{uid}{target_port}{port}{target_type}{protocol}{check}{interval}");
            digest(&SHA256, text.as_bytes())
        },
    };
    with_hash(stored, &HEXLOWER.encode(hash.as_ref()))
}

/// The identity of the Service; a manifest without one has its namespace and name.
fn uid(stored: &Stored<Service>) -> String {
    match Some(&*stored.object.uid).filter(|uid| !uid.is_empty()) {
        Some(uid) => uid.to_owned(),
        None => stored.key.to_string(),
    }
}

fn with_hash(stored: &Stored<Service>, hash: &str) -> String {
    let short = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
    };
    let hash: String = hash.chars().take(10).collect();
    format!("k8s-{}-{}-{hash}", short(&stored.key.namespace), short(&stored.key.name))
}
