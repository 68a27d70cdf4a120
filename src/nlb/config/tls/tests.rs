//! TLS listeners as they are written.

use std::{fs, path::PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tempfile::TempDir;

use super::*;
use crate::nlb::config::{NlbConfig, files, parse_file, parse_in};
use crate::tls::mint;

/// `a.pem` with `a.key`, `both.pem` with its key, and some that cannot be served.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let save = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let pair = mint::self_signed(&["a.test".to_owned()]).unwrap();
    save("a.pem", &pair.cert_pem);
    save("a.key", &pair.key_pem);
    save("both.pem", &format!("{}{}", pair.key_pem, pair.cert_pem));
    let other = mint::self_signed(&["b.test".to_owned()]).unwrap();
    save("b.key", &other.key_pem);
    save("empty.pem", "");
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::new(["e.test".to_owned()]).unwrap();
    save("ed.pem", &params.self_signed(&key).unwrap().pem());
    save("ed.key", &key.serialize_pem());
    directory
}

fn text(listener: &str, group: &str) -> String {
    format!(
        "name: test\n\
         listeners:\n\
         - {{ port: 443, protocol: TLS, targetGroup: web, {listener} }}\n\
         targetGroups:\n\
         - {{ name: web, port: 80, {group} }}\n"
    )
}

fn read(listener: &str, group: &str) -> Result<NlbConfig, String> {
    let directory = directory();
    parse_in(&text(listener, group), directory.path()).map_err(|error| error.to_string())
}

const A: &str = "certificates: [{ certificate: a.pem, key: a.key }]";

#[test]
fn defaults_are_those_of_the_api() {
    let config = read(A, "").unwrap();
    let listener = &config.listeners[0];
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!((&*listener.name, listener.protocol), ("TLS:443", Protocol::Tls));
    assert_eq!(tls.policy.name(), "ELBSecurityPolicy-2016-08");
    assert_eq!((tls.alpn, tls.handshake_timeout), (AlpnPolicy::None, DEFAULT_HANDSHAKE_TIMEOUT));
    assert_eq!(&*tls.certificates[0].name, "a.pem");
}

#[test]
fn everything_can_be_said() {
    let listener = "certificates: [{ certificate: both.pem, arn: 'arn:x' }, \
                    { certificate: a.pem, key: a.key }], \
                    sslPolicy: ELBSecurityPolicy-TLS13-1-3-2021-06, alpnPolicy: HTTP2Only, \
                    handshakeTimeoutSeconds: 2.5";
    let config = read(listener, "protocol: TLS").unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    let names: Vec<_> = tls.certificates.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["arn:x", "a.pem"]);
    assert_eq!(tls.policy.name(), "ELBSecurityPolicy-TLS13-1-3-2021-06");
    assert_eq!(tls.alpn, AlpnPolicy::Http2Only);
    assert_eq!(tls.handshake_timeout, Duration::from_millis(2500));
    assert_eq!(config.groups[0].protocol, Protocol::Tls);
    // What is read twice is the same.
    let directory = directory();
    let again = || parse_in(&text(listener, ""), directory.path()).unwrap();
    assert_eq!(again(), again());
}

