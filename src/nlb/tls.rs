//! TLS listeners (spec/l4-dns.md A.9): [`certificates`] and [`policy`] say what is served, `front` holds
//! it ready, `flow` carries a connection from the handshake with the client to the relay, and `stream`
//! is what the relay sees of TLS.

pub mod certificates;
mod flow;
mod front;
pub mod policy;
mod stream;

pub(super) use front::{Front, FrontError, Log, Profiles};
