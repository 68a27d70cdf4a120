//! The integration tests: whole routers in this process, real sockets, scripted pods.
//!
//! One file for each feature; what they share is in `harness`. `architecture` reads the sources.

mod answers;
mod architecture;
mod forward;
#[cfg(test)]
pub mod harness;
