//! L6: access log and metrics.
