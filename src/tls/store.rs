//! Certificates by SNI: exact host, then one-label wildcard, then the default [CERT-1, CERT-2].
//!
//! Built by `compile`, read at each handshake. A route's certificate is chosen by the route's host,
//! never by the names inside the certificate; the default one is chosen by its own names as well. A
//! choice allocates nothing; only the name is put into lower case before, by [`Offer`].

use std::sync::Arc;

use hashbrown::HashMap;
use rustls::{CipherSuite, ServerConfig, SignatureScheme, server::ClientHello, sign::CertifiedKey};

use super::{client_auth::ClientAuth, keys};

/// A certificate that is served, ready for handshakes.
#[derive(Debug)]
pub struct Served {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// Who brought it: `Route ns/name` or `default`.
    pub source: Arc<str>,
}

impl Served {
    /// True when a client that was shown `other` may take it for this: the same certificate, or an
    /// earlier or later one of the same route.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
            || self.source == other.source
            || self.key.cert == other.key.cert
    }
}

/// What of a ClientHello the choice depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Server name, lower case.
    pub name: Option<String>,
    /// The client takes ECDSA signatures, in a cipher suite that goes with them.
    pub ecdsa: bool,
}

impl Offer {
    /// What `hello` says.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>) -> Self {
        Self {
            name: hello.server_name().map(str::to_ascii_lowercase),
            ecdsa: hello.signature_schemes().iter().any(|scheme| is_ecdsa_scheme(*scheme))
                && hello.cipher_suites().iter().any(|suite| suits_ecdsa(*suite)),
        }
    }

    /// A client of today that asks for `name`, in lower case.
    #[must_use]
    pub fn named(name: Option<&str>) -> Self {
        Self { name: name.map(str::to_owned), ecdsa: true }
    }
}

const fn is_ecdsa_scheme(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}

/// Suites of TLS 1.3 go with every key, those of TLS 1.2 name theirs.
const fn suits_ecdsa(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// What people may see of a certificate. Never key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertInfo {
    /// SNI that selects it, `*.domain` for wildcards, `*` for the default.
    pub host: String,
    /// Who brought it.
    pub source: String,
    /// Distinguished name of the subject, `CN=name` and so on in the certificate's order.
    pub subject: String,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// `ECDSA` or `RSA`.
    pub key: String,
    /// HTTP/2 is offered with it [ALPN-1].
    pub http2: bool,
    /// The certificates behind it, in the order in which they are sent.
    pub chain: Vec<LinkInfo>,
}

/// What people may see of a certificate behind the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Distinguished name of the subject.
    pub subject: String,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

/// The certificates for one name, at most one of each key type [CERT-3].
#[derive(Debug, Default)]
struct Choice {
    ecdsa: Option<Arc<Served>>,
    rsa: Option<Arc<Served>>,
}

impl Choice {
    fn set(&mut self, served: Arc<Served>) {
        let slot = if keys::is_ecdsa(&served.key) { &mut self.ecdsa } else { &mut self.rsa };
        *slot = Some(served);
    }

    fn pick(&self, ecdsa: bool) -> Option<&Arc<Served>> {
        let (first, second) =
            if ecdsa { (&self.ecdsa, &self.rsa) } else { (&self.rsa, &self.ecdsa) };
        first.as_ref().or(second.as_ref())
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Served>> {
        [&self.ecdsa, &self.rsa].into_iter().flatten()
    }
}

type Choices = HashMap<Arc<str>, Choice, foldhash::fast::RandomState>;

/// What a client gets whose name nobody has a certificate for [CERT-5].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The default certificate.
    #[default]
    Default,
    /// None.
    Refuse,
}

/// The store.
#[derive(Debug, Default)]
pub struct CertStore {
    exact: Choices,
    wildcard: Choices,
    default: Option<Arc<Served>>,
    unknown: UnknownName,
    client_auth: Option<Arc<ClientAuth>>,
}

impl CertStore {
    /// A store that serves `default` to clients without a name, for its own names, and as `unknown`
    /// says.
    #[must_use]
    pub fn new(default: Option<Arc<Served>>, unknown: UnknownName) -> Self {
        Self { default, unknown, ..Self::default() }
    }

    /// Serves `served` for `host`, or for one label under the domain of `host`. Of several with one
    /// key type the last stays.
    pub fn insert(&mut self, host: &Arc<str>, wildcard: bool, served: Arc<Served>) {
        if !wildcard {
            self.exact.entry(Arc::clone(host)).or_default().set(served);
        } else if let Some((_, domain)) = host.split_once('.') {
            self.wildcard.entry(domain.into()).or_default().set(served);
        }
    }

