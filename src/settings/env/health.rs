//! The rows of ejection, slow start and retries in the table of environment variables.

use std::time::Duration;

use super::{Kind, Row, rows::row, show};
use crate::settings::health::MAX_EJECT_FAILURES;

/// What the router does about endpoints that fail (reliability.md 2.3, 2.4, 2.6).
pub const HEALTH: &[Row] = &[
    row(
        "WHARF_EJECT",
        "endpoints that cannot be connected to get no requests for a while",
        Kind::Bool(|settings, on| settings.health.ejection.on = on),
    )
    .shows(|settings| settings.health.ejection.on.to_string()),
    row(
        "WHARF_EJECT_FAILURES",
        "failed connections that eject an endpoint",
        Kind::Number(1, MAX_EJECT_FAILURES, |settings, value| {
            settings.health.ejection.failures = value;
        }),
    )
    .shows(|settings| settings.health.ejection.failures.to_string()),
    row(
        "WHARF_EJECT_WINDOW",
        "time in which they must fall",
        Kind::Duration(|settings, value| settings.health.ejection.window = value),
    )
    .shows(|settings| show::duration(settings.health.ejection.window)),
    row(
        "WHARF_EJECT_TIME",
        "length of the first ejection; the nth in a row is n times as long",
        Kind::Duration(|settings, value| settings.health.ejection.time = value),
    )
    .shows(|settings| show::duration(settings.health.ejection.time)),
    row(
        "WHARF_EJECT_MAX_PERCENT",
        "endpoints of a route, and of each of its Services, that are ejected at once",
        Kind::Number(0, 100, |settings, value| settings.health.ejection.max_percent = value),
    )
    .shows(|settings| settings.health.ejection.max_percent.to_string()),
    row(
        "WHARF_SLOW_START",
        "how long a new endpoint takes to get its whole share",
        Kind::Duration(|settings, value| settings.health.slow_start = value),
    )
    .shows(|settings| match settings.health.slow_start {
        Duration::ZERO => String::new(),
        length => show::duration(length),
    }),
    row(
        "WHARF_RETRY_PERCENT",
        "retries in percent of requests, over ten seconds; 300 for any number",
        Kind::Number(0, 300, |settings, value| settings.health.retries.percent = value),
    )
    .shows(|settings| settings.health.retries.percent.to_string()),
    row(
        "WHARF_RETRY_FLOOR",
        "retries for each second that are allowed beside these",
        Kind::Number(0, 1_000_000, |settings, value| settings.health.retries.floor = value),
    )
    .shows(|settings| settings.health.retries.floor.to_string()),
];
