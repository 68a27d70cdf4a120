//! Which certificates pass: the rows were measured with HAProxy 2.6 and OpenSSL 3.0, but for those of
//! version 1, which it accepts.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

struct Made {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

impl Made {
    fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

/// A certificate that `change` shapes and `issuer` signs, or it itself.
fn made(name: &str, issuer: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["pod.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    let certificate = match issuer {
        Some(issuer) => {
            let signer = Issuer::from_params(&issuer.params, &issuer.key);
            params.signed_by(&key, &signer).unwrap()
        },
        None => params.self_signed(&key).unwrap(),
    };
    Made { certificate, params, key }
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
}

fn leaf(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

fn client(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn over(params: &mut CertificateParams) {
    params.not_before = (SystemTime::now() - 3 * DAY).into();
    params.not_after = (SystemTime::now() - DAY).into();
}

fn verdict(text: &[&Made], shown: &[&Made]) -> Result<(), rustls::Error> {
    let text: String = text.iter().map(|made| made.pem()).collect();
    let chain: Vec<CertificateDer<'_>> = shown[1..].iter().map(|made| made.der()).collect();
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let anchors = Anchors::parse(&text).unwrap();
    anchors.verify(&shown[0].der(), &chain, UnixTime::now(), algorithms.all)
}

/// [REENC-1]: as OpenSSL takes a ca-file.
#[test]
fn reenc_1_chains_end_at_what_signs_itself_and_may_sign() {
    let root = made("root", None, authority);
    let other = made("other", None, authority);
    let namesake = made("root", None, authority);
    let middle = made("middle", Some(&root), authority);
    let pod = made("pod", Some(&root), leaf);
    let deep = made("deep", Some(&middle), leaf);
    let no_authority = made("none", None, leaf);
    let misled = made("misled", Some(&no_authority), leaf);
    let rows: [(&str, &[&Made], &[&Made], bool); 11] = [
        ("signed by the root", &[&root], &[&pod], true),
        ("one of several", &[&other, &root], &[&pod], true),
        ("another authority", &[&other], &[&pod], false),
        ("another one of the same name", &[&namesake], &[&pod], false),
        ("a missing link", &[&root], &[&deep], false),
        ("a link that the pod shows", &[&root], &[&deep, &middle], true),
        ("a link in the text", &[&root, &middle], &[&deep], true),
        ("a link is no anchor", &[&middle], &[&deep, &middle], false),
        ("the pod's own, signed by another", &[&pod], &[&pod], false),
        ("signed by what is no authority", &[&no_authority], &[&misled], false),
        ("nothing that is no authority", &[&root], &[&no_authority], false),
    ];
    for (what, text, shown, passes) in rows {
        let verdict = verdict(text, shown);
        assert_eq!(verdict.is_ok(), passes, "{what}: {verdict:?}");
    }
}

/// [REENC-1]: the certificate itself may be in the text, if it signs itself.
#[test]
fn reenc_1_a_pod_may_show_what_is_in_the_text() {
    let plain = made("plain", None, leaf);
    let as_authority = made("ca", None, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let signer = made("signer", None, authority);
    let for_clients = made("client", None, client);
    for (made, passes) in
        [(&plain, true), (&as_authority, true), (&signer, false), (&for_clients, false)]
    {
        let verdict = verdict(&[made], &[made]);
        assert_eq!(verdict.is_ok(), passes, "{:?}: {verdict:?}", made.params.distinguished_name);
    }
    let like = made("plain", None, leaf);
    assert!(verdict(&[&plain], &[&like]).is_err(), "its name is not enough");
}

/// [REENC-1]: out of time at any place of the chain.
#[test]
fn reenc_1_what_is_over_does_not_count() {
    let root = made("root", None, authority);
    let old_root = made("old", None, |params| {
        authority(params);
        over(params);
    });
    let old_pod = made("pod", Some(&root), |params| {
        leaf(params);
        over(params);
    });
    let pod_of_old = made("pod", Some(&old_root), leaf);
    let old_own = made("own", None, |params| {
        leaf(params);
        over(params);
    });
    let future = made("future", None, |params| {
        leaf(params);
        params.not_before = (SystemTime::now() + DAY).into();
    });
    for (text, shown) in
        [(&root, &old_pod), (&old_root, &pod_of_old), (&old_own, &old_own), (&future, &future)]
    {
        let verdict = verdict(&[text], &[shown]);
        assert!(verdict.is_err(), "{:?}", shown.params.distinguished_name);
    }
    let purpose = made("pod", Some(&root), client);
    assert!(verdict(&[&root], &[&purpose]).is_err(), "a client's certificate");
}

#[test]
fn texts_without_a_good_certificate_are_refused() {
    assert_eq!(Anchors::parse("").unwrap_err(), AnchorError::Empty);
    assert_eq!(Anchors::parse("text").unwrap_err(), AnchorError::Empty);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let at = |text: &str| Anchors::parse(text).unwrap_err().to_string();
    assert_eq!(at(broken), "block CERTIFICATE in line 1 is not valid");
    let good = made("root", None, authority).pem();
    let second = format!("block CERTIFICATE in line {} is not valid", good.lines().count() + 1);
    assert_eq!(at(&format!("{good}{broken}")), second);
    let cut = &good[..good.len() - 10];
    assert_eq!(Anchors::parse(cut).unwrap_err(), AnchorError::Empty);
}

/// [XV-4, XV-8]: extended validation has let such a text pass, so its good part counts here as well.
#[test]
fn xv_4_what_follows_a_block_without_an_end_does_not_count() {
    let (root, other) = (made("root", None, authority), made("other", None, authority));
    let cut = other.pem().replace("-----END CERTIFICATE-----", "");
    let text = format!("{}{cut}", root.pem());
    assert_eq!(
        Anchors::parse(&text).unwrap().digest(),
        Anchors::parse(&root.pem()).unwrap().digest()
    );
}

/// S-72: nothing of a text that was pasted into the wrong field is repeated.
#[test]
fn s_72_errors_show_no_content() {
    let text = "-----BEGIN PRIVATE KEY MIIsecret\n-----BEGIN CERTIFICATE-----\nMIIsecret\n\
                -----END CERTIFICATE-----\n";
    let error = Anchors::parse(text).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert!(!error.to_string().contains('['), "no bytes either: {error}");
}

/// What decides connection reuse is the certificates, not how they are written.
#[test]
fn the_digest_is_that_of_the_certificates() {
    let (one, two) = (made("one", None, authority).pem(), made("two", None, authority).pem());
    let digest = |text: &str| Anchors::parse(text).unwrap().digest();
    assert_eq!(digest(&one), digest(&format!("# a comment\n{one}\n\n")));
    assert_ne!(digest(&one), digest(&two));
    assert_ne!(digest(&one), digest(&format!("{one}{two}")));
    assert_ne!(digest(&one), Anchors::default().digest());
}
