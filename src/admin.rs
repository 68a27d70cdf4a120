//! L6: the admin port.
pub mod readiness;
