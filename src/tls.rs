//! L3: TLS: names in hellos, key material, certificates by SNI, server configurations, minting.

pub mod hello;
pub mod keys;
pub mod mint;
pub mod server;
pub mod store;
