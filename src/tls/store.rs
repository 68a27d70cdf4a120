//! Certificates by SNI.

/// Certificates by SNI.
#[derive(Debug)]
pub struct CertStore;
