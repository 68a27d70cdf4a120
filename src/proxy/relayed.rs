//! What a pod's response loses and gets on its way to the client [ORD-4].
//!
//! Called by `forward` for each response of a pod, and by `upgrade` for a 101. The router's own answers,
//! error pages and redirects, never come here [NOMATCH-6, HSTS-3].

use http::{HeaderMap, StatusCode, header::STRICT_TRANSPORT_SECURITY};

use super::{response::Exchange, sticky};
use crate::{headers, model::reason::Reason, snapshot::CompiledRoute};

/// The one place for the order of the steps of a response.
///
/// # Errors
/// Why the router answers in the pod's place.
pub(super) fn relayed(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    status: StatusCode,
    fields: &mut HeaderMap,
) -> Result<(), Reason> {
    let (connection, policy) = (&exchange.connection, &route.policy.headers);
    // 1. What ends at the proxy.
    let mut found = headers::strip_response_hop_by_hop(fields);
    // 2. Strict-Transport-Security, in place of the pod's own [HSTS-3].
    if let Some(hsts) = &policy.hsts {
        fields.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    // 3. The route's own actions; 4. the router's, which therefore win over the route's.
    for actions in [&policy.response, &connection.worker.actions.response] {
        if !actions.is_empty() {
            if let Err(reason) = connection.act(actions, fields) {
                exchange.count(|counters| counters.response_errors.add(1));
                return Err(reason);
            }
            found = found.or_more();
        }
    }
    // 5. The stickiness cookie, which no action can take away [STICK-4].
    sticky::answer(exchange, route, status, found, fields);
    // 6. Compression, last, since it looks at what the client will see [COMP-1].
    Ok(())
}