/// What cannot be served is refused with its place.
#[test]
fn mistakes_have_a_place_and_a_reason() {
    let many = "{ certificate: a.pem, key: a.key }, ".repeat(27);
    let sticky = "attributes: { stickiness.enabled: \"true\" }";
    for (listener, group, place, reason) in [
        ("", "", "3:", "certificates` must be given for a TLS listener"),
        ("certificates: []", "", "3:", "certificates` must be given"),
        (
            "certificates: [{ certificate: none.pem }]",
            "",
            "3:",
            "certificate none.pem: No such file",
        ),
        ("certificates: [{ certificate: a.pem }]", "", "3:", "certificate a.pem: no key specified"),
        ("certificates: [{ certificate: a.pem, key: b.key }]", "", "3:", "does not match"),
        (
            "certificates: [{ certificate: empty.pem, key: a.key }]",
            "",
            "3:",
            "no CERTIFICATE block",
        ),
        ("certificates: [{ certificate: ed.pem, key: ed.key }]", "", "3:", "neither RSA nor ECDSA"),
        (&format!("certificates: [{many}]"), "", "3:", "more than 26 certificates"),
        (&format!("{A}, sslPolicy: ELBSecurityPolicy-2020"), "", "3:", "SSLPolicyNotFound"),
        (&format!("{A}, alpnPolicy: http2"), "", "3:", "HTTP2Preferred"),
        (&format!("{A}, handshakeTimeoutSeconds: 0"), "", "3:", "handshakeTimeoutSeconds"),
        (
            &format!("{A}, attributes: {{ tcp.idle_timeout.seconds: \"60\" }}"),
            "",
            "3:",
            "fixed at 350",
        ),
        (A, sticky, "3:", "target group `web` is sticky"),
    ] {
        let error = read(listener, group).unwrap_err();
        assert!(error.starts_with(place) && error.contains(reason), "{listener}: {error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}

#[test]
fn other_listeners_have_nothing_of_tls() {
    for field in [A, "sslPolicy: x", "alpnPolicy: None", "handshakeTimeoutSeconds: 1"] {
        let text = text(field, "").replace("protocol: TLS", "protocol: TCP");
        let error = parse_in(&text, directory().path()).unwrap_err().to_string();
        assert!(error.contains("must be left out with protocol TCP"), "{field}: {error}");
    }
    let text = text("", "protocol: TLS").replace("protocol: TLS, targetGroup", "targetGroup");
    let error = parse_in(&text, directory().path()).unwrap_err().to_string();
    assert!(error.contains("a TCP listener cannot forward to a TLS target group"), "{error}");
}

/// A.1: all groups of a TLS listener share one protocol.
#[test]
fn the_groups_of_a_listener_have_one_protocol() {
    let directory = directory();
    let two = |protocol: &str| {
        let text =
            text(A, "").replace("targetGroup: web", "targetGroups: [{name: web}, {name: b}]");
        let text = format!("{text}- {{ name: b, port: 80, protocol: {protocol} }}\n");
        parse_in(&text, directory.path()).map_err(|error| error.to_string())
    };
    two("TCP").unwrap();
    assert!(two("TLS").unwrap_err().contains("have one protocol"));
}

#[test]
fn the_files_of_a_configuration_are_known_whatever_is_wrong_with_it() {
    let directory = directory();
    let path = directory.path().join("nlb.yaml");
    let text = text("certificates: [{ certificate: none.pem, key: /x/a.key }]", "");
    assert_eq!(files(&path, &text), [directory.path().join("none.pem"), PathBuf::from("/x/a.key")]);
    let error = parse_file(&path, &text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:3:", path.display())), "{error}");
    assert!(files(&path, "listeners: [").is_empty());
}

/// A.6b: `access_logs.s3.*`.
#[test]
fn the_access_log_has_a_bucket() {
    let directory = directory();
    let with = |attributes: &str| {
        let text = format!("{}attributes: {{ {attributes} }}\n", text(A, ""));
        parse_in(&text, directory.path()).map_err(|error| error.to_string())
    };
    let on = "access_logs.s3.enabled: \"true\"";
    let log = with(&format!("{on}, access_logs.s3.bucket: logs, access_logs.s3.prefix: a/b/"));
    let log = log.unwrap().access_log.unwrap();
    assert_eq!((log.bucket, &*log.prefix), (directory.path().join("logs"), "a/b"));
    assert_eq!(log.interval, Duration::from_secs(300));
    assert_eq!(with("access_logs.s3.bucket: logs").unwrap().access_log, None);
    assert!(with(on).unwrap_err().contains("access_logs.s3.bucket"));
    for bad in ["/abs", "a/../b", "AWSLogs"] {
        let error = with(&format!("access_logs.s3.prefix: {bad}")).unwrap_err();
        assert!(error.contains("access_logs.s3.prefix"), "{bad}: {error}");
    }
}
