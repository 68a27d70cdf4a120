//! PEM text as people paste it: which blocks count, and which are refused [XV-4].
//!
//! Called by `tls::keys` and `tls::validation`, and for whatever else holds certificates in PEM. Always
//! holds: text outside blocks is dropped, and no error text contains key material.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::{
    asn1_rs::{FromDer, Integer, Sequence},
    pem::parse_x509_pem,
    prelude::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

/// Longest label of a block that an error repeats.
const MAX_LABEL: usize = 40;

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A block that has no business here, such as `CERTIFICATE REQUEST`.
    #[error("unrecognized PEM block {label} in line {line}")]
    Unrecognized {
        /// Its label, cut after 40 characters.
        label: String,
        /// Line of its first line, from 1.
        line: usize,
    },
    /// The content of a block is not what its label says, or not base64, or encrypted.
    #[error("block {label} in line {line} is not valid")]
    Invalid {
        /// Its label.
        label: String,
        /// Line of its first line, from 1.
        line: usize,
    },
    /// A private key of another type, such as Ed25519.
    #[error("block {label} in line {line} is not valid: the key is neither RSA nor ECDSA")]
    KeyType {
        /// Its label.
        label: String,
        /// Line of its first line, from 1.
        line: usize,
    },
}

/// The blocks of a text, by kind and in order.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Certificates; each is X.509.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys, RSA or ECDSA.
    pub keys: Vec<PrivateKeyDer<'static>>,
    /// Line of a block without its end, which ends reading: what follows is ignored [XV-4].
    pub ignored: Option<usize>,
}

/// The blocks of `text`, after the sanitiser of OpenShift's router: certificates, public keys, and RSA
/// and ECDSA private keys under any of their labels; `EC PARAMETERS` is skipped. Public keys are
/// checked and dropped, since nothing uses them.
///
/// # Errors
/// [`PemError`] for a block of another kind, or of another content than its label says.
pub fn sanitize(text: &str) -> Result<Blocks, PemError> {
    let mut blocks = Blocks::default();
    let mut scan = Scan::new(text);
    for block in scan.by_ref() {
        match block.label {
            "CERTIFICATE" => blocks.certificates.push(block.certificate()?),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "ECDSA PRIVATE KEY" => {
                blocks.keys.push(block.key()?);
            },
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "DSA PUBLIC KEY" | "ECDSA PUBLIC KEY" => {
                block.public_key()?;
            },
            "EC PARAMETERS" => {},
            _ => {
                return Err(PemError::Unrecognized { label: block.shown(), line: block.line });
            },
        }
    }
    blocks.ignored = scan.broken;
    Ok(blocks)
}

/// The certificates and private keys of `text`, whatever else is in it: what a TLS library reads when
/// nobody has sanitised.
///
/// # Errors
/// [`PemError`] for a certificate or key that cannot be read.
pub fn lenient(text: &str) -> Result<Blocks, PemError> {
    let mut blocks = Blocks::default();
    let mut scan = Scan::new(text);
    for block in scan.by_ref() {
        match block.label {
            "CERTIFICATE" => blocks.certificates.push(block.certificate()?),
            label if label.ends_with("PRIVATE KEY") => blocks.keys.push(block.key()?),
            _ => {},
        }
    }
    blocks.ignored = scan.broken;
    Ok(blocks)
}

/// The certificates of `text`, whatever else is in it.
///
/// # Errors
/// [`PemError`] for one that cannot be read.
pub fn certificates(text: &str) -> Result<Blocks, PemError> {
    let mut blocks = Blocks::default();
    let mut scan = Scan::new(text);
    for block in scan.by_ref().filter(|block| block.label == "CERTIFICATE") {
        blocks.certificates.push(block.certificate()?);
    }
    blocks.ignored = scan.broken;
    Ok(blocks)
}

/// One block with its delimiters.
#[derive(Clone, Copy)]
struct Block<'a> {
    label: &'a str,
    line: usize,
    /// From the start of the first line to the end of the last.
    text: &'a str,
}

impl Block<'_> {
    fn shown(&self) -> String {
        self.label.chars().take(MAX_LABEL).flat_map(char::escape_default).collect()
    }

    fn invalid(&self) -> PemError {
        PemError::Invalid { label: self.shown(), line: self.line }
    }

    fn der(&self) -> Result<Vec<u8>, PemError> {
        match parse_x509_pem(self.text.as_bytes()) {
            Ok((_, pem)) => Ok(pem.contents),
            Err(_) => Err(self.invalid()),
        }
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, PemError> {
        let der = self.der()?;
        match x509_parser::parse_x509_certificate(&der) {
            Ok(([], _)) => Ok(CertificateDer::from(der)),
            _ => Err(self.invalid()),
        }
    }

    /// The label does not count: PKCS #8, PKCS #1 and SEC 1 are told apart by their content.
    fn key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        let Ok(key) = PrivateKeyDer::try_from(self.der()?) else { return Err(self.invalid()) };
        if let PrivateKeyDer::Pkcs8(pkcs8) = &key {
            match pkcs8_algorithm(pkcs8.secret_pkcs8_der()).as_deref() {
                Some("1.2.840.113549.1.1.1" | "1.2.840.10045.2.1") => {},
                Some(_) => {
                    return Err(PemError::KeyType { label: self.shown(), line: self.line });
                },
                None => return Err(self.invalid()),
            }
        }
        Ok(key)
    }

    fn public_key(&self) -> Result<(), PemError> {
        let der = self.der()?;
        match SubjectPublicKeyInfo::from_der(&der) {
            Ok(([], _)) => Ok(()),
            _ => Err(self.invalid()),
        }
    }
}

/// The object identifier of a PKCS #8 key's algorithm (RFC 5208 5).
fn pkcs8_algorithm(der: &[u8]) -> Option<String> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&sequence.content).ok()?;
    let (_, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    Some(algorithm.algorithm.to_id_string())
}

/// Finds blocks. A first line inside a block starts anew, as the former one has no end; a last line
/// that does not belong to the first ends the search.
struct Scan<'a> {
    text: &'a str,
    /// Offset and number, from 1, of the next line.
    at: usize,
    line: usize,
    broken: Option<usize>,
}

impl<'a> Scan<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 0, broken: None }
    }

    /// The next line without its end, and where it starts.
    fn line(&mut self) -> Option<(usize, &'a str)> {
        let start = self.at;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').unwrap_or(rest.len());
        self.at = start + length + 1;
        self.line += 1;
        Some((start, rest[..length].trim_end()))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        if self.broken.is_some() {
            return None;
        }
        let mut open: Option<(&str, usize, usize)> = None;
        while let Some((start, line)) = self.line() {
            let begin = line.strip_prefix("-----BEGIN ").and_then(|it| it.strip_suffix("-----"));
            if let Some(label) = begin {
                open = Some((label, self.line, start));
            } else if let (Some((label, number, from)), Some(end)) =
                (open, line.strip_prefix("-----END "))
            {
                if end.strip_suffix("-----") != Some(label) {
                    self.broken = Some(number);
                    return None;
                }
                let text = &self.text[from..start + line.len()];
                return Some(Block { label, line: number, text });
            }
        }
        self.broken = open.map(|(_, number, _)| number);
        None
    }
}

#[cfg(test)]
mod tests;
