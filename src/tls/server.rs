//! Server configurations.
