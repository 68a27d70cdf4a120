//! The stickiness cookie of a route: its name, what it is set with, and what stands for each endpoint
//! (spec/route.md 15.4).
//!
//! Called by `backends`. Names and values depend on nothing but names and addresses, so they are the
//! same in every router and after a restart [STICK-9].

use std::net::SocketAddr;

use super::policy::annotation;
use crate::{
    headers::sticky::{Stickiness, Value, default_name, hash},
    model::{
        grammar,
        objects::Stored,
        route::{InsecurePolicy, Route, Termination},
    },
};

const DISABLE: &str = "haproxy.router.openshift.io/disable_cookies";
const NAME: &str = "router.openshift.io/cookie_name";
const SAME_SITE: &str = "router.openshift.io/cookie-same-site";

/// The cookie of `route`, whose servers have `values`; `None` where it wants none, or where there is
/// no request that could have one [STICK-1]. `router_name` is the router's choice of a name, empty if
/// there is none.
pub(super) fn compile(
    route: &Stored<Route>,
    termination: Termination,
    router_name: &str,
    values: &[Value],
) -> Option<Stickiness> {
    let disabled = annotation(route, DISABLE).and_then(grammar::parse_bool).unwrap_or(false);
    if disabled || termination == Termination::Passthrough {
        return None;
    }
    // [STICK-2]
    let chosen = annotation(route, NAME).filter(|name| grammar::is_cookie_name(name));
    let chosen = chosen.or_else(|| Some(router_name).filter(|name| !name.is_empty()));
    let attributes = attributes(route, termination);
    match chosen {
        Some(name) => Stickiness::new(name, &attributes, values),
        None => {
            let name = default_name(&route.key.namespace, &route.key.name);
            Stickiness::new(&name, &attributes, values)
        },
    }
}

/// [STICK-4]: where the plain port serves the route as well, a cookie that is only for TLS would be
/// lost there.
fn attributes(route: &Stored<Route>, termination: Termination) -> String {
    let insecure = super::insecure(route.object.spec.tls.as_ref());
    if termination == Termination::None || insecure == InsecurePolicy::Allow {
        return "; path=/; HttpOnly".to_owned();
    }
    let wanted = annotation(route, SAME_SITE).filter(|it| matches!(*it, "Lax" | "Strict" | "None"));
    format!("; path=/; HttpOnly; Secure; SameSite={}", wanted.unwrap_or("None"))
}

/// What stands for an endpoint: a hash of OpenShift's identity of it [EP-2, STICK-3]. `port` is the
/// name of its port; there is no `pod` for an address that nobody said the pod of.
pub(super) fn value(service: &str, port: &str, address: SocketAddr, pod: &str) -> Value {
    let (ip, number) = (address.ip(), address.port());
    hash(&match pod {
        "" => format!("ept:{service}:{port}:{ip}:{number}"),
        pod => format!("pod:{pod}:{service}:{port}:{ip}:{number}"),
    })
}

/// What stands for a Service that is dialled at its cluster IP: the cookie names the Service and not a
/// pod, and another address does not lose a client.
pub(super) fn value_of_service(service: &str, port: &str) -> Value {
    hash(&format!("svc:{service}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [EP-2, STICK-3]
    #[test]
    fn stick_3_a_value_is_made_of_pod_service_port_and_address() {
        let value = |service: &str, port: &str, address: &str, pod: &str| {
            let value = value(service, port, address.parse().unwrap(), pod);
            String::from_utf8(value.to_vec()).unwrap()
        };
        let pod = "web-server-rc01-dll2p";
        assert_eq!(
            value("service-unsecure01", "http", "10.131.0.27:8080", pod),
            "0ea43df433f7c28f54614f5e49bbee26"
        );
        // printf %s 'ept:web::fd00::1:80' | md5sum
        assert_eq!(value("web", "", "[fd00::1]:80", ""), "bda8085556948cf62977d5152cf8dbbe");
    }
}
