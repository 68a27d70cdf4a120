//! The compiled routing table.

/// Routes by host and path.
#[derive(Debug)]
pub struct RouteTable<V>(Vec<V>);
