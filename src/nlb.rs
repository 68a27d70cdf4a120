//! L4: the NLB emulator: listeners that spread flows over the targets of a target group
//! (spec/l4-dns.md A).
//!
//! A flow goes through the files in this order: `listener` accepts it, [`flow`] chooses a target,
//! `target` knows which targets may be chosen and checks their health, [`relay`](crate::net::relay)
//! carries the bytes; datagrams go through `udp` instead. [`server`] holds all of it and applies a new [`config`] while flows go on.
//!
//! Always holds: a configuration change closes no flow; a target that leaves keeps its flows; a
//! target that turns unhealthy loses them, unless its group says otherwise or its node fails open for
//! want of healthy ones (A.6).

pub mod accesslog;
pub mod account;
pub mod config;
mod expired;
pub mod explain;
pub mod flow;
mod listener;
pub mod names;
pub mod nodes;
mod retired;
pub mod server;
pub mod silence;
pub mod stats;
mod target;
pub mod tls;
mod udp;

pub use server::NlbHandle;
