//! L2: which endpoint of a backend takes the next request.

/// Chooses endpoints.
#[derive(Debug)]
pub struct Balancer;
