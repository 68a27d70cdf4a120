//! Client certificates: who is accepted, and what is known of a client that was (spec/route.md 11.7).
//!
//! A [`ClientAuth`] is one state of authorities and revocation lists. Each has tickets of its own, so no
//! session goes on that was verified under another (S-67); a session that does go on is verified once
//! more, since certificates expire and lists end. Made by `app` at start and after every change, put into
//! the server configurations by `server`, asked by `proxy::secure` once for each connection. Always
//! holds: without a valid authority, or a usable list where lists are wanted, nobody is accepted (S-68).

mod authorities;

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ProducesTickets, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{
    crl::List,
    roots::{Purpose, check_own},
};
use crate::{
    headers::certificate::{CertificateFields, FieldsError, subject},
    settings::tls::ClientCertificates,
};
pub use authorities::{Authorities, AuthoritiesError, system_bundle};

/// Bytes of a client's chain at most. It stays in memory with the connection, and in its ticket.
const MAX_CHAIN: usize = 32 * 1024;

/// Bytes of a session that goes into a ticket: the client sends it in a ClientHello, of which no more
/// than [`super::hello::MAX_HELLO`] is taken (S-69).
const MAX_SESSION: usize = 8 * 1024;

/// Bytes of a compiled filter at most (S-52).
const MAX_FILTER: usize = 1 << 20;

/// Whether revoked certificates are known.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// Nobody named a list: certificates are not asked for their status.
    Unchecked,
    /// Lists are wanted and none is there yet: every certificate fails [MTLS-4].
    Unknown,
    /// Every certificate of a chain, but for the root, must be covered by a current list.
    Lists(Vec<List>),
}

/// The pattern that subjects must match [MTLS-3].
#[derive(Clone, Debug)]
pub struct Filter(Option<Regex>);

impl Filter {
    /// Reads a pattern; an empty one lets everybody pass, with or without a certificate. It is searched
    /// for in bytes: `.` is a byte, classes are ASCII. Time is linear, so there are no look-around and
    /// no back references.
    ///
    /// # Errors
    /// When the pattern cannot be read.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        if pattern.is_empty() {
            return Ok(Self(None));
        }
        RegexBuilder::new(pattern).unicode(false).size_limit(MAX_FILTER).build().map(Some).map(Self)
    }

    fn accepts(&self, certificate: Option<&CertificateDer<'_>>) -> bool {
        let Some(pattern) = &self.0 else { return true };
        certificate
            .and_then(|certificate| subject(certificate))
            .is_some_and(|line| pattern.is_match(&line))
    }
}

/// Who is accepted.
#[derive(Debug)]
pub struct ClientAuth {
    verifier: Arc<Verifier>,
    /// Which roots were valid when it was made.
    valid: Vec<bool>,
    tickets: Arc<dyn ProducesTickets>,
    filter: Filter,
}

