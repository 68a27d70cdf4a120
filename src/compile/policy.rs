//! Annotations of a route that wharf honours, resolved to typed policy (spec/route.md 14).
//!
//! An invalid value is as if absent [CONV-7]; the source has reported it. The allow list, which
//! fails closed, is read by [`super::allow`].

use std::sync::Arc;

use http::HeaderValue;

use crate::{
    headers::{ForwardedPolicy, actions::Actions},
    model::{
        grammar::{self, action::Side},
        objects::Stored,
        route::{HeaderChange, Route, Termination},
    },
    routing::{
        clients::AllowList,
        rewrite::{LastSlash, Rewrite},
    },
    settings::RouterSettings,
    snapshot::{HeaderPolicy, RoutePolicy},
};

const TIMEOUT: &str = "haproxy.router.openshift.io/timeout";
const TIMEOUT_TUNNEL: &str = "haproxy.router.openshift.io/timeout-tunnel";
const SET_FORWARDED: &str = "haproxy.router.openshift.io/set-forwarded-headers";
const HSTS: &str = "haproxy.router.openshift.io/hsts_header";
const ADJUST_CASE: &str = "haproxy.router.openshift.io/h1-adjust-case";
const REWRITE: &str = "haproxy.router.openshift.io/rewrite-target";

/// The policy of `route`, which `allow` may use.
pub(super) fn compile(
    route: &Stored<Route>,
    termination: Termination,
    allow: Option<Arc<AllowList>>,
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
            .or_else(|| ForwardedPolicy::parse(&settings.headers.forwarded))
            .unwrap_or(ForwardedPolicy::Append),
        allow,
        rewrite: rewrite(route, termination, settings),
        headers: headers(route, termination),
    }
}

fn headers(route: &Stored<Route>, termination: Termination) -> HeaderPolicy {
    let actions = route.object.spec.http_headers.as_ref().map(|headers| &headers.actions);
    let compile = |list: Option<&[HeaderChange]>, side| Actions::compile(list.unwrap_or(&[]), side);
    let ends_tls = matches!(termination, Termination::Edge | Termination::Reencrypt);
    HeaderPolicy {
        request: compile(actions.map(|actions| &*actions.request), Side::Request),
        response: compile(actions.map(|actions| &*actions.response), Side::Response),
        hsts: annotation(route, HSTS)
            .filter(|value| ends_tls && grammar::is_hsts(value))
            .and_then(|value| HeaderValue::from_str(value).ok()),
        adjust_case: annotation(route, ADJUST_CASE).and_then(grammar::parse_bool) == Some(true),
    }
}

/// The value of an annotation, if it is there.
pub(super) fn annotation<'a>(route: &'a Stored<Route>, name: &str) -> Option<&'a str> {
    route.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Which path the pods of `route` see [REW-1]. Of what is passed through nothing is seen.
fn rewrite(
    route: &Stored<Route>,
    termination: Termination,
    settings: &RouterSettings,
) -> Option<Box<Rewrite>> {
    let target = annotation(route, REWRITE).filter(|_| termination != Termination::Passthrough)?;
    let last_slash = if settings.rewrite_keeps_slash { LastSlash::Kept } else { LastSlash::Taken };
    Rewrite::parse(&route.object.spec.path, target, last_slash).map(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::objects::ObjectKey;

    fn stored(route: Route) -> Stored<Route> {
        Stored::in_memory(ObjectKey::new("app", "r"), route, "test.yaml")
    }

    #[test]
    fn fwd_1_the_annotation_wins_over_the_setting() {
        let policy = |annotation: Option<&str>, setting: &str| {
            let mut route = Route::default();
            route.metadata.annotations =
                annotation.map(|value| [(SET_FORWARDED.to_owned(), value.to_owned())].into());
            let mut settings = RouterSettings::default();
            setting.clone_into(&mut settings.headers.forwarded);
            compile(&stored(route), Termination::Edge, None, &settings).forwarded
        };
        assert_eq!(policy(None, ""), ForwardedPolicy::Append);
        assert_eq!(policy(None, "never"), ForwardedPolicy::Never);
        assert_eq!(policy(Some("if-none"), "never"), ForwardedPolicy::IfNone);
        assert_eq!(policy(Some("Append"), "replace"), ForwardedPolicy::Replace);
    }

    #[test]
    fn hsts_3_is_for_routes_whose_tls_ends_here() {
        for (termination, has) in [
            (Termination::None, false),
            (Termination::Edge, true),
            (Termination::Reencrypt, true),
            (Termination::Passthrough, false),
        ] {
            let mut route = Route::default();
            let value = "max-age=1 ;  preload".to_owned();
            route.metadata.annotations = Some([(HSTS.to_owned(), value.clone())].into());
            let policy = headers(&stored(route), termination);
            assert_eq!(policy.hsts.is_some_and(|hsts| hsts == value), has, "{termination:?}");
        }
    }
}
