//! What a new flow between two addresses would meet, by any load balancer of the process.
//!
//! Called by `api`; read by `wharf trace`.

use std::net::SocketAddr;

use super::Fleet;

/// What the query must be.
pub(super) const USAGE: &str = "expected ?source=ADDR:PORT&destination=ADDR:PORT\n";

/// As JSON, `null` where nobody listens; `None` when the query names no flow.
pub(super) fn flow(fleet: &Fleet, query: &str) -> Option<String> {
    let (source, destination) = (address(query, "source")?, address(query, "destination")?);
    let handles = fleet.handles();
    let view = handles.iter().find_map(|handle| handle.explain(source, destination));
    serde_json::to_string(&view).ok()
}

fn address(query: &str, name: &str) -> Option<SocketAddr> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut value = pairs.find(|(key, _)| *key == name)?.1.to_ascii_uppercase();
    // The characters of addresses that clients encode.
    for (code, plain) in [("%3A", ":"), ("%5B", "["), ("%5D", "]")] {
        value = value.replace(code, plain);
    }
    value.parse().ok()
}
