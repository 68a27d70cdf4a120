//! L3: TLS: names in hellos, key material, certificates by SNI, server configurations, pods'
//! certificates, minting.

pub mod anchors;
pub mod chain;
pub mod client;
pub mod client_auth;
pub mod crl;
pub mod hello;
pub mod keys;
pub mod mint;
pub mod pem;
mod roots;
pub mod server;
pub mod store;
pub mod suites;
pub mod validation;
