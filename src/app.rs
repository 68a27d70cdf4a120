//! L7: wiring of each command.

pub mod backend;
pub mod check;
pub mod dns;
pub mod router;
pub mod signal;
