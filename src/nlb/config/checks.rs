//! Health checks of a target group, as configured (spec/l4-dns.md A.5).

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    CheckConfig, CheckProtocol, SendProxyHeader,
    attributes::GroupAttributes,
    read::{ConfigError, duration, value},
};
use crate::{health::Rules, probe::Matcher};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawCheck {
    enabled: Option<bool>,
    #[serde(default)]
    protocol: RawCheckProtocol,
    port: Option<Spanned<String>>,
    path: Option<Spanned<Arc<str>>>,
    interval_seconds: Option<Spanned<f64>>,
    timeout_seconds: Option<Spanned<f64>>,
    healthy_threshold_count: Option<Spanned<u32>>,
    unhealthy_threshold_count: Option<Spanned<u32>>,
    matcher: Option<Spanned<String>>,
    send_proxy_header: Option<SendProxyHeader>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum RawCheckProtocol {
    Http,
    Https,
    #[default]
    Tcp,
}

/// Lower bounds of checks.
#[derive(Clone, Copy)]
pub(super) enum Bounds {
    Aws,
    Fast,
}

pub(super) fn build_check(
    raw: &RawCheck,
    attributes: &GroupAttributes,
    bounds: Bounds,
) -> Result<CheckConfig, ConfigError> {
    let (interval_from, timeout_from) = match bounds {
        Bounds::Aws => (5.0, 2.0),
        Bounds::Fast => (0.01, 0.01),
    };
    let interval = match &raw.interval_seconds {
        Some(seconds) => duration("intervalSeconds", seconds, interval_from, 300.0)?,
        None => Duration::from_secs(30),
    };
    let timeout = match &raw.timeout_seconds {
        Some(seconds) => duration("timeoutSeconds", seconds, timeout_from, 120.0)?,
        None if raw.protocol == RawCheckProtocol::Http => Duration::from_secs(6),
        None => Duration::from_secs(10),
    };
    Ok(CheckConfig {
        protocol: check_protocol(raw)?,
        port: check_port(raw)?,
        interval,
        timeout,
        enabled: raw.enabled.unwrap_or(true),
        checkers: 1,
        rules: Rules {
            healthy_threshold: threshold("healthyThresholdCount", &raw.healthy_threshold_count, 5)?,
            unhealthy_threshold: threshold(
                "unhealthyThresholdCount",
                &raw.unhealthy_threshold_count,
                2,
            )?,
            on_unhealthy: attributes.on_unhealthy(),
        },
        send_proxy_header: raw.send_proxy_header.unwrap_or(SendProxyHeader::TrafficPortOnly),
    })
}

fn check_protocol(raw: &RawCheck) -> Result<CheckProtocol, ConfigError> {
    if raw.protocol == RawCheckProtocol::Tcp {
        if let Some(path) = &raw.path {
            return Err(value(path, "path", "left out with protocol TCP"));
        }
        return match &raw.matcher {
            Some(matcher) => Err(value(matcher, "matcher", "left out with protocol TCP")),
            None => Ok(CheckProtocol::Tcp),
        };
    }
    let path = match &raw.path {
        None => "/".into(),
        Some(path) => match path.value.parse::<http::uri::PathAndQuery>() {
            Ok(_) if path.value.starts_with('/') => path.value.clone(),
            _ => return Err(value(path, "path", "a path that starts with `/`")),
        },
    };
    let matcher = match &raw.matcher {
        None => Matcher::default(),
        Some(text) => text.value.parse().map_err(|_not_a_list| {
            value(text, "matcher", "codes from 200 to 599 such as `200`, `200,202` or `200-399`")
        })?,
    };
    Ok(match raw.protocol {
        RawCheckProtocol::Https => CheckProtocol::Https { path, matcher },
        _ => CheckProtocol::Http { path, matcher },
    })
}

fn check_port(raw: &RawCheck) -> Result<Option<u16>, ConfigError> {
    match &raw.port {
        None => Ok(None),
        Some(port) if port.value == "traffic-port" => Ok(None),
        Some(port) => match port.value.parse() {
            Ok(number @ 1..) => Ok(Some(number)),
            _ => Err(value(port, "port", "`traffic-port` or a port")),
        },
    }
}

fn threshold(name: &str, raw: &Option<Spanned<u32>>, default: u32) -> Result<u32, ConfigError> {
    match raw {
        None => Ok(default),
        Some(count) if (2..=10).contains(&count.value) => Ok(count.value),
        Some(count) => Err(value(count, name, "a number from 2 to 10")),
    }
}
