//! Server configurations: suites, versions, tickets, client certificates, ALPN.
//!
//! One [`Profile`] lives as long as the process, so tickets survive every configuration change and
//! are shared by all workers (S-67): TLS 1.2 and 1.3 resume by tickets alone, there is no cache of
//! sessions, and a ticket is good only for the server name that it was made for. Those of clients who
//! may have certificates belong to their [`ClientAuth`] and end with it. Each certificate gets its own
//! `ServerConfig`, made when it first appears. Early data is never accepted (S-65).

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ProducesTickets},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    client_auth::ClientAuth,
    suites::{self, Dropped, OfferError},
};
use crate::settings::tls::TlsSettings;

/// What all server configurations have in common.
#[derive(Debug)]
pub struct Profile {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    tickets: Arc<dyn ProducesTickets>,
    client_auth: Option<Arc<ClientAuth>>,
    dropped: Vec<Dropped>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The settings leave nothing to offer.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The system has no entropy for the ticket keys.
    #[error("cannot make ticket keys: {0}")]
    Tickets(#[source] rustls::Error),
}

impl Profile {
    /// What `settings` ask for; without an order of the user, AES-128 comes first (decisions 14):
    /// SHA-256 is cheaper than the SHA-384 of rustls' own first choice.
    ///
    /// # Errors
    /// When nothing is left to offer [TLS-2].
    pub fn new(settings: &TlsSettings) -> Result<Self, ProfileError> {
        let offer = suites::offer(settings)?;
        Ok(Self {
            provider: Arc::new(offer.provider),
            versions: offer.versions,
            tickets: aws_lc_rs::Ticketer::new().map_err(ProfileError::Tickets)?,
            client_auth: None,
            dropped: offer.dropped,
        })
    }

    /// The crypto provider.
    #[must_use]
    pub const fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Words of the settings that have no effect.
    #[must_use]
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// Who may be a client, where certificates are asked for.
    #[must_use]
    pub const fn client_auth(&self) -> Option<&Arc<ClientAuth>> {
        self.client_auth.as_ref()
    }

    /// Configurations made from now on ask clients for certificates.
    pub fn set_client_auth(&mut self, client_auth: Arc<ClientAuth>) {
        self.client_auth = Some(client_auth);
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
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[] };
        self.config_for(key, protocols)
    }

    /// A configuration that serves `key` and chooses among `protocols`, in their order; without any,
    /// what a client offers is passed over.
    ///
    /// # Errors
    /// When the provider has no suite for the protocol versions.
    pub fn config_for(
        &self,
        key: Arc<CertifiedKey>,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)?;
        let (builder, tickets) = match &self.client_auth {
            None => (builder.with_no_client_auth(), Arc::clone(&self.tickets)),
            Some(auth) => (builder.with_client_cert_verifier(auth.verifier()), auth.tickets()),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.ignore_client_order = true;
        config.send_tls13_tickets = 1;
        config.ticketer = tickets;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}
