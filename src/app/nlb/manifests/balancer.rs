//! The attributes of a Service's load balancer: cross-zone and access log (A.6b, A.14).
//!
//! Called by `service`. Always holds: an access log goes to a directory that the command line names for
//! its bucket, or nowhere.

use std::collections::BTreeMap;

use super::{
    Controller, Report,
    annotations::{field, pairs},
    service::{Source, truth},
};
use crate::model::finding::codes;

const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const ACCESS_LOG: &str = "access_logs.s3.enabled";
const BUCKET: &str = "access_logs.s3.bucket";
const PREFIX: &str = "access_logs.s3.prefix";

/// What the annotations make of the load balancer; `attributes` counts more than one of its own.
pub(super) fn attributes(
    source: &Source<'_>,
    report: &mut Report<'_>,
) -> BTreeMap<&'static str, String> {
    let mut given = BTreeMap::new();
    let cross_zone = truth(report, "cross-zone-load-balancing-enabled").unwrap_or(false);
    given.insert(CROSS_ZONE, cross_zone.to_string());
    if truth(report, "access-log-enabled") == Some(true) {
        given.insert(ACCESS_LOG, "true".to_owned());
    }
    for (suffix, key) in
        [("access-log-s3-bucket-name", BUCKET), ("access-log-s3-bucket-prefix", PREFIX)]
    {
        if let Some(text) = report.annotation(suffix) {
            given.insert(key, text.to_owned());
        }
    }
    if source.controller == Controller::Lbc {
        for (key, value) in pairs(report, "attributes") {
            match [CROSS_ZONE, ACCESS_LOG, BUCKET, PREFIX].into_iter().find(|own| *own == key) {
                Some(own) => drop(given.insert(own, value)),
                None => {
                    let text = format!("the attribute {key} has no effect in this load balancer");
                    report.add(codes::BALANCER_NO_EFFECT, &field("attributes"), text, "");
                },
            }
        }
    }
    for key in [CROSS_ZONE, ACCESS_LOG] {
        if let Some(value) = given.get(key)
            && !matches!(value.as_str(), "true" | "false")
        {
            let text = format!("{key} is true or false, not \"{value}\"");
            report.refuse(&field("attributes"), text, "");
        }
    }
    access_log(source, report, &mut given);
    given
}

/// Puts the directory of the bucket in its place; without one there is no log.
fn access_log(
    source: &Source<'_>,
    report: &mut Report<'_>,
    given: &mut BTreeMap<&'static str, String>,
) {
    let bucket = given.remove(BUCKET).unwrap_or_default();
    if given.get(ACCESS_LOG).is_none_or(|value| value != "true") {
        return;
    }
    match source.options.buckets.get(&bucket) {
        Some(path) => drop(given.insert(BUCKET, path.display().to_string())),
        None => {
            given.remove(ACCESS_LOG);
            let text = format!("no folder is known for the bucket \"{bucket}\"; there is no log");
            let fix = "start `wharf nlb` with --bucket NAME=DIR";
            let field = field("access-log-s3-bucket-name");
            report.add(codes::BALANCER_NO_EFFECT, &field, text, fix);
        },
    }
}
