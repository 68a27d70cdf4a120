//! Annotations of a route that wharf honours, resolved to typed policy (spec/route.md 14).
//!
//! An invalid value is as if absent [CONV-7]; the source has reported it. The allow list is the
//! exception: it fails closed (decisions 6).

use std::sync::Arc;

use ipnet::IpNet;

use crate::{
    headers::ForwardedPolicy,
    model::{
        grammar,
        objects::Stored,
        route::{Route, Termination},
    },
    settings::RouterSettings,
    snapshot::RoutePolicy,
};

const TIMEOUT: &str = "haproxy.router.openshift.io/timeout";
const TIMEOUT_TUNNEL: &str = "haproxy.router.openshift.io/timeout-tunnel";
const SET_FORWARDED: &str = "haproxy.router.openshift.io/set-forwarded-headers";
const ALLOW: [&str; 2] =
    ["haproxy.router.openshift.io/ip_allowlist", "haproxy.router.openshift.io/ip_whitelist"];

/// The policy of `route`.
pub(super) fn compile(
    route: &Stored<Route>,
    termination: Termination,
    settings: &RouterSettings,
) -> RoutePolicy {
    let duration = |name| annotation(route, name).and_then(grammar::parse_duration);
    RoutePolicy {
        server_timeout: duration(TIMEOUT).unwrap_or(settings.timeouts.server),
        // Passthrough is a tunnel from the start, so there `timeout` can mean nothing else
        // [ANN-TMO-1].
        tunnel_timeout: duration(TIMEOUT_TUNNEL)
            .or_else(|| duration(TIMEOUT).filter(|_| termination == Termination::Passthrough))
            .unwrap_or(settings.timeouts.tunnel),
        forwarded: annotation(route, SET_FORWARDED)
            .and_then(ForwardedPolicy::parse)
            .unwrap_or(ForwardedPolicy::Append),
        // The first that is not empty, never merged [IPL-1].
        allow: ALLOW.iter().find_map(|name| allow_list(annotation(route, name)?)),
    }
}

/// The value of an annotation, if it is there.
pub(super) fn annotation<'a>(route: &'a Stored<Route>, name: &str) -> Option<&'a str> {
    route.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The networks of an allow list. Blanks and commas separate; entries that are no address are left
/// out, and a list without a valid entry is empty: it denies everybody (decisions 6).
fn allow_list(text: &str) -> Option<Arc<[IpNet]>> {
    if text.trim().is_empty() {
        return None;
    }
    Some(grammar::allow_list(text).filter_map(Result::ok).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decision_6_allow_lists_trim_blanks_and_fail_closed() {
        let rows: [(&str, Option<&[&str]>); 6] = [
            ("", None),
            ("  ", None),
            ("10.0.0.1", Some(&["10.0.0.1/32"])),
            (
                " 10.0.0.0/8, 192.168.1.10/24\t::1 ",
                Some(&["10.0.0.0/8", "192.168.1.0/24", "::1/128"]),
            ),
            ("10.9.0.1/33", Some(&[])),
            ("nonsense 10.0.0.1", Some(&["10.0.0.1/32"])),
        ];
        for (text, expected) in rows {
            let list = allow_list(text);
            let list = list.as_ref().map(|list| list.iter().map(ToString::to_string).collect());
            let expected: Option<Vec<String>> =
                expected.map(|all| all.iter().map(ToString::to_string).collect());
            assert_eq!(list, expected, "{text:?}");
        }
    }
}
