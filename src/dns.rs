//! L3: DNS: answers from the zone, the UDP and TCP server, the resolver for names outside.

pub mod answer;
pub mod resolver;
pub mod server;
