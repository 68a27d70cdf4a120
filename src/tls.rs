//! L3: TLS: certificates by SNI, server configurations, minting.

pub mod mint;
pub mod server;
pub mod store;
