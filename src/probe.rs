//! L4: active health checks.
