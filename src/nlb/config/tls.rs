//! What makes a listener one of TLS: certificates, security policy, ALPN policy (spec/l4-dns.md A.9).
//!
//! Read from files beside the configuration. Always holds: what cannot be served is refused with its
//! place in the configuration, and no error shows key material.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    GroupConfig, Protocol, Weighted,
    attributes::Attributes,
    read::{ConfigError, Problem, duration, value},
};
use crate::nlb::tls::{
    certificates::{Certificate, Validity},
    policy::{AlpnPolicy, Policy},
};

/// Certificates of a listener at most: the default one and the quota of A.12.
const MAX_CERTIFICATES: usize = 26;
/// Size of a certificate file or key file at most.
const MAX_BYTES: u64 = 256 << 10;
/// Limit of a handshake with a client or a target, unless configured.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a TLS listener has that others have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// At least one; the first is the default one.
    pub certificates: Vec<Certificate>,
    /// Security policy.
    pub policy: Policy,
    /// ALPN policy.
    pub alpn: AlpnPolicy,
    /// Limit of a handshake with a client or a target. Extension.
    pub handshake_timeout: Duration,
}

/// An entry of `certificates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawCertificate {
    /// PEM file with the chain, and perhaps the key.
    certificate: Spanned<PathBuf>,
    /// PEM file with the key.
    key: Option<Spanned<PathBuf>>,
    /// What logs call it; the file otherwise.
    arn: Option<Arc<str>>,
}

/// The fields of a listener that are about TLS.
pub(super) struct Raw<'a> {
    pub(super) certificates: &'a [Spanned<RawCertificate>],
    pub(super) policy: &'a Option<Spanned<String>>,
    pub(super) alpn: &'a Option<Spanned<String>>,
    pub(super) handshake_timeout: &'a Option<Spanned<f64>>,
    pub(super) attributes: &'a Attributes,
}

impl Raw<'_> {
    /// What they say about a listener of `protocol`, which stands at `place`.
    pub(super) fn build<T>(
        &self,
        protocol: Protocol,
        place: &Spanned<T>,
        directory: &Path,
    ) -> Result<Option<TlsConfig>, ConfigError> {
        if protocol != Protocol::Tls {
            return self.refuse(protocol).map_or(Ok(None), Err);
        }
        if let Some(timeout) = self.attributes.get("tcp.idle_timeout.seconds") {
            let expected = "left out: that of TLS listeners is fixed at 350";
            return Err(value(timeout, "tcp.idle_timeout.seconds", expected));
        }
        match self.certificates {
            [] => {
                let expected = "given for a TLS listener, the default one first";
                return Err(value(place, "certificates", expected));
            },
            [.., last] if self.certificates.len() > MAX_CERTIFICATES => {
                let problem = Problem::TooMany { what: "certificates", limit: MAX_CERTIFICATES };
                return Err(ConfigError::at(last, problem));
            },
            _ => {},
        }
        let certificates = self.certificates.iter().map(|raw| raw.value.load(directory));
        let handshake_timeout = match self.handshake_timeout {
            Some(seconds) => duration("handshakeTimeoutSeconds", seconds, 0.001, 300.0)?,
            None => DEFAULT_HANDSHAKE_TIMEOUT,
        };
        Ok(Some(TlsConfig {
            certificates: certificates.collect::<Result<_, _>>()?,
            policy: policy(self.policy.as_ref())?,
            alpn: alpn(self.alpn.as_ref())?,
            handshake_timeout,
        }))
    }

    /// The first of them that is there, as an error.
    fn refuse(&self, protocol: Protocol) -> Option<ConfigError> {
        let expected = format!("left out with protocol {}", protocol.as_str());
        let text = |raw: &Option<Spanned<String>>, name| {
            raw.as_ref().map(|raw| value(raw, name, &expected))
        };
        let first = self.certificates.first();
        first
            .map(|raw| value(raw, "certificates", &expected))
            .or_else(|| text(self.policy, "sslPolicy"))
            .or_else(|| text(self.alpn, "alpnPolicy"))
            .or_else(|| {
                let raw = self.handshake_timeout.as_ref()?;
                Some(value(raw, "handshakeTimeoutSeconds", &expected))
            })
    }
}

/// The rules of A.1 for the groups of a TLS listener: one protocol, no stickiness.
pub(super) fn check_forward(
    protocol: Protocol,
    place: &Spanned<Arc<str>>,
    forward: &[Weighted],
    groups: &[GroupConfig],
) -> Result<(), ConfigError> {
    if protocol != Protocol::Tls {
        return Ok(());
    }
    let mut own = groups.iter().filter(|group| forward.iter().any(|to| to.group == group.name));
    let first = own.clone().next().map(|group| group.protocol);
    if own.clone().any(|group| Some(group.protocol) != first) {
        return Err(ConfigError::at(place, Problem::MixedProtocols));
    }
    match own.find(|group| group.sticky) {
        Some(group) => {
            let problem = Problem::StickyTls { group: group.name.to_string() };
            Err(ConfigError::at(place, problem))
        },
        None => Ok(()),
    }
}

impl RawCertificate {
    fn load(&self, directory: &Path) -> Result<Certificate, ConfigError> {
        let certificate = text(&self.certificate, directory)?;
        let key = self.key.as_ref().map(|key| text(key, directory)).transpose()?;
        let path = self.certificate.value.display();
        let name = self.arn.clone().unwrap_or_else(|| path.to_string().into());
        let loaded = Certificate::parse(name, &certificate, &key.unwrap_or_default());
        let loaded = loaded.map_err(|error| {
            let problem = Problem::Certificate { path: path.to_string(), why: error.to_string() };
            ConfigError::at(&self.certificate, problem)
        })?;
        // A certificate may expire while it is served as well; clients decide.
        match loaded.validity(now()) {
            Validity::Valid => {},
            Validity::Expired => tracing::warn!(certificate = %path, "the certificate is expired"),
            Validity::NotYet => {
                tracing::warn!(certificate = %path, "the certificate is not yet valid");
            },
        }
        Ok(loaded)
    }

    /// The files that it names.
    pub(super) fn files(&self, directory: &Path) -> impl Iterator<Item = PathBuf> {
        let paths = [Some(&self.certificate), self.key.as_ref()];
        paths.into_iter().flatten().map(|path| directory.join(&path.value))
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn text(path: &Spanned<PathBuf>, directory: &Path) -> Result<String, ConfigError> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        let file = File::open(directory.join(&path.value))?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    };
    read().map_err(|error| {
        let path_text = path.value.display().to_string();
        ConfigError::at(path, Problem::Certificate { path: path_text, why: error.to_string() })
    })
}

fn policy(raw: Option<&Spanned<String>>) -> Result<Policy, ConfigError> {
    let Some(raw) = raw else { return Ok(Policy::default()) };
    Policy::named(&raw.value).ok_or_else(|| {
        let known = Policy::names().collect::<Vec<_>>().join(", ");
        ConfigError::at(raw, Problem::SslPolicyNotFound { name: raw.value.clone(), known })
    })
}

fn alpn(raw: Option<&Spanned<String>>) -> Result<AlpnPolicy, ConfigError> {
    let Some(raw) = raw else { return Ok(AlpnPolicy::default()) };
    AlpnPolicy::named(&raw.value).ok_or_else(|| {
        let names = AlpnPolicy::NAMES.map(|(name, _)| name).join(", ");
        value(raw, "alpnPolicy", &format!("one of {names}"))
    })
}

#[cfg(test)]
mod tests;
