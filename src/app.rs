//! L7: wiring of each command.

pub mod cert;
pub mod client;
pub mod explain;
pub mod get;
pub mod healthcheck;
pub mod table;
