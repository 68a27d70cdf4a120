//! Server configurations: suites, versions, tickets, ALPN.
//!
//! One [`Profile`] lives as long as the process, so tickets survive every configuration change and
//! are shared by all workers. Each certificate gets its own `ServerConfig`, made when it first
//! appears.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ProducesTickets},
    sign::{CertifiedKey, SingleCertAndKey},
};

/// What all server configurations have in common.
#[derive(Debug)]
pub struct Profile {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Profile {
    /// TLS 1.2 and 1.3, server order, AES-128 first (decisions 14): SHA-256 is cheaper than the
    /// SHA-384 of rustls' own first choice.
    ///
    /// # Errors
    /// When the system has no entropy for the ticket keys.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .sort_by_key(|suite| !matches!(suite.suite().as_str(), Some(name) if is_first(name)));
        Ok(Self { provider: Arc::new(provider), tickets: aws_lc_rs::Ticketer::new()? })
    }

    /// The crypto provider.
    #[must_use]
    pub const fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// A configuration that serves `key`, with or without h2 [ALPN-1].
    ///
    /// # Errors
    /// When the provider has no suite for the protocol versions.
    pub fn config(
        &self,
        key: Arc<CertifiedKey>,
        http2: bool,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.ignore_client_order = true;
        config.send_tls13_tickets = 1;
        config.ticketer = Arc::clone(&self.tickets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(Arc::new(config))
    }
}

fn is_first(name: &str) -> bool {
    name == "TLS13_AES_128_GCM_SHA256"
}
