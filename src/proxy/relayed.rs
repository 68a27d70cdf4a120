//! What a pod's response loses and gets on its way to the client [ORD-4].
//!
//! Called by `forward` for each response of a pod, and by `upgrade` for a 101. The router's own answers,
//! error pages and redirects, never come here [NOMATCH-6, HSTS-3].

use http::HeaderMap;

use crate::{headers, model::reason::Reason, snapshot::CompiledRoute};

/// The one place for the order of the steps of a response.
///
/// # Errors
/// Why the router answers in the pod's place.
pub(super) fn relayed(_route: &CompiledRoute, fields: &mut HeaderMap) -> Result<(), Reason> {
    // 1. What ends at the proxy.
    headers::strip_response_hop_by_hop(fields);
    // 2. Strict-Transport-Security [HSTS-3].
    // 3. The route's own actions.
    // 4. The router's actions, which therefore win over the route's.
    // 5. The stickiness cookie, which no action can take away [STICK-4].
    // 6. Compression, last, since it looks at what the client will see [COMP-1].
    Ok(())
}
