//! L4: the request path, one file per step.

pub mod record;
pub mod stats;
