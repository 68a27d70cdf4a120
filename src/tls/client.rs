//! The router as a TLS client of pods: what is offered, and how a pod's certificate is verified.
//!
//! A [`Policy`] is made by `compile` for each distinct way to speak to pods of reencrypt routes, and
//! is part of a peer's identity, so that a connection never serves a route that would not have made
//! it. Always holds: no client certificate is presented [REENC-4], and a policy with anchors never
//! falls back to none.

use std::{net::Ipv4Addr, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::anchors::{Anchors, Digest};

/// Whose certificate a pod must show.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Anybody's [REENC-3].
    Anyone,
    /// One that leads to these anchors, whatever its names are [REENC-1].
    Chain(Arc<Anchors>),
    /// One that leads to these anchors and has the service's name [REENC-2].
    Named(Arc<Anchors>),
}

/// What tells one policy from another, and so connections that may be shared from those that must not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    anchors: Option<Digest>,
    is_verified: bool,
    /// The service's name, where it is verified or sent.
    name: Option<Arc<str>>,
    sends_name: bool,
    http2: bool,
}

/// How pods of some routes are spoken to.
#[derive(Debug)]
pub struct Policy {
    identity: Arc<Identity>,
    config: ClientConfig,
    name: ServerName<'static>,
}

impl Identity {
    /// That of the policy for pods of `service` (`name.namespace.svc`): `sends_name` puts the name
    /// into the ClientHello, `http2` offers h2 beside http/1.1 [ALPN-4]; without it nothing is
    /// offered.
    #[must_use]
    pub fn new(trust: &Trust, service: &str, sends_name: bool, http2: bool) -> Self {
        let (anchors, is_verified) = match trust {
            Trust::Anyone => (None, false),
            Trust::Chain(anchors) => (Some(anchors.digest()), false),
            Trust::Named(anchors) => (Some(anchors.digest()), true),
        };
        let name = (is_verified || sends_name).then(|| service.into());
        Self { anchors, is_verified, name, sends_name, http2 }
    }
}

impl Policy {
    /// The policy of `identity`, which was made of the same `trust`.
    ///
    /// # Errors
    /// When the provider has no suite for the protocol versions.
    pub fn new(
        identity: Identity,
        trust: Trust,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let named = identity.name.as_deref().map(|name| ServerName::try_from(name.to_owned()));
        let trust = match (&named, trust) {
            // A name that no certificate can have is shown by nobody.
            (Some(Err(_)), Trust::Named(_)) => Trust::Chain(Arc::default()),
            (_, trust) => trust,
        };
        // Without a name to verify or to send, something has to stand there.
        let name = named.and_then(Result::ok).unwrap_or_else(nobody);
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Anyone => Arc::new(Anyone { algorithms }),
            Trust::Chain(anchors) => Arc::new(Verified { anchors, name: None, algorithms }),
            Trust::Named(anchors) => {
                Arc::new(Verified { anchors, name: Some(name.clone()), algorithms })
            },
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.enable_sni = identity.sends_name;
        if identity.http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(Self { identity: Arc::new(identity), config, name })
    }

    /// What tells it from others.
    #[must_use]
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The configuration, without sessions to resume.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let mut config = self.config.clone();
        config.resumption = rustls::client::Resumption::disabled();
        config
    }

    /// The name to connect with.
    #[must_use]
    pub const fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// False when any certificate passes.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.identity.anchors.is_some()
    }
}

/// A client that takes any certificate, names nobody and offers `protocols`: how the load balancer
/// speaks to its targets, which it does not validate (spec/l4-dns.md A.5, A.9).
///
/// # Errors
/// When the provider has no suite for the protocol versions.
pub fn unverified(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone { algorithms }))
        .with_no_client_auth();
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The name to connect with where none is sent.
#[must_use]
pub fn nobody() -> ServerName<'static> {
    ServerName::from(Ipv4Addr::UNSPECIFIED)
}

/// Verifies by anchors, and by a name if there is one.
#[derive(Debug)]
struct Verified {
    anchors: Arc<Anchors>,
    name: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _connected_with: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.anchors.verify(leaf, intermediates, now, self.algorithms.all)?;
        if let Some(name) = &self.name {
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Lets everybody pass [REENC-3]. Signatures do not count either: whoever stands in between shows a
/// certificate of their own, and pods may have ones that the verifier cannot read.
#[derive(Debug)]
struct Anyone {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _connected_with: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
