//! Chains, lists and filters against certificates made to order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};

use super::*;
use crate::tls::crl;

/// An authority.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

fn params(name: &str, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    params
}

fn root(name: &str) -> Ca {
    let (params, key) = (params(name, true), KeyPair::generate().unwrap());
    let made = params.self_signed(&key).unwrap();
    Ca { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
}

impl Ca {
    fn signs(&self, name: &str, serial: u64) -> Self {
        let (mut params, key) = (params(name, true), KeyPair::generate().unwrap());
        params.serial_number = Some(SerialNumber::from(serial));
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Self { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    }

    fn client(&self, name: &str, serial: u64) -> CertificateDer<'static> {
        let mut params = params(name, false);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// A list of 2020 that ends `days` later.
    fn list(&self, revoked: &[u64], days: u32) -> List {
        let start = rcgen::date_time_ymd(2020, 1, 1);
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: start,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: start,
            next_update: start + Duration::from_secs(86_400) * days,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let made = params.signed_by(&self.issuer).unwrap();
        crl::read(made.der()).unwrap().remove(0)
    }
}

fn auth(bundle: &[&Ca], revocation: Revocation, filter: &str) -> ClientAuth {
    let text: String = bundle.iter().map(|ca| ca.pem.as_str()).collect();
    let authorities = Authorities::read(text.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let filter = Filter::new(filter).unwrap();
    let mode = ClientCertificates::Optional;
    ClientAuth::new(&provider, mode, filter, &authorities, revocation, UnixTime::now()).unwrap()
}

fn verify(auth: &ClientAuth, chain: &[CertificateDer<'static>]) -> Result<(), String> {
    let now = UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let outcome = auth.verifier.verify_client_cert(&chain[0], &chain[1..], now);
    outcome.map(|_| ()).map_err(|error| format!("{error:?}"))
}

/// Far beyond today.
const LONG: u32 = 36_000;

/// [MTLS-1]: chains through what the client sends and what the bundle has, to a root of the bundle.
#[test]
fn mtls_1_chains_end_at_a_root_of_the_bundle() {
    let (first, other) = (root("root"), root("other"));
    let middle = first.signs("middle", 5);
    let (leaf, stranger) = (middle.client("a", 7), other.client("b", 8));
    let only_root = auth(&[&first], Revocation::Unchecked, "");
    assert!(verify(&only_root, std::slice::from_ref(&leaf)).is_err(), "the middle is missing");
    assert_eq!(verify(&only_root, &[leaf.clone(), middle.der.clone()]), Ok(()));
    let both = auth(&[&middle, &first], Revocation::Unchecked, "");
    assert_eq!(verify(&both, std::slice::from_ref(&leaf)), Ok(()));
    assert!(verify(&both, &[stranger]).is_err());
    // Without its root, it has to be taken for one.
    let only_middle = auth(&[&middle], Revocation::Unchecked, "");
    assert_eq!(verify(&only_middle, &[leaf]), Ok(()));
    assert_eq!(both.verifier.names.len(), 2, "clients are told every name of the bundle");
}

/// S-68: as with OpenSSL, who may not sign is no authority, though the bundle has its certificate.
#[test]
fn s_68_what_may_not_sign_is_no_root() {
    let first = root("root");
    let signed = |change: fn(&mut CertificateParams)| {
        let (mut params, key) = (params("server", true), KeyPair::generate().unwrap());
        change(&mut params);
        let made = params.self_signed(&key).unwrap();
        Ca { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    };
    let no_ca = signed(|params| params.is_ca = IsCa::ExplicitNoCa);
    let no_signer = signed(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    // Nor is one that it has signed, for want of a better one.
    let (below, misled) = (no_ca.signs("below", 3), auth(&[&no_ca], Revocation::Unchecked, ""));
    assert!(verify(&misled, &[below.client("c", 4), below.der.clone()]).is_err());
    let misled = auth(&[&no_ca, &below], Revocation::Unchecked, "");
    assert!(verify(&misled, &[below.client("c", 4)]).is_err());
    for forger in [no_ca, no_signer] {
        let auth = auth(&[&first, &forger], Revocation::Unchecked, "");
        assert_eq!(verify(&auth, &[first.client("a", 1)]), Ok(()));
        let forged = verify(&auth, &[forger.client("b", 2)]).unwrap_err();
        assert!(forged.contains("UnknownIssuer"), "{forged}");
    }
}

/// [MTLS-1]: a certificate that signs itself may be in the bundle itself; it is the same or nothing,
/// made for clients, and known to nobody's list.
#[test]
fn mtls_1_a_client_may_show_what_is_in_the_bundle() {
    let own = |name: &str, purpose: ExtendedKeyUsagePurpose| {
        let (mut params, key) = (params(name, false), KeyPair::generate().unwrap());
        (params.is_ca, params.extended_key_usages) = (IsCa::ExplicitNoCa, vec![purpose]);
        let made = params.self_signed(&key).unwrap();
        Ca { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    };
    let client = own("a", ExtendedKeyUsagePurpose::ClientAuth);
    let like = own("a", ExtendedKeyUsagePurpose::ClientAuth);
    let server = own("b", ExtendedKeyUsagePurpose::ServerAuth);
    let open = auth(&[&client, &server], Revocation::Unchecked, "");
    assert_eq!(verify(&open, std::slice::from_ref(&client.der)), Ok(()));
    assert!(verify(&open, &[like.der]).is_err(), "its name is not enough");
    assert!(verify(&open, &[server.der]).unwrap_err().contains("InvalidPurpose"));
    assert!(verify(&auth(&[&client], Revocation::Unknown, ""), &[client.der]).is_err());
}

/// S-68: a root whose time is over, or has not come, accepts nobody, as with OpenSSL.
#[test]
fn s_68_a_root_counts_between_its_dates() {
    let dated = |name: &str, from: i32, until: i32| {
        let (mut params, key) = (params(name, true), KeyPair::generate().unwrap());
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let made = params.self_signed(&key).unwrap();
        Ca { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    };
    let (now, old, new) =
        (dated("now", 2000, 4000), dated("old", 2000, 2020), dated("new", 3990, 4000));
    let all = auth(&[&old, &now, &new], Revocation::Unchecked, "");
    assert_eq!(all.valid(), [false, true, false]);
    assert_eq!(verify(&all, &[now.client("a", 1)]), Ok(()));
    for ca in [&old, &new] {
        assert!(verify(&all, &[ca.client("a", 1)]).unwrap_err().contains("UnknownIssuer"));
        let alone = auth(&[ca], Revocation::Unchecked, "");
        assert!(verify(&alone, &[ca.client("a", 1)]).unwrap_err().contains("UnknownIssuer"));
    }
}

/// [MTLS-4]: every certificate below the root must be covered by a current list, as with OpenSSL.
#[test]
fn mtls_4_lists_cover_the_chain_or_it_fails() {
    let first = root("root");
    let middle = first.signs("middle", 5);
    let (good, bad) = (middle.client("good", 7), middle.client("bad", 8));
    let bundle = [&first, &middle];
    let with = |lists: Vec<List>| auth(&bundle, Revocation::Lists(lists), "");
    let (of_root, of_middle) = (first.list(&[], LONG), middle.list(&[8], LONG));
    let all = with(vec![of_root.clone(), of_middle.clone()]);
    assert_eq!(verify(&all, std::slice::from_ref(&good)), Ok(()));
    let says = |auth: &ClientAuth, word: &str| {
        let error = verify(auth, std::slice::from_ref(&good)).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    assert!(verify(&all, &[bad]).unwrap_err().contains("Revoked"));
    says(&with(vec![of_middle.clone()]), "UnknownRevocationStatus");
    says(&with(vec![first.list(&[5], LONG), of_middle]), "Revoked");
    says(&with(vec![of_root, middle.list(&[], 10)]), "ExpiredRevocationList");
    says(&with(Vec::new()), "UnknownRevocationStatus");
    says(&auth(&bundle, Revocation::Unknown, ""), "UnknownRevocationStatus");
}

/// [MTLS-3]: searched for in the slash form; who has no certificate does not match.
#[test]
fn mtls_3_the_filter_is_searched_for_in_the_subject() {
    let ca = root("root");
    let leaf = ca.client("web.example.com", 1);
    let verdict = |filter: &str, chain: Option<&CertificateDer<'static>>| {
        let auth = auth(&[&ca], Revocation::Unchecked, filter);
        auth.client(chain.map(std::slice::from_ref), false).unwrap().verdict
    };
    assert_eq!(verdict("", None), Verdict::Served);
    for filter in ["web", "^/CN=web[.]example", "(?:a|CN=web\\.)", "(?i)WEB", r"w\wB?b"] {
        assert_eq!(verdict(filter, Some(&leaf)), Verdict::Served, "{filter}");
        assert_eq!(verdict(filter, None), Verdict::Denied, "{filter}");
    }
    for filter in ["^CN=", "WEB", "example.org"] {
        assert_eq!(verdict(filter, Some(&leaf)), Verdict::Denied, "{filter}");
    }
}

/// S-52: patterns that would take much memory, or more than linear time, are refused.
#[test]
fn s_52_patterns_are_bounded() {
    for pattern in ["(a{1000}){1000}", "(", "(?=a)", r"(a)\1"] {
        assert!(Filter::new(pattern).is_err(), "{pattern}");
    }
}

/// S-67: a session that is resumed is verified as of now.
#[test]
fn s_67_a_resumed_chain_is_verified_again() {
    let (ca, other) = (root("root"), root("other"));
    let auth = auth(&[&ca], Revocation::Unchecked, "");
    let (ours, theirs) = ([ca.client("a", 1)], [other.client("b", 2)]);
    assert!(auth.client(Some(&ours), true).is_ok());
    assert!(auth.client(Some(&theirs), true).is_err());
    assert!(auth.client(None, true).is_ok());
}

/// S-69: a ticket with a long chain would make the next hello of the client too long.
#[test]
fn s_69_tickets_fit_into_a_hello() {
    let tickets = auth(&[&root("root")], Revocation::Unchecked, "").tickets();
    let ticket = tickets.encrypt(&[1; MAX_SESSION]).unwrap();
    assert!(ticket.len() < crate::tls::hello::MAX_HELLO / 2 + 1024);
    assert_eq!(tickets.decrypt(&ticket), Some(vec![1; MAX_SESSION]));
    assert_eq!(tickets.encrypt(&[1; MAX_SESSION + 1]), None);
}

#[test]
fn long_chains_are_refused() {
    let ca = root("root");
    let auth = auth(&[&ca], Revocation::Unchecked, "");
    let mut chain = vec![ca.client("a", 1)];
    assert_eq!(verify(&auth, &chain), Ok(()));
    chain.push(CertificateDer::from(vec![0; MAX_CHAIN]));
    assert!(verify(&auth, &chain).unwrap_err().contains("too long"));
}

/// S-68: a bundle with nothing in it, or with something that cannot be an authority, is no bundle.
#[test]
fn s_68_a_bundle_has_to_be_sound() {
    let ca = root("root");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Authorities::read(b""), Err(AuthoritiesError::Empty)));
    assert!(matches!(Authorities::read(b"no PEM"), Err(AuthoritiesError::Empty)));
    let text = format!("{}{garbage}", ca.pem);
    let error = Authorities::read(text.as_bytes()).unwrap_err();
    assert!(matches!(error, AuthoritiesError::Pem(_)), "{error}");
    let cut = &ca.pem[..ca.pem.len() - 10];
    let error = Authorities::read(format!("{}{cut}", ca.pem).as_bytes()).unwrap_err();
    assert!(matches!(error, AuthoritiesError::Cut(_)), "{error}");
    let leaf = params("a", false).signed_by(&KeyPair::generate().unwrap(), &ca.issuer).unwrap();
    let error = Authorities::read(leaf.pem().as_bytes()).unwrap_err();
    assert!(matches!(error, AuthoritiesError::NoAuthority), "{error}");
    let text = format!("# ours\n{}", ca.pem);
    assert_eq!(Authorities::read(text.as_bytes()).unwrap().all(), [ca.der]);
}

/// Two authorities that signed each other and no root: both are taken for roots.
#[test]
fn s_68_a_circle_of_authorities_is_not_empty() {
    let (a, b) = (root("a"), root("b"));
    let (a_by_b, b_by_a) = (b.signs("a", 1), a.signs("b", 2));
    let authorities = Authorities::read(format!("{}{}", a_by_b.pem, b_by_a.pem).as_bytes());
    assert_eq!(authorities.unwrap().roots(UnixTime::now()).len(), 2);
}
