//! Files that turn bad and good again, places that are asked for lists, starts that must fail.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// An authority whose list is at `place`.
fn authority(place: Option<&str>) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.crl_distribution_points = place
        .map(|place| CrlDistributionPoint { uris: vec![place.to_owned()] })
        .into_iter()
        .collect();
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { pem, issuer: Issuer::new(params, key) }
}

impl Ca {
    /// A list of the year, which ends with it.
    fn list(&self, year: i32) -> rcgen::CertificateRevocationList {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(year, 1, 1),
            next_update: rcgen::date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }
}

fn settings(ca: &Path) -> TlsSettings {
    TlsSettings {
        client_certificates: ClientCertificates::Required,
        client_ca: Some(ca.to_owned()),
        ..TlsSettings::default()
    }
}

fn open(settings: &TlsSettings) -> anyhow::Result<Option<Source>> {
    Source::open(settings, &Arc::new(aws_lc_rs::default_provider()))
}

/// Looks until a change was seen twice.
fn look(source: &mut Source) -> bool {
    assert!(!source.look());
    source.look()
}

/// S-68: what cannot be used stops the start; without client certificates nothing is looked at.
#[test]
fn s_68_the_start_fails_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other"));
    let refused = |settings: &TlsSettings, word: &str| {
        let error = format!("{:#}", open(settings).unwrap_err());
        assert!(error.contains(word), "{error}");
    };
    refused(&settings(&ca), "ca.pem cannot be used: No such file");
    std::fs::write(&ca, "").unwrap();
    refused(&settings(&ca), "no CERTIFICATE block");
    std::fs::write(&ca, authority(None).pem).unwrap();
    assert!(open(&settings(&ca)).unwrap().is_some());
    std::fs::write(&other, "no list").unwrap();
    refused(
        &TlsSettings { client_crl: Some(other.clone()), ..settings(&ca) },
        "no revocation list",
    );
    refused(&TlsSettings { client_filter: "(".to_owned(), ..settings(&ca) }, "FILTER=\"(\"");
    let none = ClientCertificates::None;
    let off = TlsSettings { client_certificates: none, client_ca: Some(other), ..settings(&ca) };
    assert!(open(&off).unwrap().is_none());
}

/// S-68, [MTLS-4]: a good change makes a new state, a bad one a finding.
#[test]
fn s_68_a_bad_update_keeps_the_old_state_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, crl) = (folder.path().join("ca.pem"), folder.path().join("crl.pem"));
    let (first, second) = (authority(None), authority(None));
    std::fs::write(&ca, &first.pem).unwrap();
    std::fs::write(&crl, first.list(2026).pem().unwrap()).unwrap();
    let settings = TlsSettings { client_crl: Some(crl.clone()), ..settings(&ca) };
    let mut source = open(&settings).unwrap().unwrap();
    let state = |source: &Source| source.state();
    let before = state(&source).auth.unwrap();
    let is_old = |source: &Source| Arc::ptr_eq(&before, &source.state().auth.unwrap());

    std::fs::write(&ca, "broken").unwrap();
    std::fs::write(&crl, "broken as well").unwrap();
    assert!(look(&mut source));
    let codes: Vec<String> =
        state(&source).findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["WH1090", "WH1091"]);
    assert!(is_old(&source));
    std::fs::remove_file(&ca).unwrap();
    assert!(look(&mut source));
    assert!(is_old(&source));

    std::fs::write(&ca, &second.pem).unwrap();
    std::fs::write(&crl, second.list(2026).pem().unwrap()).unwrap();
    assert!(look(&mut source));
    assert_eq!(state(&source).findings, []);
    assert!(!is_old(&source));
    assert!(!source.look());
}

/// S-68: an authority ends without a change of its file, and begins again with the clock.
#[test]
fn s_68_an_authority_that_ends_makes_a_new_state() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority(None).pem).unwrap();
    let mut source = open(&settings(&ca)).unwrap().unwrap();
    let before = source.state();
    assert_eq!(before.findings, []);
    assert!(!source.look_at_dates(UnixTime::now()));
    let far = UnixTime::since_unix_epoch(Duration::from_secs(100_000_000_000));
    assert!(source.look_at_dates(far));
    assert!(!source.look_at_dates(far), "once");
    let after = source.state();
    assert!(!Arc::ptr_eq(&before.auth.unwrap(), &after.auth.unwrap()));
    assert_eq!(after.findings.len(), 1);
    assert!(after.findings[0].text.contains("valid now"), "{:?}", after.findings);
    assert!(source.look_at_dates(UnixTime::now()));
    assert_eq!(source.state().findings, []);
}