    /// Serves the default certificate for its own names, where no route has one: behind the last
    /// [`Self::insert`].
    pub fn insert_default(&mut self) {
        let Some(default) = &self.default else { return };
        for name in own_names(&default.key) {
            let (map, key) = match name.strip_prefix("*.") {
                Some(domain) => (&mut self.wildcard, domain),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(key.into()).or_insert_with(|| {
                let mut choice = Choice::default();
                choice.set(Arc::clone(default));
                choice
            });
        }
    }

    /// Who may be a client, where certificates are asked for: what every configuration in the store
    /// was made with.
    #[must_use]
    pub const fn client_auth(&self) -> Option<&Arc<ClientAuth>> {
        self.client_auth.as_ref()
    }

    /// See [`Self::client_auth`].
    pub fn set_client_auth(&mut self, client_auth: Option<Arc<ClientAuth>>) {
        self.client_auth = client_auth;
    }

    /// The certificate for a client; none if its name is unknown and must not be.
    #[must_use]
    pub fn select(&self, offer: &Offer) -> Option<&Arc<Served>> {
        self.choose(offer.name.as_deref(), offer.ecdsa)
    }

    /// The same for `name`, in lower case, and a client that takes `ecdsa` or does not.
    #[must_use]
    pub fn choose(&self, name: Option<&str>, ecdsa: bool) -> Option<&Arc<Served>> {
        let Some(name) = name else { return self.default.as_ref() };
        let by_domain = || self.wildcard.get(name.split_once('.')?.1);
        match self.exact.get(name).or_else(by_domain) {
            Some(choice) => choice.pick(ecdsa),
            None => self.default.as_ref().filter(|_| self.unknown == UnknownName::Default),
        }
    }

    /// All certificates, sorted by host.
    #[must_use]
    pub fn describe(&self) -> Vec<CertInfo> {
        let is_default =
            |served: &Arc<Served>| self.default.as_ref().is_some_and(|it| Arc::ptr_eq(it, served));
        let exact = self
            .exact
            .iter()
            .flat_map(|(host, choice)| choice.each().map(move |served| (host.to_string(), served)));
        let wildcard = self.wildcard.iter().flat_map(|(domain, choice)| {
            choice.each().map(move |served| (format!("*.{domain}"), served))
        });
        let mut all: Vec<CertInfo> = exact
            .chain(wildcard)
            .filter(|(_, served)| !is_default(served))
            .chain(self.default.iter().map(|served| ("*".to_owned(), served)))
            .map(|(host, served)| info(host, served))
            .collect();
        all.sort_by(|a, b| (&a.host, &a.key).cmp(&(&b.host, &b.key)));
        all
    }
}

/// Alternative DNS names and common name of the first certificate, lower case.
#[must_use]
pub fn own_names(key: &CertifiedKey) -> Vec<String> {
    let Some(Ok((_, leaf))) = key.cert.first().map(|der| x509_parser::parse_x509_certificate(der))
    else {
        return Vec::new();
    };
    let mut names = alternatives(&leaf);
    let common = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.extend(common.map(str::to_owned));
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names
}

fn info(host: String, served: &Served) -> CertInfo {
    let mut info = CertInfo {
        host,
        source: served.source.to_string(),
        subject: String::new(),
        not_after: 0,
        names: Vec::new(),
        key: if keys::is_ecdsa(&served.key) { "ECDSA" } else { "RSA" }.to_owned(),
        http2: !served.config.alpn_protocols.is_empty(),
        chain: Vec::new(),
    };
    let parsed = served.key.cert.iter().map(|der| x509_parser::parse_x509_certificate(der));
    for (index, parsed) in parsed.enumerate() {
        let Ok((_, certificate)) = parsed else { continue };
        let subject = certificate.subject().to_string();
        let not_after = certificate.validity().not_after.timestamp();
        if index > 0 {
            info.chain.push(LinkInfo { subject, not_after });
            continue;
        }
        info.subject = subject;
        info.not_after = not_after;
        info.names = alternatives(&certificate);
    }
    info
}

fn alternatives(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(shown).collect()
}

fn shown(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        x509_parser::extensions::GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address =
                four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from)).ok()?;
            Some(address.to_string())
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
