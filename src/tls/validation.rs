//! Extended validation: whether the TLS content of a route is acceptable (spec/route.md 5.1).
//!
//! Called by `compile`, once for each content. Always holds: what passes can be served, and texts
//! never contain key material. The words are those of OpenShift's router where it has some, since
//! they are the message of a condition.

use std::{collections::BTreeSet, fmt, sync::Arc};

use rustls::{crypto::CryptoProvider, pki_types::CertificateDer, sign::CertifiedKey};
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

use super::{
    chain,
    keys::{self, KeyError},
    pem::{self, Blocks, PemError},
};

/// The PEM texts of one route; empty where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Chain, leaf first; may hold the key.
    pub certificate: &'a str,
    /// Private key.
    pub key: &'a str,
    /// Authorities of `certificate`, appended to the chain.
    pub ca: &'a str,
    /// Authorities of the pods.
    pub destination_ca: &'a str,
}

/// A field that holds one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `spec.tls.certificate`
    Certificate,
    /// `spec.tls.key`
    Key,
    /// `spec.tls.caCertificate`
    Ca,
    /// `spec.tls.destinationCACertificate`
    DestinationCa,
}

impl Field {
    /// Path in a Route.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Certificate => "spec.tls.certificate",
            Self::Key => "spec.tls.key",
            Self::Ca => "spec.tls.caCertificate",
            Self::DestinationCa => "spec.tls.destinationCACertificate",
        }
    }

    /// What a message shows instead of the value.
    const fn redacted(self) -> &'static str {
        match self {
            Self::Certificate => "redacted certificate data",
            Self::Key => "redacted key data",
            Self::Ca => "redacted ca certificate data",
            Self::DestinationCa => "redacted destination ca certificate data",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub field: Field,
    /// What kind.
    pub kind: Kind,
    /// What and why.
    pub text: String,
}

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block, certificate, key or signature is not acceptable.
    Content,
    /// Certificate and key are not a pair.
    Pair,
    /// The certificate is not signed by its authorities [XV-2].
    Chain,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: Invalid value: \"{}\": {}",
            self.field.path(),
            self.field.redacted(),
            self.text
        )
    }
}

/// The message for `problems`: the one there is, or all in brackets, each once.
#[must_use]
pub fn message(problems: &[Problem]) -> String {
    aggregate(problems.iter().map(Problem::to_string))
}

fn aggregate(texts: impl Iterator<Item = String>) -> String {
    let mut seen = BTreeSet::new();
    let texts: Vec<String> = texts.filter(|text| seen.insert(text.clone())).collect();
    match texts.as_slice() {
        [only] => only.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// What acceptable texts hold.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// Chain and key; none without a certificate, whatever else there is [XV-10].
    pub pair: Option<Arc<CertifiedKey>>,
    /// Texts that are cut off at a block without its end [XV-4].
    pub cut: Vec<Field>,
}

/// Everything that extended validation looks at [XV-2..XV-10].
///
/// # Errors
/// All that is wrong.
pub fn extended(provider: &CryptoProvider, texts: &Texts<'_>) -> Result<Accepted, Vec<Problem>> {
    let mut report = Report::default();
    let ca = report.authorities(Field::Ca, texts.ca, "CA certificate");
    let own = report.chain(texts.certificate, ca.as_ref());
    let key = report.blocks(Field::Key, texts.key);
    report.authorities(Field::DestinationCa, texts.destination_ca, "destination CA certificate");
    let (true, Some(own), Some(key)) = (!texts.certificate.is_empty(), own, key) else {
        return report.end(None);
    };
    if !key.certificates.is_empty() {
        report.add(Field::Key, Kind::Content, "a CERTIFICATE block does not belong here");
    }
    let keys = own.keys.into_iter().chain(key.keys).next();
    let mut chain = own.certificates;
    chain.extend(ca.into_iter().flat_map(|ca| ca.certificates));
    match keys::pair(provider, chain, keys) {
        Ok(pair) => report.end(Some(pair)),
        Err(error) => {
            report.problems.push(problem(&error));
            report.end(None)
        },
    }
}

/// Only whether the texts can be served, for EXTENDED_VALIDATION=false.
///
/// # Errors
/// What cannot be served.
pub fn servable(provider: &CryptoProvider, texts: &Texts<'_>) -> Result<Accepted, Vec<Problem>> {
    if texts.certificate.is_empty() {
        return Ok(Accepted::default());
    }
    match keys::parse(provider, texts.certificate, texts.key, texts.ca) {
        Ok(pair) => Ok(Accepted { pair: Some(pair), cut: Vec::new() }),
        Err(error) => Err(vec![problem(&error)]),
    }
}

fn problem(error: &KeyError) -> Problem {
    let (field, kind) = match error {
        KeyError::NoCertificate | KeyError::Certificate(_) => (Field::Certificate, Kind::Content),
        KeyError::Authority(_) => (Field::Ca, Kind::Content),
        KeyError::Key(_) | KeyError::NoKey | KeyError::Short(_) | KeyError::Unusable(_) => {
            (Field::Key, Kind::Content)
        },
        KeyError::Mismatch => (Field::Key, Kind::Pair),
    };
    Problem { field, kind, text: error.to_string() }
}

#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    cut: Vec<Field>,
}

