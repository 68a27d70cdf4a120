//! L7: wiring of each command.

pub mod backend;
pub mod bind;
pub mod cert;
pub mod check;
pub mod client;
pub mod config;
pub mod describe;
pub mod dns;
pub mod explain;
mod findings;
pub mod get;
pub mod healthcheck;
pub mod jsonpath;
pub mod nlb;
mod node_health;
pub mod offline;
pub mod output;
pub mod pages;
pub mod proxy;
pub mod router;
pub mod signal;
pub mod table;
pub mod trace;
pub mod up;
