//! Certificates and authorities of every kind: who has signed whom.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256,
    RsaKeySize, SanType, SignatureAlgorithm,
};
use x509_parser::parse_x509_certificate;

use super::*;

/// An authority whose parameters are changed by `change`.
fn authority(
    name: &str,
    kind: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> (Vec<u8>, Issuer<'static, KeyPair>) {
    let key = key(kind);
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (der, Issuer::new(params, key))
}

fn key(kind: &'static SignatureAlgorithm) -> KeyPair {
    if kind == &PKCS_RSA_SHA256 {
        return KeyPair::generate_rsa_for(kind, RsaKeySize::_2048).unwrap();
    }
    KeyPair::generate_for(kind).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

fn leaf(issuer: &Issuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = params("www.example.com");
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn says(leaf: &[u8], pool: &[&[u8]]) -> String {
    let leaf = parse_x509_certificate(leaf).unwrap().1;
    let pool: Vec<_> = pool.iter().map(|der| parse_x509_certificate(der).unwrap().1).collect();
    verify(&leaf, &pool).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

const UNKNOWN: &str = "certificate signed by unknown authority";

/// [XV-2]: whoever has signed the certificate is enough, root or not; only who is in the pool counts.
#[test]
fn the_signer_must_be_in_the_pool() {
    let (root, root_key) = authority("root", &PKCS_ECDSA_P256_SHA256, |_| {});
    let key = KeyPair::generate().unwrap();
    let mut inner = params("inner");
    inner.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let middle = inner.signed_by(&key, &root_key).unwrap().der().to_vec();
    let server = leaf(&Issuer::new(inner, key), |_| {});
    assert_eq!(says(&server, &[&middle]), "ok");
    assert_eq!(says(&server, &[&root, &middle]), "ok");
    assert_eq!(says(&server, &[&root]), UNKNOWN);
    assert_eq!(says(&server, &[]), UNKNOWN);
    assert_eq!(says(&server, &[&server]), "ok", "its own authority");
    assert_eq!(says(&middle, &[&root]), "ok", "an authority as a server");
    assert_eq!(says(&root, &[&root]), "ok");
}

/// [XV-2]: another authority of the same name has signed nothing here, and a changed byte is seen.
#[test]
fn signatures_are_verified_for_every_kind_of_key() {
    for kind in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ECDSA_P521_SHA512,
        &PKCS_RSA_SHA256,
    ] {
        let (root, key) = authority("root", kind, |_| {});
        let (other, _) = authority("root", kind, |_| {});
        let mut server = leaf(&key, |_| {});
        assert_eq!(says(&server, &[&root]), "ok", "{kind:?}");
        assert_eq!(says(&server, &[&other, &root]), "ok", "{kind:?}");
        let why = says(&server, &[&other]);
        assert!(
            why.contains("signature verification failure") && why.contains("\"root\""),
            "{why}"
        );
        let at = server.windows(15).position(|bytes| bytes == b"www.example.com").unwrap();
        server[at] = b'x';
        assert!(says(&server, &[&root]).contains("signature verification failure"), "{kind:?}");
    }
}

/// [XV-2]: neither the certificate's dates nor those of the authority count.
#[test]
fn dates_do_not_count() {
    let past = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(1991, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, past);
    assert_eq!(says(&leaf(&key, past), &[&root]), "ok");
    assert_eq!(says(&leaf(&key, future), &[&root]), "ok");
}

/// [XV-2]: an authority must be one.
#[test]
fn an_issuer_must_be_allowed_to_sign() {
    let may_not = "parent certificate cannot sign this kind of certificate";
    type Change = fn(&mut CertificateParams);
    let rows: [(Change, bool); 5] = [
        (|it| it.is_ca = IsCa::ExplicitNoCa, false),
        (|it| it.is_ca = IsCa::NoCa, false),
        (|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature], false),
        (|it| it.key_usages = vec![KeyUsagePurpose::KeyCertSign], true),
        (|_| {}, true),
    ];
    for (index, (change, good)) in rows.into_iter().enumerate() {
        let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, change);
        let why = says(&leaf(&key, |_| {}), &[&root]);
        assert!(if good { why == "ok" } else { why.contains(may_not) }, "{index}: {why}");
    }
}

/// [XV-2]: where extended key usages are given, serving must be one of them, in both certificates.
#[test]
fn key_usages_must_include_serving() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let rows: [(&[ExtendedKeyUsagePurpose], bool); 4] =
        [(&[], true), (&[ClientAuth], false), (&[ClientAuth, ServerAuth], true), (&[Any], true)];
    let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, |_| {});
    for (usages, good) in rows {
        let want = if good { "ok" } else { "certificate specifies an incompatible key usage" };
        let set = |params: &mut CertificateParams| params.extended_key_usages = usages.to_vec();
        assert_eq!(says(&leaf(&key, set), &[&root]), want, "{usages:?}");
        let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, set);
        assert_eq!(says(&leaf(&key, |_| {}), &[&root]), want, "{usages:?}");
    }
}

