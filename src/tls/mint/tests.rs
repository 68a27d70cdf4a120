//! Minted certificates in real handshakes.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::*;

fn certs(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// Runs a handshake in memory; `Err` is the client's.
fn handshake(root: &str, pair: &Pair, name: &str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for cert in certs(root) {
        roots.add(cert).unwrap();
    }
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certs(&pair.cert_pem), key)
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_leaf_is_trusted_through_its_authority() {
    let ca = authority("wharf development CA").unwrap();
    let leaf = ca.leaf(&names(&["shop.example.com", "*.apps.example.com", "127.0.0.1"])).unwrap();
    for name in ["shop.example.com", "a.apps.example.com", "127.0.0.1"] {
        handshake(&ca.pair().cert_pem, &leaf, name).unwrap();
    }
    assert!(handshake(&ca.pair().cert_pem, &leaf, "other.example.com").is_err());
}

#[test]
fn an_authority_survives_its_pem() {
    let ca = authority("wharf development CA").unwrap();
    let again = Authority::from_pem(&ca.pair().cert_pem, &ca.pair().key_pem).unwrap();
    let leaf = again.leaf(&names(&["shop.example.com"])).unwrap();
    handshake(&ca.pair().cert_pem, &leaf, "shop.example.com").unwrap();
    let stranger = authority("wharf development CA").unwrap();
    assert!(handshake(&stranger.pair().cert_pem, &leaf, "shop.example.com").is_err());
}

#[test]
fn a_self_signed_certificate_is_its_own_root() {
    let pair = self_signed(&names(&["localhost", "*.localhost"])).unwrap();
    handshake(&pair.cert_pem, &pair, "localhost").unwrap();
}

#[test]
fn a_long_first_name_still_makes_a_certificate() {
    let long = format!("{}.{}.example.com", "a".repeat(60), "b".repeat(60));
    let ca = authority("ca").unwrap();
    let leaf = ca.leaf(&names(&[&long])).unwrap();
    handshake(&ca.pair().cert_pem, &leaf, &long).unwrap();
}

#[test]
fn no_name_and_bad_pem_are_errors() {
    assert!(matches!(self_signed(&[]), Err(MintError::NoName)));
    assert!(matches!(Authority::from_pem("", ""), Err(MintError::Make(_))));
}

#[test]
fn debug_output_holds_no_key() {
    let ca = authority("ca").unwrap();
    assert!(!format!("{ca:?}").contains("PRIVATE KEY"));
}
