//! What a TLS listener has ready for its connections: server configurations by certificate and ALPN,
//! client configurations for its targets, and its log.
//!
//! Made by `server` for each configuration, read by `tls::flow`. Always holds: the ticket keys of a
//! policy live as long as the load balancer, so clients resume over every configuration change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rustls::ClientConfig;

use super::{
    certificates::Certificates,
    policy::{Alpn, AlpnPolicy, Fit, Policy},
};
use crate::{
    nlb::{
        accesslog::AccessLog,
        config::{Protocol, TlsConfig},
    },
    tls::{
        client,
        server::{Profile, ProfileError},
    },
};

/// A TLS listener's side of [`Binding`](crate::nlb::listener::Binding).
#[derive(Debug)]
pub(in crate::nlb) struct Front {
    pub(super) certificates: Certificates,
    pub(super) alpn: AlpnPolicy,
    pub(super) handshake_timeout: Duration,
    /// By what ALPN came to with the client, in the order of [`Alpn::ALL`]; none for targets without
    /// TLS.
    pub(super) targets: Option<[Arc<ClientConfig>; 4]>,
    pub(super) log: Option<Log>,
}

/// The access log, and what each line of the listener begins with.
#[derive(Clone, Debug)]
pub(in crate::nlb) struct Log {
    pub(in crate::nlb) log: Arc<AccessLog>,
    pub(in crate::nlb) balancer: Arc<str>,
    pub(in crate::nlb) listener: Arc<str>,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub(in crate::nlb) enum FrontError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The profiles of a load balancer by the name of their policy, with the ticket keys.
#[derive(Debug, Default)]
pub(in crate::nlb) struct Profiles(HashMap<&'static str, Arc<Profile>>);

impl Profiles {
    fn of(&mut self, policy: Policy) -> Result<Arc<Profile>, ProfileError> {
        if let Some(known) = self.0.get(policy.name()) {
            return Ok(Arc::clone(known));
        }
        if policy.fit() == Fit::Subset {
            tracing::info!(
                policy = policy.name(),
                "of this policy, the suites with ECDHE and AEAD are served, from TLS 1.2 on"
            );
        }
        let profile = Arc::new(Profile::new(&policy.settings())?);
        self.0.insert(policy.name(), Arc::clone(&profile));
        Ok(profile)
    }
}

impl Front {
    /// The front of a listener with `config` whose groups are of protocol `targets`.
    pub(in crate::nlb) fn new(
        config: &TlsConfig,
        targets: Protocol,
        profiles: &mut Profiles,
        log: Option<Log>,
    ) -> Result<Self, FrontError> {
        let profile = profiles.of(config.policy)?;
        let targets = match targets {
            Protocol::Tls => Some(client_configs(config.policy, profiles)?),
            _ => None,
        };
        Ok(Self {
            certificates: Certificates::new(&config.certificates, &profile)?,
            alpn: config.alpn,
            handshake_timeout: config.handshake_timeout,
            targets,
            log,
        })
    }
}

fn client_configs(
    policy: Policy,
    profiles: &mut Profiles,
) -> Result<[Arc<ClientConfig>; 4], FrontError> {
    let policy = policy.of_targets();
    let profile = profiles.of(policy)?;
    let versions = policy.versions();
    let config = |alpn: Alpn| client::unverified(profile.provider(), &versions, alpn.protocols());
    let [nothing, h2, http11, http10] = Alpn::ALL;
    Ok([config(nothing)?, config(h2)?, config(http11)?, config(http10)?])
}
