//! L6: the admin port.
#[cfg(test)]
pub(crate) mod fixture;
pub mod readiness;
