//! TLS clients that look at the certificate instead of trusting it, and what TLS pods show.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, SignatureVerificationAlgorithm, UnixTime,
        pem::PemObject as _,
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wharf::tls::mint::{self, Authority, Pair};

use super::within;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// Server name, if one is sent.
    pub sni: Option<&'static str>,
    /// Protocols offered.
    pub alpn: &'static [&'static str],
    /// The only version offered.
    pub version: &'static SupportedProtocolVersion,
}

/// TLS 1.3 with h2 and http/1.1 offered.
pub const fn hello(sni: &'static str) -> Hello {
    Hello { sni: Some(sni), alpn: &["h2", "http/1.1"], version: &rustls::version::TLS13 }
}

/// A TLS connection to `address`.
pub async fn connect(address: SocketAddr, hello: Hello) -> io::Result<TlsStream<TcpStream>> {
    let stream = within("connecting", TcpStream::connect(address)).await?;
    handshake(stream, hello).await
}

/// A TLS connection over a stream that is there.
pub async fn handshake<S>(stream: S, hello: Hello) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    handshake_with(stream, hello.sni, client(hello, None)).await
}

/// A TLS connection to `address` by a client that was made before.
pub async fn connect_with(
    address: SocketAddr,
    sni: Option<&'static str>,
    client: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = within("connecting", TcpStream::connect(address)).await?;
    handshake_with(stream, sni, Arc::clone(client)).await
}

/// As [`connect`], by a client that can only do RSA: signatures and, below TLS 1.3, suites.
pub async fn connect_rsa(address: SocketAddr, hello: Hello) -> io::Result<TlsStream<TcpStream>> {
    static SCHEMES: LazyLock<&[(SignatureScheme, &[&dyn SignatureVerificationAlgorithm])]> =
        LazyLock::new(|| {
            let all = aws_lc_rs::default_provider().signature_verification_algorithms.mapping;
            let rsa = |(scheme, _): &&(SignatureScheme, _)| format!("{scheme:?}").contains("RSA_P");
            all.iter().filter(rsa).copied().collect::<Vec<_>>().leak()
        });
    let mut provider = aws_lc_rs::default_provider();
    provider.signature_verification_algorithms.mapping = &SCHEMES;
    provider.cipher_suites.retain(|suite| !format!("{:?}", suite.suite()).contains("ECDSA"));
    let stream = within("connecting", TcpStream::connect(address)).await?;
    handshake_with(stream, hello.sni, client_of(provider, hello, None)).await
}

async fn handshake_with<S>(
    stream: S,
    sni: Option<&'static str>,
    client: Arc<ClientConfig>,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(sni.unwrap_or("unused.example.com")).expect("a name");
    within("the handshake", TlsConnector::from(client).connect(name, stream)).await
}

/// A client that presents `identity` if it is asked for one, and remembers its sessions. It tries them
/// under any name, which a client should not do.
pub fn client(hello: Hello, identity: Option<&Identity>) -> Arc<ClientConfig> {
    client_of(aws_lc_rs::default_provider(), hello, identity)
}

fn client_of(
    provider: CryptoProvider,
    hello: Hello,
    identity: Option<&Identity>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[hello.version])
        .expect("the provider has the version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .expect("the key fits"),
    };
    config.alpn_protocols = hello.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.enable_sni = hello.sni.is_some();
    config.resumption = Resumption::store(Arc::new(AnyName(ClientSessionMemoryCache::new(8))));
    Arc::new(config)
}

/// A client's certificate chain and key.
#[derive(Debug)]
pub struct Identity {
    /// Chain, the client's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Key.
    pub key: PrivateKeyDer<'static>,
}

/// Sessions of all servers under one name.
#[derive(Debug)]
struct AnyName(ClientSessionMemoryCache);

fn one_name() -> ServerName<'static> {
    ServerName::try_from("one.example.com").expect("a name")
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_name())
    }
}

/// True when the connection goes on with an earlier session.
pub fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// The protocol that ALPN chose.
pub fn protocol(stream: &TlsStream<TcpStream>) -> Option<String> {
    let chosen = stream.get_ref().1.alpn_protocol()?;
    Some(String::from_utf8_lossy(chosen).into_owned())
}

/// The chain that the server sent.
pub fn chain(stream: &TlsStream<TcpStream>) -> Vec<CertificateDer<'static>> {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// The certificates of a PEM text.
pub fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.expect("PEM")).collect()
}

/// A self-signed pair for `name`.
pub fn pair(name: &str) -> Pair {
    mint::self_signed(&[name.to_owned()]).expect("a pair")
}

/// A self-signed pair for `name` with an RSA key.
pub fn rsa_pair(name: &str) -> Pair {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let cert_pem = params.self_signed(&key).expect("a certificate").pem();
    Pair { cert_pem, key_pem: key.serialize_pem() }
}

/// An authority called `name`.
pub fn authority(name: &str) -> Authority {
    mint::authority(name).expect("an authority")
}

/// A server certificate for `name` by `authority`.
pub fn leaf(authority: &Authority, name: &str) -> Pair {
    authority.leaf(&[name.to_owned()]).expect("a certificate")
}

/// One whose time is over since yesterday.
pub fn expired(authority: &Authority, name: &str) -> Pair {
    let signer = authority.pair();
    let key = KeyPair::from_pem(&signer.key_pem).expect("a key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&signer.cert_pem, key).expect("an authority");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    let day = Duration::from_secs(86_400);
    params.not_before = (SystemTime::now() - 2 * day).into();
    params.not_after = (SystemTime::now() - day).into();
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
}

/// A server that shows `pair` and chooses among `alpn`, without which it chooses nothing.
pub fn server(pair: &Pair, alpn: &[&str]) -> Arc<ServerConfig> {
    server_that_asks(pair, alpn, WebPkiClientVerifier::no_client_auth())
}

/// A server that shows `pair` and speaks `version` alone.
pub fn server_of(pair: &Pair, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("the provider has it")
        .with_no_client_auth()
        .with_single_cert(certificates(&pair.cert_pem), key)
        .expect("a pair");
    Arc::new(config)
}

/// One that asks for a certificate of `authority`, and goes on without.
pub fn curious(pair: &Pair, alpn: &[&str], authority: &Authority) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&authority.pair().cert_pem) {
        roots.add(certificate).expect("an authority");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build().expect("an authority");
    server_that_asks(pair, alpn, verifier)
}

fn server_that_asks(
    pair: &Pair,
    alpn: &[&str],
    verifier: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&pair.cert_pem), key)
        .expect("a pair");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Accepts any certificate whose signature over the handshake is right.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
