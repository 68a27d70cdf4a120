//! Certificates by SNI.

/// Certificates by SNI.
#[derive(Debug)]
pub struct CertStore;

/// About one certificate.
#[derive(Debug)]
pub struct CertInfo {
    /// Host.
    pub host: String,
    /// Source.
    pub source: String,
    /// Unix seconds.
    pub not_after: i64,
    /// Names.
    pub names: Vec<String>,
}

impl CertStore {
    /// Describes.
    pub fn describe(&self) -> Vec<CertInfo> {
        vec![CertInfo {
            host: "shop.example.com".to_owned(),
            source: "Route shop/web".to_owned(),
            not_after: 1_785_846_600,
            names: vec!["shop.example.com".to_owned()],
        }]
    }
}