/// Why there is no [`ClientAuth`].
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthError {
    /// An authority or a list that the verifier does not take.
    #[error("cannot be used: {0}")]
    Refused(#[from] VerifierBuilderError),
    /// No entropy for ticket keys.
    #[error("cannot make ticket keys: {0}")]
    Tickets(#[source] Error),
}

/// A client of a connection.
#[derive(Debug)]
pub struct Client {
    /// Whether its requests are served.
    pub verdict: Verdict,
    /// What pods are told about it.
    pub fields: CertificateFields,
}

/// Whether the requests of a connection are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Served,
    /// The subject does not match the filter, or there is none [MTLS-3].
    Denied,
    /// The certificate does not fit into header fields.
    TooLarge,
}

impl ClientAuth {
    /// A state of its own, with new tickets. Of the roots those that are valid `now` count, so that it
    /// is to be made anew when [`Self::valid`] is no longer what [`Authorities::valid`] says.
    ///
    /// # Errors
    /// When an authority or a list cannot be used.
    pub fn new(
        provider: &Arc<CryptoProvider>,
        mode: ClientCertificates,
        filter: Filter,
        authorities: &Authorities,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<Self, ClientAuthError> {
        let is_unchecked = matches!(revocation, Revocation::Unchecked);
        let (is_unknown, lists) = match revocation {
            Revocation::Unchecked => (false, Vec::new()),
            Revocation::Lists(lists) => (lists.is_empty(), lists),
            Revocation::Unknown => (true, Vec::new()),
        };
        let roots = authorities.roots(now);
        let chains = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .with_crls(lists.into_iter().map(|list| list.der))
                    .enforce_revocation_expiration()
                    .build()?,
            ),
        };
        let verifier = Verifier {
            chains,
            is_unknown,
            is_mandatory: mode == ClientCertificates::Required,
            own: if is_unchecked { authorities.own().to_vec() } else { Vec::new() },
            intermediates: authorities.intermediates().to_vec(),
            names: authorities.names().to_vec(),
            algorithms: provider.signature_verification_algorithms,
        };
        let tickets = aws_lc_rs::Ticketer::new().map_err(ClientAuthError::Tickets)?;
        let tickets = Arc::new(Bounded(tickets));
        Ok(Self { verifier: Arc::new(verifier), valid: authorities.valid(now), tickets, filter })
    }

    /// Which roots were valid when it was made.
    #[must_use]
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier) as _
    }

    pub(super) fn tickets(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.tickets)
    }

    /// What is known of a client whose handshake is done. A `resumed` session brings the chain of an
    /// earlier handshake, which is verified as of now.
    ///
    /// # Errors
    /// When the chain of a resumed session is no longer accepted, or cannot be read.
    pub fn client(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        resumed: bool,
    ) -> Result<Client, Error> {
        let split = chain.and_then(<[_]>::split_first);
        match split {
            Some((leaf, rest)) if resumed => {
                self.verifier.verify_client_cert(leaf, rest, UnixTime::now())?;
            },
            None if self.verifier.is_mandatory => return Err(Error::NoCertificatesPresented),
            _ => {},
        }
        let leaf = split.map(|(leaf, _)| leaf);
        let (fields, fits) = match leaf.map(|leaf| CertificateFields::of(leaf)) {
            None => (CertificateFields::without(), true),
            Some(Ok(fields)) => (fields, true),
            Some(Err(FieldsError::TooLarge)) => (CertificateFields::without(), false),
            Some(Err(FieldsError::Unreadable)) => return Err(CertificateError::BadEncoding.into()),
        };
        let verdict = match (self.filter.accepts(leaf), fits) {
            (false, _) => Verdict::Denied,
            (true, false) => Verdict::TooLarge,
            (true, true) => Verdict::Served,
        };
        Ok(Client { verdict, fields })
    }
}

/// Tickets for sessions of [`MAX_SESSION`]; a longer one is not resumed.
#[derive(Debug)]
struct Bounded(Arc<dyn ProducesTickets>);

impl ProducesTickets for Bounded {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MAX_SESSION { None } else { self.0.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Verifies as OpenSSL does with a bundle: from the roots in it, by way of the other authorities in it,
/// each of which may be revoked.
#[derive(Debug)]
struct Verifier {
    /// By the roots; nothing when none is valid.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    is_unknown: bool,
    is_mandatory: bool,
    /// What clients may show as it stands. Nothing where revocation is asked: nobody could list it.
    own: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.is_unknown {
            return Err(CertificateError::UnknownRevocationStatus.into());
        }
        if leaf.len() + chain.iter().map(|der| der.len()).sum::<usize>() > MAX_CHAIN {
            return Err(Error::General("the client's chain is too long".to_owned()));
        }
        if self.own.contains(leaf) {
            check_own(leaf, now, Purpose::Client)?;
            return Ok(ClientCertVerified::assertion());
        }
        let Some(chains) = &self.chains else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        if self.intermediates.is_empty() {
            return chains.verify_client_cert(leaf, chain, now);
        }
        let own = self.intermediates.iter().map(|der| CertificateDer::from(&der[..]));
        let theirs = chain.iter().map(|der| CertificateDer::from(&der[..]));
        let chain: Vec<CertificateDer<'_>> = theirs.chain(own).collect();
        chains.verify_client_cert(leaf, &chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
