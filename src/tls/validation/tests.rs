//! Extended validation, rule by rule, and what is left of it when it is off.

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::{
    settings::tls::TlsSettings,
    tls::{
        mint::{self, Pair},
        server::Profile,
    },
};

/// Self-signed for short.example.com, of an RSA key with 1024 bits.
const SHORT: &str = "-----BEGIN CERTIFICATE-----
MIICFjCCAX+gAwIBAgIUUfvzYAEjdwLGtc1nWI4cZ5vIKOswDQYJKoZIhvcNAQEL
BQAwHDEaMBgGA1UEAwwRc2hvcnQuZXhhbXBsZS5jb20wIBcNMjYxMTIzMDI0NTE4
WhgPMjEyNjEwMzAwMjQ1MThaMBwxGjAYBgNVBAMMEXNob3J0LmV4YW1wbGUuY29t
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCn6shicSRJH5SMtuW7vHv+8zca
lpNQXe5wTNfaAgciIuKQInIWNZuk1W+qIRZCdMy3Jw8xbVwjqwmOQ3BwAEAtQmY+
fH+O60VpzHwvZm/0K3GplduSWBayGrc0zFTdgKpQD52wgI9UrQQMTkf9PxER7DHn
qixP9Hoiwlvg64iU6QIDAQABo1MwUTAdBgNVHQ4EFgQUtgMkjfTM+3OozH4QUwIP
1cTYbAMwHwYDVR0jBBgwFoAUtgMkjfTM+3OozH4QUwIP1cTYbAMwDwYDVR0TAQH/
BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOBgQBDoK9xCWcEtbqb+eYrJm0lJRncLvvk
xxV0U4Dbgr5tmbYs7V8O2cJt0axBtMcpZig/8pHvITwDo2DvjB4wRL538bBrVPQv
PZvaS9/ALrtSHJz3I2BABuXolf64HKgcUf38/JnmPyz1Kng5JMnCuM0+ZADBVHX7
JWEq1A8CNo+IQA==
-----END CERTIFICATE-----
";

/// Self-signed for one.example.com, of X.509 version 1.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBMDCB1wIUcwJ1KUfUEb12ARh5kUekZa68cBgwCgYIKoZIzj0EAwIwGjEYMBYG
A1UEAwwPb25lLmV4YW1wbGUuY29tMCAXDTI2MTEyMzAyNDYyOVoYDzIxMjYxMDMw
MDI0NjI5WjAaMRgwFgYDVQQDDA9vbmUuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAQGpKUeb4K0sdHT3l/Y+hE0VTYOelUaW9EJ9FNHKYeDsWqU
loJmyCZYzlMGnqf1oC7q54ZpPCdlL4+HZfYyIEFZMAoGCCqGSM49BAMCA0gAMEUC
IC/m45SaPxkTcUsxQh5mKXuUF0sLc+yk/nwFx6klzt9hAiEAkiEjAz+CfTmUQGwP
h5NPgxCpgEgVVLPBcyDeDM2kDDk=
-----END CERTIFICATE-----
";
/// Its key, which protects nothing.
const VERSION_1_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR3D2JSCT8PiT7yla
/y2iv1taSk9gHk/5BmL8AOlYUR2hRANCAAQGpKUeb4K0sdHT3l/Y+hE0VTYOelUa
W9EJ9FNHKYeDsWqUloJmyCZYzlMGnqf1oC7q54ZpPCdlL4+HZfYyIEFZ";

fn pair() -> Pair {
    mint::self_signed(&["a.example.com".to_owned()]).unwrap()
}

fn profile() -> Profile {
    Profile::new(&TlsSettings::default()).unwrap()
}

fn texts<'a>(certificate: &'a str, key: &'a str) -> Texts<'a> {
    Texts { certificate, key, ..Texts::default() }
}

fn chain_of(texts: &Texts<'_>) -> Option<usize> {
    let accepted = extended(profile().provider(), texts).unwrap();
    accepted.pair.map(|pair| pair.cert.len())
}

/// The message, and that it holds nothing of a key.
fn refused(texts: &Texts<'_>) -> String {
    let message = message(&extended(profile().provider(), texts).unwrap_err());
    for text in [texts.certificate, texts.key] {
        for line in text.lines().filter(|line| line.len() > 40) {
            assert!(!message.contains(line), "{message}");
        }
    }
    message
}

/// [XV-1, XV-10]: no certificate at all is fine, also with a key.
#[test]
fn xv_10_a_key_alone_is_ignored() {
    let pair = pair();
    assert_eq!(chain_of(&texts("", "")), None);
    assert_eq!(chain_of(&texts("", &pair.key_pem)), None);
    let ca = Texts { ca: &pair.cert_pem, ..Texts::default() };
    assert_eq!(chain_of(&ca), None);
}

