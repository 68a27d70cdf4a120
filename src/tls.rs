//! L3: TLS: key material, certificates by SNI, server configurations, minting.

pub mod keys;
pub mod mint;
pub mod pem;
pub mod server;
pub mod store;
