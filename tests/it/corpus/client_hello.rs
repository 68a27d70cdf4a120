//! What a client sends first on the TLS port, by the calls that `proxy::hello` and `proxy::secure`
//! make: the scanner waits for a whole ClientHello and finds its name, rustls reads the same bytes, SNI
//! chooses the certificate, the handshake goes on with what is left.

use std::sync::{Arc, LazyLock};

use rustls::{ServerConnection, server::Acceptor};
use wharf::{
    settings::tls::TlsSettings,
    tls::{
        hello::{Scan, Scanner, server_name},
        keys, mint,
        server::Profile,
        store::{CertStore, Offer, Served, UnknownName},
    },
};

/// How a connection began for the library.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// More bytes are needed.
    Waits,
    /// No ClientHello.
    Refused(String),
    /// The certificate of this owner was chosen, by this name.
    Chosen { source: String, name: Option<String> },
}

static STORE: LazyLock<CertStore> = LazyLock::new(|| {
    let profile = Profile::new(&TlsSettings::default()).expect("the system has entropy");
    let served = |source: &str| {
        let pair = mint::self_signed(&["a.example.com".to_owned()]).expect("a pair");
        let key = keys::parse(profile.provider(), &pair.cert_pem, &pair.key_pem, "");
        let key = key.expect("the pair fits");
        let config = profile.config(Arc::clone(&key), true).expect("suites for both versions");
        Arc::new(Served { config, key, source: source.into() })
    };
    let mut store = CertStore::new(Some(served("default")), UnknownName::Default);
    store.insert(&"a.example.com".into(), false, served("exact"));
    store.insert(&"any.wild.example.com".into(), true, served("wildcard"));
    store
});

/// Checks that the outcome does not depend on how `data` was cut into reads, and that scanner and
/// library read the same.
pub(super) fn check(data: &[u8]) {
    let (scan, taken) = scan(data, data.len());
    for size in [1, 7] {
        assert_eq!(self::scan(data, size).0, scan, "by {size}");
    }
    let name = (scan == Scan::Complete).then(|| server_name(&data[..taken])).flatten();
    let name = name.map(|name| String::from_utf8_lossy(&name).to_ascii_lowercase());
    if let Outcome::Chosen { name: of_library, .. } = begin(data, data.len()) {
        match scan {
            // The library leaves a dot at the end out, and takes the first of several names, which are
            // none for the scanner.
            Scan::Complete => {
                if let Some(name) = name {
                    assert_eq!(
                        Some(name.strip_suffix('.').unwrap_or(&name)),
                        of_library.as_deref()
                    );
                }
            },
            Scan::TooLong => assert!(data.len() > 4096),
            over => assert_eq!(over, Scan::Complete, "the library has a hello"),
        }
    }
    let whole = begin(data, data.len());
    for size in [1, 7] {
        // A refusal may name what it saw first, so only its being one is compared.
        let cut = begin(data, size);
        let both_refused = matches!((&whole, &cut), (Outcome::Refused(_), Outcome::Refused(_)));
        assert!(both_refused || cut == whole, "by {size}: {cut:?}, at once: {whole:?}");
    }
}

/// Scans the data as it grows by `size` bytes; how much there was when it was over.
fn scan(data: &[u8], size: usize) -> (Scan, usize) {
    let mut scanner = Scanner::default();
    let ends = (1..).map(|nth| nth * size).take_while(|end| *end < data.len());
    for end in ends.chain([data.len()]) {
        match scanner.scan(&data[..end]) {
            Scan::More => {},
            over => return (over, end),
        }
    }
    (Scan::More, data.len())
}

/// Shows the data in pieces of `size` bytes.
fn begin(data: &[u8], size: usize) -> Outcome {
    let mut acceptor = Acceptor::default();
    let mut rest = data;
    while !rest.is_empty() {
        let mut piece = &rest[..size.min(rest.len())];
        match acceptor.read_tls(&mut piece) {
            Ok(taken @ 1..) => rest = &rest[taken..],
            Ok(0) => return Outcome::Refused("no more is read".to_owned()),
            Err(error) => return Outcome::Refused(error.to_string()),
        }
        match acceptor.accept() {
            Ok(None) => {},
            Ok(Some(accepted)) => {
                let offer = Offer::of(&accepted.client_hello());
                let served = STORE.select(&offer).expect("there is a default");
                let sni = offer.name;
                assert_eq!(&*served.source, owner(sni.as_deref()));
                if let Ok(connection) = accepted.into_connection(Arc::clone(&served.config)) {
                    go_on(connection, rest);
                }
                return Outcome::Chosen { source: served.source.to_string(), name: sni };
            },
            Err((error, _alert)) => return Outcome::Refused(error.to_string()),
        }
    }
    Outcome::Waits
}

/// Whose certificate `name` selects, in words of the rule [CERT-1, CERT-2].
fn owner(name: Option<&str>) -> &'static str {
    match name {
        Some("a.example.com") => "exact",
        Some(name) if name.split_once('.').is_some_and(|(_, rest)| rest == "wild.example.com") => {
            "wildcard"
        },
        _ => "default",
    }
}

/// The bytes behind the hello: nobody without keys can complete a handshake.
fn go_on(mut connection: ServerConnection, mut rest: &[u8]) {
    while !rest.is_empty() && matches!(connection.read_tls(&mut rest), Ok(1..)) {
        if connection.process_new_packets().is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    while connection.wants_write() && connection.write_tls(&mut answer).is_ok() {}
    assert!(answer.len() < 65_536, "{} bytes for a hello", answer.len());
    assert!(connection.is_handshaking(), "a handshake without a key");
}