/// [XV-5]: the key may stand with the certificate; of several the first counts.
#[test]
fn xv_5_the_first_key_must_match() {
    let (own, other) = (pair(), pair());
    let with = |one: &Pair, two: &Pair| format!("{}{}", one.key_pem, two.key_pem);
    let inside = format!("{}{}", own.cert_pem, own.key_pem);
    let before = format!("{}{}", own.key_pem, own.cert_pem);
    let mismatch = "spec.tls.key: Invalid value: \"redacted key data\": the private key does not \
                    match the public key of the first certificate";
    assert_eq!(chain_of(&texts(&own.cert_pem, &own.key_pem)), Some(1));
    assert_eq!(chain_of(&texts(&inside, "")), Some(1));
    assert_eq!(chain_of(&texts(&before, "")), Some(1));
    assert_eq!(chain_of(&texts(&inside, &other.key_pem)), Some(1));
    assert_eq!(chain_of(&texts(&own.cert_pem, &with(&own, &other))), Some(1));
    assert_eq!(refused(&texts(&own.cert_pem, &with(&other, &own))), mismatch);
    assert_eq!(refused(&texts(&own.cert_pem, &other.key_pem)), mismatch);
    let foreign = format!("{}{}", own.cert_pem, other.key_pem);
    assert_eq!(refused(&texts(&foreign, &own.key_pem)), mismatch);
    let none = "spec.tls.key: Invalid value: \"redacted key data\": no key specified";
    assert_eq!(refused(&texts(&own.cert_pem, "")), none);
    assert_eq!(refused(&texts(&own.cert_pem, "text")), none);
}

/// [XV-6]: the server's certificate comes first, and certificates do not belong to the key.
#[test]
fn xv_6_the_leaf_is_the_first_certificate() {
    let authority = mint::authority("root").unwrap();
    let leaf = authority.leaf(&["a.example.com".to_owned()]).unwrap();
    let root = &authority.pair().cert_pem;
    let right = format!("{}{root}", leaf.cert_pem);
    assert_eq!(chain_of(&texts(&right, &leaf.key_pem)), Some(2));
    let wrong = format!("{root}{}", leaf.cert_pem);
    assert!(refused(&texts(&wrong, &leaf.key_pem)).contains("does not match"));
    let mixed = format!("{}{root}", leaf.key_pem);
    assert!(
        refused(&texts(&leaf.cert_pem, &mixed))
            .ends_with("a CERTIFICATE block does not belong here")
    );
}

/// [XV-2, XV-3, CERT-4]: with caCertificate the first certificate must be signed by one of its
/// certificates, which are appended to the chain; without it, nothing is verified.
#[test]
fn xv_2_the_chain_is_verified_where_there_is_a_ca() {
    let authority = mint::authority("root").unwrap();
    let leaf = authority.leaf(&["a.example.com".to_owned()]).unwrap();
    let (root, other) = (&authority.pair().cert_pem, pair().cert_pem);
    let both = format!("{other}{root}");
    let with = |ca| Texts { ca, ..texts(&leaf.cert_pem, &leaf.key_pem) };
    assert_eq!(chain_of(&with("")), Some(1));
    assert_eq!(chain_of(&with(root)), Some(2));
    assert_eq!(chain_of(&with(&both)), Some(3));
    assert_eq!(
        refused(&with(&other)),
        "spec.tls.certificate: Invalid value: \"redacted certificate data\": error verifying \
         certificate: x509: certificate signed by unknown authority"
    );
    // What stands behind the first certificate does not count.
    let chain = format!("{}{root}", leaf.cert_pem);
    let aside = Texts { ca: &other, ..texts(&chain, &leaf.key_pem) };
    assert!(refused(&aside).contains("unknown authority"));
    let empty = "spec.tls.caCertificate: Invalid value: \"redacted ca certificate data\": failed to \
                 parse CA certificate: data does not contain any valid RSA or ECDSA certificates";
    assert_eq!(refused(&with("text")), empty);
}

/// [XV-4]: every problem is said, each once, and each with its field.
#[test]
fn xv_4_problems_are_one_message() {
    let pair = pair();
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let all = Texts {
        certificate: request,
        key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ca: request,
        destination_ca: "text",
    };
    let unknown = "unrecognized PEM block CERTIFICATE REQUEST in line 1";
    assert_eq!(
        refused(&all),
        format!(
            "[spec.tls.caCertificate: Invalid value: \"redacted ca certificate data\": failed to \
             parse CA certificate: {unknown}, spec.tls.certificate: Invalid value: \"redacted \
             certificate data\": {unknown}, spec.tls.key: Invalid value: \"redacted key data\": \
             block PRIVATE KEY in line 1 is not valid, spec.tls.destinationCACertificate: Invalid \
             value: \"redacted destination ca certificate data\": failed to parse destination CA \
             certificate: data does not contain any valid RSA or ECDSA certificates]"
        )
    );
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert!(
        refused(&texts(&pair.cert_pem, &ed25519.serialize_pem()))
            .ends_with("the key is neither RSA nor ECDSA")
    );
    let cut = pair.cert_pem.replace("-----END CERTIFICATE-----", "-----END CERT-----");
    let chain = format!("{}{cut}", pair.cert_pem);
    let accepted = extended(profile().provider(), &texts(&chain, &pair.key_pem)).unwrap();
    assert_eq!(accepted.cut, [Field::Certificate]);
    assert_eq!(accepted.pair.unwrap().cert.len(), 1);
}

