//! What the sanitiser takes and what it refuses.

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

use super::*;
use crate::tls::mint::{self, Pair};

fn pair() -> Pair {
    mint::self_signed(&["a.example.com".to_owned()]).unwrap()
}

/// `pem` under another label.
fn labelled(pem: &str, from: &str, to: &str) -> String {
    pem.replace(&format!(" {from}-----"), &format!(" {to}-----"))
}

/// [XV-4]: text between blocks goes, blocks stay in their order, and `EC PARAMETERS` is skipped.
#[test]
fn text_between_blocks_is_dropped() {
    let (one, two) = (pair(), pair());
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let text = format!(
        "subject=/CN=a\r\n{}\nkey: \u{fc}\n{parameters}{}\n  and {}",
        one.cert_pem.replace('\n', "\r\n"),
        one.key_pem,
        two.cert_pem.trim_end(),
    );
    let blocks = sanitize(&text).unwrap();
    // The last block does not start a line.
    assert_eq!(blocks.certificates.len(), 1);
    assert_eq!(blocks.keys.len(), 1);
    assert_eq!(blocks.ignored, None);
    let both = sanitize(&format!("{}{}", one.cert_pem, two.cert_pem)).unwrap().certificates;
    assert_eq!(both[0], blocks.certificates[0]);
    assert_ne!(both[1], both[0]);
    assert!(sanitize("no block at all").unwrap().certificates.is_empty());
}

/// [XV-4]: the label of a key does not count, its content does.
#[test]
fn keys_are_taken_under_each_of_their_labels() {
    let key = pair().key_pem;
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ECDSA PRIVATE KEY"] {
        let blocks = sanitize(&labelled(&key, "PRIVATE KEY", label)).unwrap();
        assert_eq!(blocks.keys.len(), 1, "{label}");
    }
    let public = KeyPair::from_pem(&key).unwrap().public_key_pem();
    for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "DSA PUBLIC KEY", "ECDSA PUBLIC KEY"] {
        let blocks = sanitize(&labelled(&public, "PUBLIC KEY", label)).unwrap();
        assert!(blocks.keys.is_empty() && blocks.certificates.is_empty(), "{label}");
    }
}

/// [XV-4]: every other block is an error that says which.
#[test]
fn other_blocks_are_refused() {
    let pair = pair();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    let request = CertificateParams::new(["a".to_owned()]).unwrap();
    let request = request.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let dh = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----";
    let rows = [
        (request, "unrecognized PEM block CERTIFICATE REQUEST in line 1"),
        (format!("\n{dh}"), "unrecognized PEM block DH PARAMETERS in line 2"),
        (
            labelled(&pair.key_pem, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "unrecognized PEM block ENCRYPTED PRIVATE KEY in line 1",
        ),
        (
            labelled(&pair.key_pem, "PRIVATE KEY", "CERTIFICATE"),
            "block CERTIFICATE in line 1 is not valid",
        ),
        (
            labelled(&pair.cert_pem, "CERTIFICATE", "PRIVATE KEY"),
            "block PRIVATE KEY in line 1 is not valid",
        ),
        (
            labelled(&pair.cert_pem, "CERTIFICATE", "PUBLIC KEY"),
            "block PUBLIC KEY in line 1 is not valid",
        ),
        (pair.cert_pem.replacen("\nM", "\n?", 1), "block CERTIFICATE in line 1 is not valid"),
        (ed25519, "block PRIVATE KEY in line 1 is not valid: the key is neither RSA nor ECDSA"),
    ];
    for (text, says) in rows {
        assert_eq!(sanitize(&text).unwrap_err().to_string(), says);
    }
}

/// [XV-4]: a block without its own end is where reading stops; a first line inside a block starts
/// anew.
#[test]
fn a_broken_trailer_ends_the_text() {
    let (one, two) = (pair().cert_pem, pair().cert_pem);
    let broken = two.replace("-----END CERTIFICATE-----", "-----END CERTIFICATE----");
    let blocks = sanitize(&format!("{one}{broken}{two}")).unwrap();
    assert_eq!(blocks.certificates.len(), 1);
    assert_eq!(blocks.ignored, Some(one.lines().count() + 1));
    let cut = two.replace("-----END CERTIFICATE-----\n", "");
    let blocks = sanitize(&format!("{cut}{one}")).unwrap();
    assert_eq!(blocks.certificates, sanitize(&one).unwrap().certificates);
    assert_eq!(sanitize(&cut).unwrap().ignored, Some(1));
}

/// What nobody sanitised is read past blocks that mean nothing to TLS.
#[test]
fn lenient_reading_skips_other_blocks() {
    let pair = pair();
    let dh = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n";
    let blocks = lenient(&format!("{dh}{}{}", pair.cert_pem, pair.key_pem)).unwrap();
    assert_eq!((blocks.certificates.len(), blocks.keys.len()), (1, 1));
}
