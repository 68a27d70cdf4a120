//! The integration tests: whole routers in this process, real sockets, scripted pods.
//!
//! One file for each feature; what they share is in `harness`. `architecture` reads the sources.

mod admission;
mod allow_list;
mod annotations;
mod answers;
mod architecture;
mod balance;
mod certs;
mod client_certs;
mod compression;
mod corpus;
mod drain;
mod dual_stack;
mod ejection;
mod expect;
mod forward;
mod forwarded;
mod garbage;
mod gate;
mod h2c;
#[cfg(test)]
pub mod harness;
mod header_actions;
mod header_case;
mod hsts;
mod http2_abuse;
mod http2_flow;
mod ingress;
mod limits;
mod live;
mod logs;
mod matching;
mod matrix;
mod metrics;
mod nlb_zones;
mod parking;
mod passthrough;
mod peers;
mod print_config;
mod process;
mod proxy_header;
mod queue;
mod rate_limits;
mod redirect;
mod reencrypt;
mod retry;
mod rewrite;
mod stats_port;
mod status;
mod sticky;
mod streaming;
mod timeouts;
mod tls_policy;
mod trailers;
mod upgrade;
mod websocket_h2;
