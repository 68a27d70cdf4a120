//! Verdicts about PEM texts, kept by their digest.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use rustls::{crypto::CryptoProvider, sign::CertifiedKey};

use crate::tls::{
    keys::{self, KeyError},
    validation::{self, Field, Problem, Texts},
};

pub(super) type Digest = [u8; 32];

/// A pair that can be served.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Of chain and key.
    pub(super) id: Digest,
    /// Of the first certificate.
    pub(super) leaf: Digest,
    pub(super) key: Arc<CertifiedKey>,
}

/// What acceptable texts hold.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) pair: Option<Pair>,
    pub(super) cut: Arc<[Field]>,
}

pub(super) type Verdict = Result<Accepted, Arc<[Problem]>>;

impl Pair {
    /// The pair of a certificate text, which may hold the key, and a key text.
    pub(super) fn parse(
        provider: &CryptoProvider,
        (certificate, key): (&str, &str),
    ) -> Result<Self, KeyError> {
        let pair = keys::parse(provider, certificate, key, "")?;
        Ok(Self::new(pair, digest_of(&[certificate, key])))
    }

    fn new(key: Arc<CertifiedKey>, id: Digest) -> Self {
        let leaf = key.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
        Self { id, leaf: sha256(leaf), key }
    }
}

/// The verdicts of this compile and of the one before.
#[derive(Debug)]
pub(super) struct Verdicts {
    provider: Arc<CryptoProvider>,
    extended: bool,
    before: HashMap<Digest, Verdict>,
    now: HashMap<Digest, Verdict>,
}

impl Verdicts {
    pub(super) fn new(provider: &Arc<CryptoProvider>, extended: bool) -> Self {
        let (before, now) = (HashMap::new(), HashMap::new());
        Self { provider: Arc::clone(provider), extended, before, now }
    }

    pub(super) fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// Starts a compile: what this one does not ask for is forgotten.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    pub(super) fn of(&mut self, texts: &Texts<'_>) -> Verdict {
        let id = digest_of(&[texts.certificate, texts.key, texts.ca, texts.destination_ca]);
        if let Some(known) = self.now.get(&id) {
            return known.clone();
        }
        let verdict = self.before.remove(&id).unwrap_or_else(|| self.judge(texts, id));
        self.now.insert(id, verdict.clone());
        verdict
    }

    fn judge(&self, texts: &Texts<'_>, id: Digest) -> Verdict {
        let judged = if self.extended {
            validation::extended(&self.provider, texts)
        } else {
            validation::servable(&self.provider, texts)
        };
        match judged {
            Ok(accepted) => Ok(Accepted {
                pair: accepted.pair.map(|key| Pair::new(key, id)),
                cut: accepted.cut.into(),
            }),
            Err(problems) => Err(problems.into()),
        }
    }
}

/// SHA-256 over texts with their lengths, so that no two splits agree.
fn digest_of(texts: &[&str]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut out = Digest::default();
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
