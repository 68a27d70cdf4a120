//! Which certificate a name and a client get.

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::*;
use crate::{
    settings::tls::TlsSettings,
    tls::{keys, mint, server::Profile},
};

fn served(profile: &Profile, source: &str, names: &[&str], rsa: bool) -> Arc<Served> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let pair = if rsa {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        mint::Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    } else {
        mint::self_signed_as(Some("common.example.net"), &names).unwrap()
    };
    let key = keys::parse(profile.provider(), &pair.cert_pem, &pair.key_pem, "").unwrap();
    let config = profile.config(Arc::clone(&key), false).unwrap();
    Arc::new(Served { config, key, source: source.into() })
}

fn source<'a>(store: &'a CertStore, name: Option<&str>, ecdsa: bool) -> Option<&'a str> {
    let offer = Offer { name: name.map(str::to_owned), ecdsa };
    store.select(&offer).map(|served| &*served.source)
}

/// [CERT-3]: ECDSA for who takes it, else RSA; the only one there is for everybody. An exact name
/// counts before a wildcard, whatever the key.
#[test]
fn the_key_type_follows_the_client() {
    let profile = Profile::new(&TlsSettings::default()).unwrap();
    let make = |source: &str, rsa| served(&profile, source, &["x"], rsa);
    let mut store = CertStore::new(Some(make("default", false)), UnknownName::Default);
    for (host, wildcard, source, rsa) in [
        ("both.example.com", false, "rsa", true),
        ("both.example.com", false, "ecdsa", false),
        ("rsa.example.com", false, "only rsa", true),
        ("ecdsa.example.com", false, "only ecdsa", false),
        ("any.example.com", true, "wild ecdsa", false),
        ("any.example.com", true, "wild rsa", true),
    ] {
        store.insert(&host.into(), wildcard, make(source, rsa));
    }
    for (name, ecdsa, want) in [
        ("both.example.com", true, "ecdsa"),
        ("both.example.com", false, "rsa"),
        ("rsa.example.com", true, "only rsa"),
        ("ecdsa.example.com", false, "only ecdsa"),
        ("x.example.com", true, "wild ecdsa"),
        ("x.example.com", false, "wild rsa"),
        ("other.example.org", false, "default"),
    ] {
        assert_eq!(source(&store, Some(name), ecdsa), Some(want), "{name} {ecdsa}");
    }
    let hosts: Vec<_> = store.describe().into_iter().map(|it| (it.host, it.key)).collect();
    let both = ["ECDSA", "RSA"].map(|key| ("both.example.com".to_owned(), key.to_owned()));
    assert_eq!(hosts.iter().filter(|(host, _)| host == "both.example.com").count(), 2);
    assert!(both.iter().all(|row| hosts.contains(row)), "{hosts:?}");
}

/// [CERT-1, CERT-5] with 26.1: known are the names of routes with a certificate and those of the
/// default one, common name and wildcards included; who sends no name gets the default.
#[test]
fn strictness_knows_the_names_of_the_default() {
    let profile = Profile::new(&TlsSettings::default()).unwrap();
    let names = ["exact.example.org", "*.Apps.example.org"];
    let rows = [
        (Some("route.example.com"), Some("route")),
        (Some("exact.example.org"), Some("default")),
        (Some("one.apps.example.org"), Some("default")),
        (Some("own.apps.example.org"), Some("own")),
        (Some("common.example.net"), Some("default")),
        (Some("one.two.apps.example.org"), None),
        (Some("apps.example.org"), None),
        (Some("unknown.example.com"), None),
        (None, Some("default")),
    ];
    for unknown in [UnknownName::Refuse, UnknownName::Default] {
        let default = served(&profile, "default", &names, false);
        let mut store = CertStore::new(Some(default), unknown);
        let route = |source| served(&profile, source, &["x"], false);
        store.insert(&"route.example.com".into(), false, route("route"));
        store.insert(&"own.apps.example.org".into(), false, route("own"));
        store.insert(&"wild.example.net".into(), true, route("wild"));
        store.insert_default();
        for (name, want) in rows {
            let fallback = (unknown == UnknownName::Default).then_some("default");
            assert_eq!(source(&store, name, true), want.or(fallback), "{name:?} {unknown:?}");
        }
        // [CERT-2]: an exact name counts first, also if it is one of the default certificate.
        assert_eq!(source(&store, Some("common.example.net"), true), Some("default"));
        assert_eq!(source(&store, Some("other.example.net"), true), Some("wild"));
        // The names of the default certificate make no rows of their own.
        assert_eq!(store.describe().iter().filter(|it| it.source == "default").count(), 1);
    }
}

/// What people see: of the first certificate and of those behind it.
#[test]
fn certificates_are_described_with_their_chain() {
    let profile = Profile::new(&TlsSettings::default()).unwrap();
    let authority = mint::authority("some root").unwrap();
    let pair = authority.leaf(&["a.example.com".to_owned(), "10.1.2.3".to_owned()]).unwrap();
    let ca = &authority.pair().cert_pem;
    let key = keys::parse(profile.provider(), &pair.cert_pem, &pair.key_pem, ca).unwrap();
    let config = profile.config(Arc::clone(&key), true).unwrap();
    let mut store = CertStore::new(None, UnknownName::Default);
    let served = Arc::new(Served { config, key, source: "Route app/a".into() });
    store.insert(&"a.example.com".into(), false, served);
    let [info] = &store.describe()[..] else { panic!("one certificate") };
    assert_eq!(
        (&*info.host, &*info.source, &*info.subject, &*info.key, info.http2),
        ("a.example.com", "Route app/a", "CN=a.example.com", "ECDSA", true)
    );
    assert_eq!(info.names, ["a.example.com", "10.1.2.3"]);
    assert_eq!(info.chain.len(), 1);
    assert_eq!(info.chain[0].subject, "CN=some root");
    assert!(info.chain[0].not_after > info.not_after);
}
