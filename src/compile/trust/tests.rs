//! Which policy a route's pods get, when two are the same, and that trust never fails open.

use std::path::Path;

use rustls::crypto::aws_lc_rs;
use serde_json::json;

use super::*;
use crate::{model::objects::ObjectKey, tls::mint};

fn ca(name: &str) -> String {
    mint::authority(name).unwrap().pair().cert_pem.clone()
}

fn policies(change: impl FnOnce(&mut RouterSettings)) -> Policies {
    let mut settings = RouterSettings::default();
    change(&mut settings);
    Policies::new(&settings, &Arc::new(aws_lc_rs::default_provider()))
}

fn route(destination_ca: &str) -> Stored<Route> {
    let tls = json!({"termination": "reencrypt", "destinationCACertificate": destination_ca});
    let spec = json!({"host": "a.test", "to": {"kind": "Service", "name": "one"}, "tls": tls});
    let object = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
    Stored::in_memory(ObjectKey::new("app", "web"), object, "test")
}

fn policy(policies: &mut Policies, ca: &str, service: &str) -> Arc<Policy> {
    let trust = policies.trust(&route(ca)).unwrap();
    policies.policy(&trust, "app", service).unwrap()
}

const FILE: &str = "/var/run/ca.crt";

fn set(policies: &mut Policies, found: &ServiceCa) -> Vec<u16> {
    policies.set_service_ca(Path::new(FILE), found);
    let mut findings = Vec::new();
    policies.begin(&mut findings);
    assert!(findings.iter().all(|finding| &*finding.place.path == FILE));
    findings.iter().map(|finding| finding.code.number).collect()
}

/// [REENC-1]: an own CA without a name, so that services share; another CA never shares.
#[test]
fn reenc_1_routes_with_one_ca_share_a_policy() {
    let mut policies = policies(|_| {});
    let (one, two) = (ca("one"), ca("two"));
    let first = policy(&mut policies, &one, "a");
    assert!(Arc::ptr_eq(&first, &policy(&mut policies, &one, "b")));
    assert_ne!(first.identity(), policy(&mut policies, &two, "a").identity());
    assert_ne!(first.identity(), policy(&mut policies, "", "a").identity());
    policies.begin(&mut Vec::new());
    assert!(Arc::ptr_eq(&first, &policy(&mut policies, &one, "a")), "made once");
    policies.finish();
    policies.begin(&mut Vec::new());
    policies.finish();
    assert_eq!((policies.parsed.now.len(), policies.policies.now.len()), (0, 0), "forgotten");
}

/// [REENC-2] [REENC-3] [REENC-4]: the service CA goes with a name for each service; without it nobody
/// is verified; the route's own CA comes first.
#[test]
fn reenc_2_the_service_ca_wants_the_services_name() {
    let mut policies = policies(|_| {});
    let open = policy(&mut policies, "", "a");
    assert!(!open.verifies());
    let service_ca = ca("service");
    assert!(set(&mut policies, &ServiceCa::Text(service_ca.clone())).is_empty());
    let named = policy(&mut policies, "", "a");
    assert_eq!(named.name().to_str(), "a.app.svc");
    assert!(named.verifies() && !named.config().enable_sni);
    assert_ne!(named.identity(), policy(&mut policies, "", "b").identity());
    let own = policy(&mut policies, &service_ca, "a");
    assert_ne!(named.identity(), own.identity(), "the same CA, but no name");
}

/// The switch of [REENC-4], and [ALPN-4].
#[test]
fn alpn_4_what_is_offered_and_sent() {
    let mut plain = policies(|_| {});
    let config = policy(&mut plain, "", "a").config();
    assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    let mut other = policies(|settings| {
        settings.reencrypt_sni = true;
        settings.disable_http2 = true;
    });
    let named = policy(&mut other, "", "a");
    assert!(named.config().alpn_protocols.is_empty() && named.config().enable_sni);
    assert_eq!(named.name().to_str(), "a.app.svc");
    let another = policy(&mut other, "", "b");
    assert_ne!(named.identity(), another.identity(), "each is sent its own name");
}

/// [REENC-2]: never back to nobody: the last CA stays in force, or none passes.
#[test]
fn reenc_2_a_broken_service_ca_fails_closed() {
    let good = ServiceCa::Text(ca("service"));
    let broken = [
        ServiceCa::Text("nonsense".to_owned()),
        ServiceCa::Unreadable("permission denied".to_owned()),
        ServiceCa::Absent,
    ];
    for broken in &broken {
        let mut policies = policies(|_| {});
        set(&mut policies, &good);
        let before = policy(&mut policies, "", "a");
        assert_eq!(set(&mut policies, broken), [codes::BAD_SERVICE_CA.number], "{broken:?}");
        let after = policy(&mut policies, "", "a");
        assert_eq!(after.identity(), before.identity(), "{broken:?}");
        assert!(set(&mut policies, &good).is_empty());
    }
    for broken in &broken[..2] {
        let mut policies = policies(|_| {});
        assert_eq!(set(&mut policies, broken), [codes::BAD_SERVICE_CA.number]);
        let nobody = policy(&mut policies, "", "a");
        assert!(nobody.verifies(), "{broken:?}");
        let trust = policies.trust(&route("")).unwrap();
        assert!(!policies.is_open(&trust), "{broken:?}");
    }
}

/// [REENC-3] is said aloud by a router, and not where nobody knows the cluster's CA.
#[test]
fn reenc_3_is_open_only_where_somebody_has_looked() {
    let mut policies = policies(|_| {});
    assert!(!policies.is_open(&Trust::Anyone));
    assert!(set(&mut policies, &ServiceCa::Absent).is_empty());
    assert!(policies.is_open(&Trust::Anyone));
    assert!(!policy(&mut policies, "", "a").verifies());
}

#[test]
fn a_ca_that_cannot_be_read_is_an_error() {
    let mut policies = policies(|_| {});
    assert!(policies.trust(&route("nonsense")).is_err());
}

/// A name that no certificate can have lets nobody pass, instead of anybody.
#[test]
fn a_service_without_a_valid_name_is_never_trusted() {
    let mut policies = policies(|_| {});
    set(&mut policies, &ServiceCa::Text(ca("service")));
    let named = policy(&mut policies, "", "not a name");
    assert!(named.verifies());
    assert_eq!(named.name().to_str(), "0.0.0.0");
}
