//! Lists of the settings in, suites and groups out.

use super::*;

fn settings(change: impl FnOnce(&mut TlsSettings)) -> TlsSettings {
    let mut settings = TlsSettings::default();
    change(&mut settings);
    settings
}

/// The suites as OpenSSL names them, without those of TLS 1.3, and the words that were dropped.
fn ciphers(list: &str) -> Result<(Vec<String>, Vec<String>), OfferError> {
    let offer = offer(&settings(|tls| {
        list.clone_into(&mut tls.ciphers);
        tls.max_version = Some(TlsVersion::V12);
    }))?;
    let short = |suite: &SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap().to_owned();
        name.replace("TLS_ECDHE_", "").replace("_WITH_", " ").replace("_GCM_SHA", " ")
    };
    let names = offer.provider.cipher_suites.iter().map(short).collect();
    Ok((names, offer.dropped.into_iter().map(|dropped| dropped.word).collect()))
}

const E128: &str = "ECDSA AES_128 256";
const R128: &str = "RSA AES_128 256";
const E256: &str = "ECDSA AES_256 384";
const R256: &str = "RSA AES_256 384";
const ECHA: &str = "ECDSA CHACHA20_POLY1305_SHA256";
const RCHA: &str = "RSA CHACHA20_POLY1305_SHA256";

/// [TLS-1, TLS-2]: profiles, names, groups and operators of OpenSSL's lists.
#[test]
fn tls_1_cipher_lists_choose_and_order() {
    let ours = vec![E128, R128, E256, R256, ECHA, RCHA];
    type Row<'a> = (&'a str, Vec<&'a str>, &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        ("intermediate", ours.clone(), &[]),
        ("modern", ours.clone(), &[]),
        ("old", ours.clone(), &["old"]),
        ("", ours.clone(), &[]),
        ("DEFAULT", ours.clone(), &[]),
        ("HIGH:!aNULL:!MD5:!3DES", ours.clone(), &[]),
        ("ALL:@STRENGTH", vec![E256, R256, ECHA, RCHA, E128, R128], &[]),
        ("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256", vec![R256, R128], &[]),
        (
            "ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384:AES256-SHA",
            vec![R256],
            &["DHE-RSA-AES256-GCM-SHA384", "AES256-SHA"],
        ),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", vec![R128], &[]),
        (
            "TLS_AES_128_GCM_SHA256:ECDHE-RSA-CHACHA20-POLY1305",
            vec![RCHA],
            &["TLS_AES_128_GCM_SHA256"],
        ),
        ("ECDHE+AESGCM", vec![E128, R128, E256, R256], &[]),
        ("ECDHE+AESGCM+aECDSA:CHACHA20", vec![E128, E256, ECHA, RCHA], &[]),
        ("AES256:AES128", vec![E256, R256, E128, R128], &[]),
        ("ALL:!ECDSA:ECDSA", vec![R128, R256, RCHA], &[]),
        ("ALL:-ECDSA:ECDSA", vec![R128, R256, RCHA, E128, E256, ECHA], &[]),
        ("ALL:+AES128", vec![E256, R256, ECHA, RCHA, E128, R128], &[]),
        ("ALL:!RSA", ours.clone(), &[]),
        ("ALL:kRSA:@SECLEVEL=2", ours.clone(), &["kRSA"]),
        (
            "aRSA, bogus ALL:!alsobogus",
            vec![R128, R256, RCHA, E128, E256, ECHA],
            &["bogus", "!alsobogus"],
        ),
        ("ALL:ALL", ours, &[]),
    ];
    for (list, suites, dropped) in rows {
        let (found, left_out) = ciphers(list).unwrap();
        assert_eq!(found, *suites, "{list}");
        assert_eq!(left_out, *dropped, "{list}");
    }
}

/// [TLS-2]: a list that leaves nothing stops the start, and says what could be offered.
#[test]
fn tls_2_nothing_left_is_an_error() {
    for list in ["AES256-SHA:DES-CBC3-SHA", "ALL:!ECDHE", "bogus", ":", "!ALL"] {
        let error = ciphers(list).unwrap_err().to_string();
        assert!(error.starts_with("ROUTER_CIPHERS=") && error.contains("ECDHE-RSA"), "{error}");
    }
    let rows: [fn(&mut TlsSettings); 4] = [
        |tls| tls.max_version = Some(TlsVersion::V11),
        |tls| (tls.min_version, tls.max_version) = (TlsVersion::V13, Some(TlsVersion::V12)),
        |tls| "TLS_AES_128_CCM_SHA256".clone_into(&mut tls.ciphersuites),
        |tls| "secp521r1:x448".clone_into(&mut tls.curves),
    ];
    for change in rows {
        assert!(offer(&settings(change)).is_err());
    }
}

/// [TLS-1]: SSL_MIN_VERSION and SSL_MAX_VERSION; a list for a version that is off is not looked at.
#[test]
fn tls_1_versions() {
    let rows: [(TlsVersion, Option<TlsVersion>, &str, &[&SupportedProtocolVersion]); 4] = [
        (TlsVersion::V10, None, "", &[&TLS13, &TLS12]),
        (TlsVersion::V12, Some(TlsVersion::V12), "", &[&TLS12]),
        (TlsVersion::V13, None, "AES256-SHA", &[&TLS13]),
        (TlsVersion::V10, Some(TlsVersion::V13), "", &[&TLS13, &TLS12]),
    ];
    for (min_version, max_version, ciphers, expected) in rows {
        let ciphers = ciphers.to_owned();
        let tls = TlsSettings { min_version, max_version, ciphers, ..TlsSettings::default() };
        let offer = offer(&tls).unwrap();
        assert_eq!(offer.versions, expected);
        let has_12 = offer.provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        assert_eq!(has_12, expected.contains(&&TLS12));
    }
}

/// Decisions 14, [TLS-1]: our order, or the user's.
#[test]
fn tls_1_suites_of_tls_1_3() {
    let first = |list: &str| {
        let offer = offer(&settings(|tls| list.clone_into(&mut tls.ciphersuites))).unwrap();
        let suites = offer.provider.cipher_suites;
        let of_13 = suites.iter().filter(|suite| suite.tls13().is_some()).count();
        (suites[0].suite(), of_13, offer.dropped.len())
    };
    let (aes, chacha) =
        (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(first(""), (aes, 3, 0));
    let list = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256";
    assert_eq!(first(list), (chacha, 2, 1));
}

/// [TLS-1]: post-quantum first by default, as in the list that the operator sets.
#[test]
fn tls_1_groups() {
    let names = |list: &str| {
        let offer = offer(&settings(|tls| list.clone_into(&mut tls.curves))).unwrap();
        let groups = offer.provider.kx_groups;
        let names: Vec<String> = groups.iter().map(|group| format!("{:?}", group.name())).collect();
        (names.join(" "), offer.dropped)
    };
    let (by_default, dropped) = names("");
    assert_eq!(by_default, "X25519MLKEM768 X25519 secp256r1 secp384r1");
    assert_eq!(dropped, []);
    let (of_operator, dropped) = names("X25519MLKEM768:X25519:secp256r1:secp384r1:secp521r1");
    assert_eq!(of_operator, "X25519MLKEM768 X25519 secp256r1 secp384r1");
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].setting, dropped[0].word.as_str()), ("ROUTER_CURVES", "secp521r1"));
    assert_eq!(names("P-384:*x25519/?prime256v1:P-256").0, "secp384r1 X25519 secp256r1");
}
