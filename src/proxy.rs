//! L4: the request path, one file per step.
//!
//! `entry` (connection) → on the TLS port `hello`, and then `passthrough`, which ends there, or `secure`
//! (with `handshake`) → `http1`, behind `gated`, or
//! `http2` (whose frames `metered` counts and whose requests `streams` runs) → `serve` (order of the
//! steps) → `request` (checks) → `arrive` → `routing::table` → `select` → `upstream::pool` and a connection of
//! `upstream` by `forward` → `response` or `upgrade`; `reply` makes the router's own answers; `record`
//! and `stats` are what is left behind. Everything runs on one worker's thread; a request holds Arcs of
//! its route, never a snapshot.

mod arrive;
mod compress;
pub mod detail;
mod eject;
pub mod entry;
#[cfg(test)]
mod fixture;
pub mod forward;
pub mod framing;
pub mod gated;
pub mod handshake;
mod hello;
mod http1;
mod http2;
mod isolate;
pub mod logline;
mod metered;
mod passthrough;
mod queue;
mod rates;
pub mod record;
mod relayed;
pub mod reply;
pub mod request;
pub mod response;
mod secure;
pub mod select;
pub mod serve;
pub mod spelling;
pub mod stage;
pub mod stats;
mod sticky;
mod streams;
pub mod trace;
mod unique_id;
pub mod upgrade;
pub mod worker;

/// Where the plain port says that it serves [ADMIN-5].
pub const HEALTH_PATH: &str = "/_______internal_router_healthz";
