//! DNS resolver.