/// A pair whose signature says SHA-1, signed by `issuer` or by itself.
fn sha1(own: bool) -> Pair {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(["a.example.com".to_owned()]).unwrap();
    let certificate = if own {
        params.self_signed(&key).unwrap()
    } else {
        let issuer = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut root = CertificateParams::default();
        root.distinguished_name.push(rcgen::DnType::CommonName, "root");
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&key, &rcgen::Issuer::new(root, issuer)).unwrap()
    };
    let mut der = certificate.der().to_vec();
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    for at in 0..der.len() - sha256.len() {
        if der[at..].starts_with(&sha256) {
            der[at + 8] = 5;
        }
    }
    let pem = pem_of(&der);
    Pair { cert_pem: pem, key_pem: key.serialize_pem() }
}

fn pem_of(der: &[u8]) -> String {
    let coded = serde_json::to_value(k8s_openapi::ByteString(der.to_vec())).unwrap();
    let coded = coded.as_str().unwrap().to_owned();
    format!("-----BEGIN CERTIFICATE-----\n{coded}\n-----END CERTIFICATE-----\n")
}

/// [XV-7, XV-8]: SHA-1 of others is refused in each of the three fields, of its own it is served.
#[test]
fn xv_7_sha1_is_refused_unless_self_signed() {
    let (own, others, plain) = (sha1(true), sha1(false), pair());
    assert_eq!(chain_of(&texts(&own.cert_pem, &own.key_pem)), Some(1));
    let with = |certificate, ca, destination_ca| Texts {
        certificate,
        key: if certificate == plain.cert_pem { &plain.key_pem } else { &others.key_pem },
        ca,
        destination_ca,
    };
    let says = "router does not support CA-signed certs using SHA1";
    let behind = format!("{}{}", plain.cert_pem, others.cert_pem);
    for (texts, field) in [
        (with(&others.cert_pem, "", ""), "spec.tls.certificate"),
        (with(&behind, "", ""), "spec.tls.certificate"),
        (with(&plain.cert_pem, &others.cert_pem, ""), "spec.tls.caCertificate"),
        (with("", "", &others.cert_pem), "spec.tls.destinationCACertificate"),
    ] {
        let message = refused(&texts);
        assert!(message.starts_with(field) && message.ends_with(says), "{message}");
    }
    assert_eq!(chain_of(&with("", &own.cert_pem, &own.cert_pem)), None);
}

/// [XV-9]: expired, not yet valid, or for another name: accepted.
#[test]
fn xv_9_dates_and_names_are_not_looked_at() {
    for year in [1990, 2090] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["other.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 2, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        assert_eq!(chain_of(&texts(&certificate, &key.serialize_pem())), Some(1));
    }
}

/// 26.3: what the TLS library refuses, with or without extended validation.
#[test]
fn a_short_key_is_refused() {
    let key = pair().key_pem;
    let says = "the RSA key has 1024 bits, and 2048 are the least that is served";
    assert!(refused(&texts(SHORT, &key)).ends_with(says));
    let problems = servable(profile().provider(), &texts(SHORT, &key)).unwrap_err();
    assert_eq!((problems[0].field, problems[0].text.as_str()), (Field::Key, says));
}

/// A certificate without extensions, as `openssl x509 -req` makes it by default.
#[test]
fn version_1_is_served() {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{VERSION_1_KEY}\n-----END PRIVATE KEY-----\n");
    assert_eq!(chain_of(&texts(VERSION_1, &key)), Some(1));
}

/// EXTENDED_VALIDATION=false: strange blocks, foreign authorities and weak signatures are served; what
/// is no pair is not.
#[test]
fn without_extended_validation_only_what_cannot_be_served_is_refused() {
    let provider = profile();
    let provider = provider.provider();
    let (own, other, weak) = (pair(), pair(), sha1(false));
    let dh = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n";
    let strange = format!("{dh}{}", own.cert_pem);
    let all =
        Texts { ca: &other.cert_pem, destination_ca: "text", ..texts(&strange, &own.key_pem) };
    assert!(extended(provider, &all).is_err());
    let served = servable(provider, &all).unwrap().pair.unwrap();
    let chain = [&own.cert_pem, &other.cert_pem]
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    assert_eq!(served.cert, chain);
    assert!(servable(provider, &texts(&weak.cert_pem, &weak.key_pem)).is_ok());
    assert!(servable(provider, &texts("", &own.key_pem)).unwrap().pair.is_none());
    for (texts, field) in [
        (texts(&own.cert_pem, &other.key_pem), Field::Key),
        (texts(&own.cert_pem, ""), Field::Key),
        (texts("text", &own.key_pem), Field::Certificate),
        (Texts { ca: dh, ..texts(dh, &own.key_pem) }, Field::Certificate),
    ] {
        assert_eq!(servable(provider, &texts).unwrap_err()[0].field, field);
    }
}
