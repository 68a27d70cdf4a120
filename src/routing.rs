//! L2: from host and path, or server name, to a route; which route may have which host; who may use a
//! route, and which path its pods see.

pub mod admit;
pub mod clients;
pub mod host;
pub mod rewrite;
pub mod sni;
pub mod table;