impl Report {
    fn add(&mut self, field: Field, kind: Kind, text: impl Into<String>) {
        self.problems.push(Problem { field, kind, text: text.into() });
    }

    fn end(self, pair: Option<Arc<CertifiedKey>>) -> Result<Accepted, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(Accepted { pair, cut: self.cut })
        } else {
            Err(self.problems)
        }
    }

    /// The blocks of a text; `None` after a problem.
    fn blocks(&mut self, field: Field, text: &str) -> Option<Blocks> {
        self.read(field, text, |error| error.to_string())
    }

    fn read(
        &mut self,
        field: Field,
        text: &str,
        says: impl FnOnce(&PemError) -> String,
    ) -> Option<Blocks> {
        match pem::sanitize(text) {
            Ok(blocks) => {
                if blocks.ignored.is_some() {
                    self.cut.push(field);
                }
                Some(blocks)
            },
            Err(error) => {
                self.add(field, Kind::Content, says(&error));
                None
            },
        }
    }

    /// Certificates of authorities [XV-2, XV-8]; `None` where there are none.
    fn authorities(&mut self, field: Field, text: &str, name: &str) -> Option<Blocks> {
        if text.is_empty() {
            return None;
        }
        let failed = |what: &str| format!("failed to parse {name}: {what}");
        let blocks = self.read(field, text, |error| failed(&error.to_string()))?;
        if blocks.certificates.is_empty() {
            self.add(field, Kind::Content, failed(NONE));
            return None;
        }
        let weak = weak(&parsed(&blocks.certificates));
        if let Some(text) = weak {
            self.add(field, Kind::Content, text);
            return None;
        }
        Some(blocks)
    }

    /// The route's own chain; its first certificate is verified when there are authorities. An
    /// authority that is refused is a problem already and verifies nothing [XV-2, XV-3].
    fn chain(&mut self, text: &str, ca: Option<&Blocks>) -> Option<Blocks> {
        if text.is_empty() {
            return None;
        }
        let blocks = self.blocks(Field::Certificate, text)?;
        let certificates = parsed(&blocks.certificates);
        let Some(leaf) = certificates.first() else {
            self.add(Field::Certificate, Kind::Content, NONE);
            return None;
        };
        if let Some(text) = weak(&certificates) {
            self.add(Field::Certificate, Kind::Content, text);
            return None;
        }
        if let Some(Err(error)) = ca.map(|ca| chain::verify(leaf, &parsed(&ca.certificates))) {
            let text = format!("error verifying certificate: x509: {error}");
            self.add(Field::Certificate, Kind::Chain, text);
        }
        drop(certificates);
        Some(blocks)
    }
}

const NONE: &str = "data does not contain any valid RSA or ECDSA certificates";

/// The sanitiser has parsed them before.
fn parsed<'a>(certificates: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    let parse = |der: &'a CertificateDer<'_>| Some(parse_x509_certificate(der).ok()?.1);
    certificates.iter().filter_map(parse).collect()
}

/// [XV-7]
fn weak(certificates: &[X509Certificate<'_>]) -> Option<String> {
    let mut found = certificates.iter().filter_map(chain::weak_signature).peekable();
    found.peek()?;
    let text = |hash| format!("router does not support CA-signed certs using {hash}");
    Some(aggregate(found.map(text)))
}

#[cfg(test)]
mod tests;
