//! TLS listeners and access logs by annotations (A.6b, A.9, A.14).

use super::*;
use crate::{nlb::config::Protocol, tls::mint};

const FIRST: &str = "arn:aws:acm:us-east-1:123456789012:certificate/first";
const SECOND: &str = "arn:aws:acm:us-east-1:123456789012:certificate/second";

/// Options with a certificate behind each of the two names, and the folder that they are in.
fn options() -> (tempfile::TempDir, Options) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    for (arn, host) in [(FIRST, "a.test"), (SECOND, "b.test")] {
        let pair = mint::self_signed(&[host.to_owned()]).unwrap();
        let path = directory.path().join(host);
        std::fs::write(&path, pair.cert_pem + &pair.key_pem).unwrap();
        options.certificates.insert(arn.to_owned(), path);
    }
    (directory, options)
}

/// What of a listener is about TLS: port, protocol, that of its group, certificates.
fn shown(config: &NlbConfig) -> Vec<(u16, Protocol, Protocol, Vec<&str>)> {
    let one = |listener: &ListenerConfig| {
        let group = config.groups.iter().find(|group| listener.forwards_to(&group.name)).unwrap();
        let tls = listener.tls.iter().flat_map(|tls| &tls.certificates);
        let known = [FIRST, SECOND].into_iter();
        let certificates = known.filter(|arn| tls.clone().any(|its| &*its.name == *arn)).collect();
        (listener.address.port(), listener.protocol, group.protocol, certificates)
    };
    config.listeners.iter().map(one).collect()
}

/// The cloud provider: the ports that `ssl-ports` lists, by name or by number, end TLS with the one
/// certificate; `backend-protocol: ssl` begins it again.
#[test]
fn the_cloud_provider_makes_tls_listeners() {
    let (_directory, options) = options();
    let base = [("type", "nlb"), ("ssl-cert", FIRST)];
    for (more, expected) in [
        (vec![("ssl-ports", "https")], [Protocol::Tcp, Protocol::Tls]),
        (vec![("ssl-ports", "80")], [Protocol::Tls, Protocol::Tcp]),
        (vec![("ssl-ports", "*")], [Protocol::Tls, Protocol::Tls]),
        (vec![], [Protocol::Tls, Protocol::Tls]),
        (vec![("ssl-ports", "443"), ("backend-protocol", "ssl")], [Protocol::Tcp, Protocol::Tls]),
    ] {
        let annotations: Vec<_> = base.into_iter().chain(more.iter().copied()).collect();
        let (config, findings) = compiled(&service(&annotations, SPEC), &options);
        assert_eq!(findings, [""; 0], "{more:?}");
        let again = more.contains(&("backend-protocol", "ssl"));
        let of = |port, protocol| match protocol {
            Protocol::Tls if again => (port, protocol, Protocol::Tls, vec![FIRST]),
            Protocol::Tls => (port, protocol, Protocol::Tcp, vec![FIRST]),
            _ => (port, protocol, Protocol::Tcp, vec![]),
        };
        let wanted = [of(80, expected[0]), of(443, expected[1])];
        assert_eq!(shown(&config.unwrap()), wanted, "{more:?}");
    }
}

/// The AWS Load Balancer Controller: a list of certificates, the default one first, a security policy
/// and an ALPN policy.
#[test]
fn the_load_balancer_controller_has_lists_and_alpn() {
    let (_directory, options) = options();
    let certificates = format!("{SECOND}, {FIRST}");
    let annotations = [
        ("type", "external"),
        ("ssl-cert", &*certificates),
        ("ssl-ports", "443"),
        ("ssl-negotiation-policy", "ELBSecurityPolicy-TLS13-1-3-2021-06"),
        ("alpn-policy", "HTTP2Preferred"),
    ];
    let (config, findings) = compiled(&service(&annotations, SPEC), &options);
    assert_eq!(findings, [""; 0]);
    let config = config.unwrap();
    let tls = config.listeners[1].tls.as_ref().unwrap();
    let names: Vec<_> = tls.certificates.iter().map(|it| &*it.name).collect();
    assert_eq!(names, [SECOND, FIRST]);
    assert_eq!(tls.policy.name(), "ELBSecurityPolicy-TLS13-1-3-2021-06");
    assert_eq!(tls.alpn, crate::nlb::tls::policy::AlpnPolicy::named("HTTP2Preferred").unwrap());
}

/// The access log goes to the folder of its bucket and nowhere else, whoever names the bucket.
#[test]
fn access_logs_go_to_known_buckets() {
    let options =
        Options { buckets: [("logs".to_owned(), "/var/logs".into())].into(), ..Options::default() };
    let own = [
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "logs"),
        ("access-log-s3-bucket-prefix", "a/b"),
    ];
    let attributes = "access_logs.s3.enabled=true,access_logs.s3.bucket=logs,\
                      access_logs.s3.prefix=a/b";
    for (kind, more) in [("nlb", &own[..]), ("external", &[("attributes", attributes)])] {
        let annotations: Vec<_> = [("type", kind)].into_iter().chain(more.to_vec()).collect();
        let (config, findings) = compiled(&service(&annotations, SPEC), &options);
        assert_eq!(findings, [""; 0], "{kind}");
        let log = config.unwrap().access_log.unwrap();
        assert_eq!((log.bucket.to_str(), &*log.prefix), (Some("/var/logs"), "a/b"));
        let (config, findings) = compiled(&service(&annotations, SPEC), &Options::default());
        assert_eq!(config.unwrap().access_log, None, "{kind}");
        assert!(findings.len() == 1 && findings[0].contains("WH2150"), "{findings:?}");
    }
    let outside = [("type", "nlb"), own[0], own[1], ("access-log-s3-bucket-prefix", "../x")];
    let (none, findings) = compiled(&service(&outside, SPEC), &options);
    assert!(none.is_none() && findings[0].contains("s3-bucket-prefix]"), "{findings:?}");
}

/// A certificate without a file leaves the ports of TLS out; what AWS would refuse is refused where it
/// stands.
#[test]
fn tls_that_cannot_be_is_said_where_it_stands() {
    let (directory, mut options) = options();
    let unknown = format!("{FIRST},arn:aws:acm:x");
    let annotations = [("type", "external"), ("ssl-cert", &*unknown), ("ssl-ports", "443")];
    let (config, findings) = compiled(&service(&annotations, SPEC), &options);
    assert_eq!(shown(&config.unwrap()), [(80, Protocol::Tcp, Protocol::Tcp, vec![])]);
    assert!(findings.len() == 1 && findings[0].contains("WH2152"), "{findings:?}");

    let broken = directory.path().join("broken");
    std::fs::write(&broken, "no PEM").unwrap();
    options.certificates.insert("arn:broken".to_owned(), broken);
    for (suffix, value, arn) in [
        ("ssl-negotiation-policy", "ELBSecurityPolicy-None", FIRST),
        ("alpn-policy", "HTTP3", FIRST),
        ("target-group-attributes", "stickiness.enabled=true,stickiness.type=source_ip", FIRST),
        ("ssl-cert", "arn:broken", "arn:broken"),
    ] {
        let mut annotations = vec![("type", "external"), ("ssl-cert", arn)];
        if suffix != "ssl-cert" {
            annotations.push((suffix, value));
        }
        let (none, findings) = compiled(&service(&annotations, SPEC), &options);
        let about = format!("aws-load-balancer-{suffix}]");
        let found = findings.iter().any(|it| it.contains("error[WH1071]") && it.contains(&about));
        assert!(none.is_none() && found, "{suffix}: {findings:?}");
    }
}
