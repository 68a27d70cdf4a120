//! L7: wiring of each command.

pub mod nlb;