/// A server that answers every request with `answer` and says how many came.
async fn server(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/ca.crl", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _size = stream.read(&mut head).await;
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let _gone = stream.write_all(&[head.as_bytes(), &answer].concat()).await;
        }
    });
    (address, task)
}

/// [MTLS-4]: the first of several addresses that has a list, and never an older one.
#[tokio::test]
async fn mtls_4_a_place_is_asked_for_its_list() {
    let ca = authority(None);
    let (now, old) = (ca.list(2026), ca.list(2020));
    let (good, one) = server(now.der().to_vec()).await;
    let (bad, two) = server(b"<html>".to_vec()).await;
    let (stale, three) = server(old.der().to_vec()).await;
    let list = newest(&[bad.clone(), good.clone()], None).await.unwrap();
    assert_eq!(&list.der[..], &now.der()[..]);
    assert!(
        newest(std::slice::from_ref(&bad), None).await.unwrap_err().contains("no revocation list")
    );
    assert!(newest(std::slice::from_ref(&stale), Some(&list)).await.unwrap_err().contains("older"));
    assert!(newest(&[stale], None).await.is_ok());
    assert!(newest(&["https://a/".to_owned()], None).await.is_err());
    [one, two, three].iter().for_each(tokio::task::JoinHandle::abort);
    let closed = newest(&[good], None).await.unwrap_err();
    assert!(closed.contains("cannot connect"), "{closed}");
}

/// [MTLS-4]: nobody is accepted before the first list, a failure is tried again later and leaves the
/// list before it in force.
#[tokio::test]
async fn mtls_4_downloads_change_the_state_and_failures_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let ca_path = folder.path().join("ca.pem");
    let ca = authority(Some("http://127.0.0.1:9/ca.crl"));
    std::fs::write(&ca_path, &ca.pem).unwrap();
    let mut source = open(&settings(&ca_path)).unwrap().unwrap();
    assert!(matches!(source.parts.revocation(), Revocation::Unknown));
    let first = source.state().auth.unwrap();

    assert!(source.take_download(0, Err("gone".to_owned())));
    assert!(!source.take_download(0, Err("gone".to_owned())), "nothing new");
    let state = source.state();
    assert!(state.findings[0].text.contains("ca.crl: gone; clients fail"), "{:?}", state.findings);
    assert!(Arc::ptr_eq(&first, &state.auth.unwrap()));
    let left = source.parts.places[0].due.duration_since(Instant::now());
    assert!(left > Duration::from_secs(200) && left <= crl::RETRY);
    assert!(!source.download().await, "it is not asked again before");

    let list = crl::read(ca.list(2026).der()).unwrap().remove(0);
    assert!(source.take_download(0, Ok(list.clone())));
    let second = source.state().auth.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(
        matches!(source.parts.revocation(), Revocation::Lists(lists) if lists == [list.clone()])
    );
    assert!(!source.take_download(0, Ok(list)), "the same again keeps the tickets");
    assert!(source.take_download(0, Err("gone".to_owned())));
    assert!(source.state().findings[0].text.contains("the last one counts"));
    assert!(Arc::ptr_eq(&second, &source.state().auth.unwrap()));

    // Somebody on the way has the authority's name, but not its key.
    let forged = crl::read(authority(None).list(2030).der()).unwrap().remove(0);
    assert!(source.take_download(0, Ok(forged)));
    assert!(source.state().findings[0].text.contains("somebody else; the last one counts"));
    assert!(Arc::ptr_eq(&second, &source.state().auth.unwrap()));
    let left = source.parts.places[0].due.duration_since(Instant::now());
    assert!(left <= crl::RETRY, "a forger does not say when to look again");

    // Another bundle with the same place keeps what was downloaded.
    std::fs::write(&ca_path, format!("{}{}", ca.pem, authority(None).pem)).unwrap();
    assert!(look(&mut source));
    assert!(source.parts.places[0].list.is_some());
    std::fs::write(&ca_path, authority(None).pem).unwrap();
    assert!(look(&mut source));
    assert!(matches!(source.parts.revocation(), Revocation::Unchecked));
}