/// RFC 5280 4.2: an extension that is critical and strange.
#[test]
fn critical_extensions_must_be_understood() {
    let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, |_| {});
    for critical in [true, false] {
        let server = leaf(&key, |params| {
            let mut strange = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            strange.set_criticality(critical);
            params.custom_extensions.push(strange);
        });
        let want = if critical { "unhandled critical extension" } else { "ok" };
        assert_eq!(says(&server, &[&root]), want);
    }
}

/// [XV-2], RFC 5280 4.2.1.10: names inside what the authority may sign for.
#[test]
fn name_constraints_bind() {
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let net = |a, b| GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([a, b, 0, 0], 16));
    let rows = [
        (vec![dns("example.com")], vec![], true),
        (vec![dns("EXAMPLE.com"), dns("other.test")], vec![], true),
        (vec![dns("www.example.com")], vec![], true),
        (vec![dns(".example.com")], vec![], true),
        (vec![dns("ample.com")], vec![], false),
        (vec![dns("other.test")], vec![], false),
        (vec![], vec![dns("example.com")], false),
        (vec![], vec![dns("other.test")], true),
        (vec![net(10, 1)], vec![], true),
        (vec![net(10, 2)], vec![], false),
        (vec![], vec![net(10, 1)], false),
    ];
    for (permitted_subtrees, excluded_subtrees, good) in rows {
        let shown = format!("{permitted_subtrees:?} {excluded_subtrees:?}");
        let (root, key) = authority("root", &PKCS_ECDSA_P256_SHA256, |params| {
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        });
        let server = leaf(&key, |params| {
            params.subject_alt_names.push(SanType::IpAddress([10, 1, 2, 3].into()));
        });
        let why = says(&server, &[&root]);
        assert!(
            if good { why == "ok" } else { why.contains("name constraints") },
            "{shown}: {why}"
        );
    }
}

/// `der` with the last byte of its signature algorithm changed, from SHA-256 to another one.
fn with_hash(mut der: Vec<u8>, last: u8) -> Vec<u8> {
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    for at in 0..der.len() - sha256.len() {
        if der[at..].starts_with(&sha256) {
            der[at + 8] = last;
        }
    }
    der
}

/// [XV-7]: SHA-1, MD5 and MD2 signatures of others; whoever signs itself is exempt, by name, key
/// identifiers and kind of key.
#[test]
fn weak_signatures_of_others_are_found() {
    let weak = |der: &[u8]| weak_signature(&parse_x509_certificate(der).unwrap().1);
    let (root, issuer) = authority("root", &PKCS_RSA_SHA256, |params| {
        params.use_authority_key_identifier_extension = true;
    });
    let server = leaf(&issuer, |_| {});
    for (last, name) in [(5, Some("SHA1")), (4, Some("MD5")), (2, Some("MD2")), (11, None)] {
        assert_eq!(weak(&with_hash(server.clone(), last)), name);
        assert_eq!(weak(&with_hash(root.clone(), last)), None, "signs itself");
    }
    // The same name, signed by another key: the identifiers differ.
    let same = params("root").signed_by(&key(&PKCS_RSA_SHA256), &issuer).unwrap();
    assert_eq!(weak(&with_hash(same.der().to_vec(), 5)), None, "without identifiers, by name");
    let mut named = params("root");
    named.use_authority_key_identifier_extension = true;
    named.is_ca = IsCa::ExplicitNoCa;
    let named = named.signed_by(&key(&PKCS_RSA_SHA256), &issuer).unwrap();
    assert_eq!(weak(&with_hash(named.der().to_vec(), 5)), Some("SHA1"));
    // A key of another kind than the signature.
    let other = params("root").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert_eq!(weak(&with_hash(other.der().to_vec(), 5)), Some("SHA1"));
}
