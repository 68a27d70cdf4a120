//! The default certificate: where it comes from, and following it when it changes [DCERT-1, DCERT-2].
//!
//! Read at start, where anything wrong stops the process; its files are looked at by the control side.
//! Always holds: a pair that cannot be served leaves the one before it in force, with a finding.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::followed::Followed;
use crate::{
    compile::Compiler,
    model::finding::{Finding, Place, codes},
    settings::{DefaultCert, RouterSettings},
    tls::{mint, pem},
};

/// Most bytes of one file.
const MAX_BYTES: u64 = 1 << 20;
/// Common name of a certificate that nobody gave [DCERT-2].
const COMMON_NAME: &str = "openshift-router";

/// PEM texts of a certificate and its key.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// Chain; may hold the key.
    pub(super) certificate: String,
    /// Key, if it is not there.
    pub(super) key: String,
}

impl std::fmt::Debug for Texts {
    /// Leaves out the texts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

/// The default certificate of `settings`: given as text, in a file or folder, or made here.
pub(super) fn texts(settings: &RouterSettings) -> anyhow::Result<Texts> {
    match &settings.default_cert {
        Some(DefaultCert::Text(text)) => {
            Ok(Texts { certificate: text.clone(), key: String::new() })
        },
        Some(DefaultCert::Path(path)) => read(path),
        None => {
            let name = match settings.domain.as_str() {
                "" => "localhost".to_owned(),
                domain => format!("*.{domain}"),
            };
            let pair = mint::self_signed_as(Some(COMMON_NAME), &[name])
                .context("cannot make a default certificate")?;
            Ok(Texts { certificate: pair.cert_pem, key: pair.key_pem })
        },
    }
}

/// The texts of a PEM file, or of a folder: `tls.crt`, and `tls.key` unless `tls.crt` has a key.
fn read(path: &Path) -> anyhow::Result<Texts> {
    let read = |file: Followed| {
        let place = file.path().display();
        file.text().with_context(|| format!("cannot read the default certificate {place}"))
    };
    let (first, second) = files(path);
    let certificate = read(first)?;
    let has_key = pem::lenient(&certificate).is_ok_and(|blocks| !blocks.keys.is_empty());
    let key = match second {
        Some(second) if !has_key => read(second)?,
        _ => String::new(),
    };
    Ok(Texts { certificate, key })
}

/// The file, or those of the folder, at `path`.
fn files(path: &Path) -> (Followed, Option<Followed>) {
    let file = |name: &str| Followed::new(path.join(name), MAX_BYTES);
    if path.is_dir() {
        (file("tls.crt"), Some(file("tls.key")))
    } else {
        (Followed::new(path, MAX_BYTES), None)
    }
}

/// The files of the default certificate.
#[derive(Debug)]
pub(super) struct DefaultCertFiles {
    path: PathBuf,
    certificate: Followed,
    key: Option<Followed>,
    finding: Option<Finding>,
}

impl DefaultCertFiles {
    /// Those that `settings` name, if any. Made before [`texts`] reads them, so that no change is lost.
    pub(super) fn new(settings: &RouterSettings) -> Option<Self> {
        let Some(DefaultCert::Path(path)) = &settings.default_cert else { return None };
        let (certificate, key) = files(path);
        Some(Self { path: path.clone(), certificate, key, finding: None })
    }

    /// What is wrong with the present files.
    pub(super) const fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// Looks at the files, and hands another certificate to `compiler`; true when it or the finding is
    /// not as before.
    pub(super) fn look(&mut self, compiler: &mut Compiler) -> bool {
        let key = self.key.as_mut().is_some_and(Followed::has_changed);
        if !self.certificate.has_changed() && !key {
            return false;
        }
        let before = self.finding.take();
        let outcome = read(&self.path).and_then(|texts| {
            let changed = compiler.set_default((&texts.certificate, &texts.key));
            changed.context("the default certificate cannot be used")
        });
        match outcome {
            Ok(changed) => changed || before.is_some(),
            Err(error) => {
                let place = Place::file(&self.path.to_string_lossy());
                let fix = "put a certificate and its key there; until then the last one is served";
                let text = format!("{error:#}");
                let finding = Finding::new(codes::BAD_DEFAULT_CERTIFICATE, place, text);
                self.finding = Some(finding.with_fix(fix));
                before != self.finding
            },
        }
    }
}
