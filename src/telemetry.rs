//! L6: access log, process log and metrics.

pub mod access;
pub mod dns;
pub mod logs;
pub mod metrics;
pub mod rows;
pub mod time;
