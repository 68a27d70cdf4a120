//! The files beside the manifests that snapshots are made of: error pages, the service CA, the default
//! certificate.
//!
//! Opened by `app::router` at its start and looked at by its control side, which makes a new snapshot
//! when one has changed. Those of client certificates have a task of their own, `client_auth`.

use super::{default_cert::DefaultCertFiles, pages::PageFiles, service_ca::ServiceCaFile};
use crate::{compile::Compiler, model::finding::Finding, settings::RouterSettings};

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    pages: PageFiles,
    service_ca: ServiceCaFile,
    default_cert: Option<DefaultCertFiles>,
}

impl Files {
    /// Those that `settings` name. Opened before the compiler is made of the default certificate, so
    /// that no change of that is lost.
    ///
    /// # Errors
    /// When an error page cannot be used.
    pub(super) fn open(settings: &RouterSettings) -> anyhow::Result<Self> {
        let pages = PageFiles::new(settings).map_err(|finding| anyhow::anyhow!("{finding}"))?;
        let service_ca = ServiceCaFile::new(settings);
        Ok(Self { pages, service_ca, default_cert: DefaultCertFiles::new(settings) })
    }

    /// Puts the pages and the service CA, as they were opened, into `compiler`.
    pub(super) fn hand_over(&self, compiler: &mut Compiler) {
        compiler.set_pages(self.pages.pages());
        compiler.set_service_ca(self.service_ca.path(), self.service_ca.found());
    }

    /// Looks at all of them and hands what is new to `compiler`; true when something is.
    pub(super) fn look(&mut self, compiler: &mut Compiler) -> bool {
        let Self { pages, service_ca, default_cert } = self;
        let pages = pages.look();
        let service_ca = service_ca.look();
        let default_cert = default_cert.as_mut().is_some_and(|files| files.look(compiler));
        if pages || service_ca {
            self.hand_over(compiler);
        }
        pages || service_ca || default_cert
    }

    /// What is wrong with them, but for what compile finds itself.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        let default_cert = self.default_cert.as_ref().and_then(DefaultCertFiles::finding);
        self.pages.findings().chain(default_cert)
    }
}
