//! The attributes `access_logs.s3.*` of a load balancer (spec/l4-dns.md A.6b, A.11). A bucket is a
//! directory here.

use std::path::{Component, Path};

use serde_saphyr::Spanned;

use super::{
    attributes::{Attributes, truth},
    read::{ConfigError, duration, value},
};
use crate::nlb::accesslog::{AccessLogConfig, DEFAULT_INTERVAL};

const ENABLED: &str = "access_logs.s3.enabled";
const BUCKET: &str = "access_logs.s3.bucket";
const PREFIX: &str = "access_logs.s3.prefix";

/// True for an attribute that is read here.
pub(super) fn is_own(key: &str) -> bool {
    matches!(key, ENABLED | BUCKET | PREFIX)
}

/// The access log that the attributes ask for. The bucket is found from `directory`.
pub(super) fn build(
    attributes: &Attributes,
    interval: Option<&Spanned<f64>>,
    directory: &Path,
) -> Result<Option<AccessLogConfig>, ConfigError> {
    let interval = match interval {
        Some(seconds) => duration("accessLogIntervalSeconds", seconds, 0.01, 3600.0)?,
        None => DEFAULT_INTERVAL,
    };
    let prefix = attributes.get(PREFIX).map(prefix).transpose()?.unwrap_or_default();
    let enabled = match attributes.get(ENABLED) {
        Some(enabled) if truth(ENABLED, enabled)? => enabled,
        _ => return Ok(None),
    };
    match attributes.get(BUCKET) {
        Some(bucket) if !bucket.value.is_empty() => {
            Ok(Some(AccessLogConfig { bucket: directory.join(&bucket.value), prefix, interval }))
        },
        _ => Err(value(enabled, ENABLED, "false, or a directory given as access_logs.s3.bucket")),
    }
}

fn prefix(raw: &Spanned<String>) -> Result<String, ConfigError> {
    let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
    if raw.value.contains("AWSLogs") || !Path::new(&raw.value).components().all(is_name) {
        return Err(value(raw, PREFIX, "names separated by slashes, without AWSLogs"));
    }
    Ok(raw.value.trim_end_matches('/').to_owned())
}
