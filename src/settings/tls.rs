//! TLS with clients: versions, suites, client certificates (spec/route.md 11.2, 11.7).

use std::path::PathBuf;

/// A protocol version that SSL_MIN_VERSION and SSL_MAX_VERSION can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0, never offered [TLS-2].
    V10,
    /// TLS 1.1, never offered [TLS-2].
    V11,
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl TlsVersion {
    /// `TLSv1.0` to `TLSv1.3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V10 => "TLSv1.0",
            Self::V11 => "TLSv1.1",
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }

    /// Reads `TLSv1.0` to `TLSv1.3`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "TLSv1.0" => Some(Self::V10),
            "TLSv1.1" => Some(Self::V11),
            "TLSv1.2" => Some(Self::V12),
            "TLSv1.3" => Some(Self::V13),
            _ => None,
        }
    }
}

/// Whether clients are asked for a certificate [MTLS-1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// Asked; none is fine, a bad one is not [MTLS-2].
    Optional,
    /// A handshake without one fails.
    Required,
}

impl ClientCertificates {
    /// The word of ROUTER_MUTUAL_TLS_AUTH.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// TLS on the HTTPS port.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Oldest version; below TLS 1.2 it counts as TLS 1.2. SSL_MIN_VERSION.
    pub min_version: TlsVersion,
    /// Newest version, none for the newest there is. SSL_MAX_VERSION.
    pub max_version: Option<TlsVersion>,
    /// `modern`, `intermediate`, `old` or an OpenSSL cipher list, for TLS 1.2. ROUTER_CIPHERS.
    pub ciphers: String,
    /// Suites of TLS 1.3 separated by colons, empty for all. ROUTER_CIPHERSUITES.
    pub ciphersuites: String,
    /// Groups of the key exchange separated by colons, empty for those of the library, which begin
    /// with X25519MLKEM768. ROUTER_CURVES.
    pub curves: String,
    /// Whether clients are asked for a certificate. ROUTER_MUTUAL_TLS_AUTH.
    pub client_certificates: ClientCertificates,
    /// PEM file with the authorities of client certificates; those of the system when absent.
    /// ROUTER_MUTUAL_TLS_AUTH_CA.
    pub client_ca: Option<PathBuf>,
    /// File with revocation lists, PEM or DER. When absent, lists are downloaded from the places that
    /// the authorities name [MTLS-4]. ROUTER_MUTUAL_TLS_AUTH_CRL.
    pub client_crl: Option<PathBuf>,
    /// Pattern that must be found in the subject of a client certificate; empty for any [MTLS-3].
    /// ROUTER_MUTUAL_TLS_AUTH_FILTER.
    pub client_filter: String,
    /// Deletes what clients themselves say in X-SSL fields [MTLS-5]. ROUTER_MUTUAL_TLS_HEADER_FILTER.
    pub client_header_filter: bool,
    /// Offers HTTP/2 with every certificate, and refuses with 421 a request whose host has another
    /// certificate than the connection (S-63). Off, HTTP/2 is offered as [ALPN-1] says and any host is
    /// served on any connection [MATCH-15]. WHARF_HTTP2_EVERYWHERE.
    pub http2_everywhere: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V12,
            max_version: None,
            ciphers: "intermediate".to_owned(),
            ciphersuites: String::new(),
            curves: String::new(),
            client_certificates: ClientCertificates::None,
            client_ca: None,
            client_crl: None,
            client_filter: String::new(),
            client_header_filter: true,
            http2_everywhere: false,
        }
    }
}
