//! What may be a certificate of a listener, and the order of preference.

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};

use super::*;
use crate::nlb::tls::policy::Policy;

fn made(
    name: &str,
    key: &KeyPair,
    until: i32,
    file: &str,
) -> Result<Certificate, CertificateError> {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let pem = params.self_signed(key).unwrap().pem();
    Certificate::parse(file.into(), &pem, &key.serialize_pem())
}

fn rsa(size: RsaKeySize) -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap()
}

fn store(certificates: &[Certificate]) -> Certificates {
    let profile = Profile::new(&Policy::default().settings()).unwrap();
    Certificates::new(certificates, &profile).unwrap()
}

fn chosen<'a>(store: &'a Certificates, name: &str, ecdsa: bool) -> &'a str {
    let offer = Offer { name: Some(name.to_owned()), ecdsa };
    &store.select(&offer).unwrap().name
}

/// A.9: RSA of 2048 and 3072 bits, ECDSA on three curves, and nothing else.
#[test]
fn key_types_are_those_of_the_load_balancer() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        made("a.test", &key, 2099, "x").unwrap();
    }
    made("a.test", &rsa(RsaKeySize::_3072), 2099, "x").unwrap();
    let long = made("a.test", &rsa(RsaKeySize::_4096), 2099, "x");
    assert_eq!(long.unwrap_err(), CertificateError::Bits(4096));
    let never = made("a.test", &KeyPair::generate().unwrap(), 2019, "x");
    assert_eq!(never.unwrap_err(), CertificateError::NeverValid);
    let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
    let pem = params.self_signed(&one).unwrap().pem();
    let mismatch = Certificate::parse("x".into(), &pem, &other.serialize_pem());
    assert_eq!(mismatch.unwrap_err(), CertificateError::Key(KeyError::Mismatch));
}

/// [NLB-19] ECDSA over RSA, then the larger key, then the later end, then the order of the list.
#[test]
fn nlb_19_the_best_of_several_is_chosen() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let (rsa2, rsa3) = (rsa(RsaKeySize::_2048), rsa(RsaKeySize::_3072));
    let of =
        |name: &str, key: &KeyPair, until: i32, file: &str| made(name, key, until, file).unwrap();
    let default = of("default.test", &p256, 2090, "default");
    let all = [
        default,
        of("a.test", &rsa2, 2099, "rsa2"),
        of("a.test", &p256, 2090, "p256"),
        of("a.test", &p256, 2091, "p256 later"),
        of("a.test", &p384, 2080, "p384"),
        of("a.test", &rsa3, 2080, "rsa3"),
    ];
    let with = |wanted: &[&str]| {
        let is_wanted = |one: &&Certificate| wanted.contains(&&*one.name);
        store(&all.iter().filter(is_wanted).cloned().collect::<Vec<_>>())
    };
    let everything = with(&["default", "rsa2", "p256", "p256 later", "p384", "rsa3"]);
    assert_eq!(chosen(&everything, "a.test", true), "p384");
    assert_eq!(chosen(&everything, "a.test", false), "rsa3");
    assert_eq!(chosen(&everything, "b.test", true), "default");
    assert_eq!(chosen(&with(&["default", "p256", "p256 later"]), "a.test", true), "p256 later");
    // Nothing that matches is of use to the client.
    assert_eq!(chosen(&with(&["default", "p256"]), "a.test", false), "default");
    let alike = [all[0].clone(), all[2].clone(), of("a.test", &p256, 2090, "p256 again")];
    assert_eq!(chosen(&store(&alike), "a.test", true), "p256");
}

/// A wildcard stands for one label, and is as good as the name itself.
#[test]
fn wildcards_stand_for_one_label() {
    let (p256, rsa2) = (KeyPair::generate().unwrap(), rsa(RsaKeySize::_2048));
    let all = [
        made("default.test", &p256, 2090, "default").unwrap(),
        made("*.w.test", &p256, 2090, "wild").unwrap(),
        made("a.w.test", &rsa2, 2090, "exact").unwrap(),
    ];
    let store = store(&all);
    assert_eq!(chosen(&store, "a.w.test", true), "wild");
    assert_eq!(chosen(&store, "a.w.test", false), "exact");
    assert_eq!(chosen(&store, "b.w.test", true), "wild");
    for other in ["w.test", "x.b.w.test", "test"] {
        assert_eq!(chosen(&store, other, true), "default");
    }
}

#[test]
fn validity_is_said_and_no_key_is_shown() {
    let key = KeyPair::generate().unwrap();
    let certificate = made("a.test", &key, 2021, "x").unwrap();
    let year = |number: i64| (number - 1970) * 365 * 86_400;
    assert_eq!(certificate.validity(year(2010)), Validity::NotYet);
    assert_eq!(certificate.validity(year(2020) + 100 * 86_400), Validity::Valid);
    assert_eq!(certificate.validity(year(2030)), Validity::Expired);
    let shown = format!("{certificate:?}");
    assert!(shown.len() < 200 && shown.contains("not_after"), "{shown}");
}
