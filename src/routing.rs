//! L2: from host and path, or server name, to a route, and which route may have which host.

pub mod admit;
pub mod host;
pub mod sni;
pub mod table;
