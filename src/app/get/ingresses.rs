//! Ingresses as `kubectl get ingress` prints them.
//!
//! Called by `get`. Pure: the time comes in.

use std::time::{Duration, SystemTime};

use k8s_openapi::{api::networking::v1::Ingress, apimachinery::pkg::apis::meta::v1::Time};

pub(super) const COLUMNS: &[&str] =
    &["NAMESPACE", "NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"];

/// Hosts that are shown.
const HOSTS: usize = 3;
/// Longest address that is shown whole.
const ADDRESS: usize = 16;

/// The row of an Ingress.
pub(super) fn row(ingress: &Ingress, wide: bool, now: SystemTime) -> Vec<String> {
    let metadata = &ingress.metadata;
    let spec = ingress.spec.clone().unwrap_or_default();
    let hosts = spec.rules.iter().flatten().map(|rule| rule.host.as_deref().unwrap_or_default());
    let ports = if spec.tls.is_none_or(|tls| tls.is_empty()) { "80" } else { "80, 443" };
    vec![
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
        spec.ingress_class_name.unwrap_or_else(|| "<none>".to_owned()),
        self::hosts(&hosts.collect::<Vec<_>>()),
        address(ingress, wide),
        ports.to_owned(),
        metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(|| "<unknown>".to_owned(), |created| age(created, now)),
    ]
}

/// The first hosts, and how many rules are left.
fn hosts(all: &[&str]) -> String {
    let mut shown = Vec::new();
    let mut more = false;
    for host in all {
        more |= shown.len() == HOSTS;
        if !more && !host.is_empty() {
            shown.push(*host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (_, false) => shown.join(","),
        (_, true) => format!("{} + {} more...", shown.join(","), all.len() - HOSTS),
    }
}

/// The addresses of the status, cut where the table is not wide.
fn address(ingress: &Ingress, wide: bool) -> String {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    let mut all: Vec<&str> = entries
        .filter_map(|entry| {
            let address = entry.ip.as_deref().filter(|ip| !ip.is_empty());
            address.or(entry.hostname.as_deref())
        })
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    let text = all.join(",");
    match text.char_indices().nth(ADDRESS) {
        Some(_) if !wide => {
            let start: String = text.chars().take(ADDRESS - 3).collect();
            format!("{start}...")
        },
        _ => text,
    }
}

fn age(created: &Time, now: SystemTime) -> String {
    let created = u64::try_from(created.0.as_second()).unwrap_or(0);
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(created);
    now.duration_since(created).map_or_else(|_future| "<invalid>".to_owned(), elapsed)
}

/// At most two units, as the API machinery rounds durations for people.
fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |big: u64, unit: char, small: u64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () if years < 2 => format!("{days}d"),
        () if years < 8 => two(years, 'y', days % 365, 'd'),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value, status: &Value, wide: bool) -> Vec<String> {
        let object = json!({
            "metadata": {
                "name": "i", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
            "status": status,
        });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 3 * 86_400);
        row(&serde_json::from_value(object).unwrap(), wide, now)
    }

    #[test]
    fn columns_are_those_of_kubectl() {
        let hosts = |count: usize| {
            (0..count).map(|index| json!({"host": format!("h{index}")})).collect::<Vec<_>>()
        };
        let two = json!({"loadBalancer": {"ingress": [{"hostname": "b"}, {"ip": "10.0.0.1"}]}});
        let long = json!({"loadBalancer": {"ingress": [{"hostname": "router.apps.example.com"}]}});
        for (spec, status, wide, wanted) in [
            (json!({"rules": hosts(1)}), Value::Null, false, ["<none>", "h0", "", "80"]),
            (json!({"rules": [{}]}), Value::Null, false, ["<none>", "*", "", "80"]),
            (
                json!({"rules": hosts(3), "ingressClassName": "c", "tls": [{}]}),
                two,
                false,
                ["c", "h0,h1,h2", "10.0.0.1,b", "80, 443"],
            ),
            (
                json!({"rules": hosts(5)}),
                long.clone(),
                false,
                ["<none>", "h0,h1,h2 + 2 more...", "router.apps.e...", "80"],
            ),
            (
                json!({"rules": hosts(1)}),
                long,
                true,
                ["<none>", "h0", "router.apps.example.com", "80"],
            ),
        ] {
            let row = of(&spec, &status, wide);
            assert_eq!(row[2..6], wanted, "{spec}");
            assert_eq!((&*row[0], &*row[1], &*row[6]), ("ns", "i", "3d"));
        }
    }

    #[test]
    fn ages_are_rounded_as_kubectl_does() {
        const DAY: u64 = 86_400;
        for (seconds, wanted) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (8 * 3600 - 1, "7h59m"),
            (47 * 3600, "47h"),
            (2 * DAY, "2d"),
            (3 * DAY + 7200, "3d2h"),
            (9 * DAY, "9d"),
            (800 * DAY, "2y70d"),
            (365 * 9 * DAY, "9y"),
        ] {
            assert_eq!(elapsed(Duration::from_secs(seconds)), wanted);
        }
    }
}
