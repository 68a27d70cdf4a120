//! wharf: the OpenShift-on-AWS ingress path in one binary.
//!
//! ```text
//! client ─► nlb ─► router ─► Service (embedded cluster DNS map) ─► pod endpoint
//! ```
//!
//! | layer | modules | may use |
//! |---|---|---|
//! | L0 foundation | [`drain`], [`net`], [`stats`], [`task`] | std, libraries |
//! | L1 model | [`model`], [`settings`] | L0 |
//! | L2 engines (no I/O, no clock) | [`routing`], [`balance`], [`health`], [`headers`], [`frames`], [`gate`], [`queue`], [`rates`], [`services`], [`sources`], [`zone`] | L1, L0 |
//! | L3 transports | [`tls`], [`upstream`], [`dns`], [`snapshot`] | L2 to L0 |
//! | L4 flows | [`proxy`], [`nlb`], [`probe`], [`backend`], [`vip`] | L3 to L0 |
//! | L5 control | [`source`], [`compile`] | L3 to L0 |
//! | L6 surface | [`telemetry`], [`admin`] | L5 to L0, read only |
//! | L7 assembly | [`cli`], [`app`] | all |
//!
//! `tests/it/architecture.rs` holds the code to this table.

pub mod admin;
pub mod app;
pub mod backend;
pub mod balance;
pub mod cli;
pub mod compile;
pub mod dns;
pub mod drain;
pub mod frames;
pub mod gate;
pub mod headers;
pub mod health;
pub mod model;
pub mod net;
pub mod nlb;
pub mod probe;
pub mod proxy;
pub mod queue;
pub mod rates;
pub mod routing;
pub mod services;
pub mod settings;
pub mod snapshot;
pub mod source;
pub mod sources;
pub mod stats;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod vip;
pub mod zone;
