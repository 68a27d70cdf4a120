//! Step 2: what a sound request loses and gets before its route is looked up [ORD-1].
//!
//! Called by `serve`, behind `request`, for each request that will be looked up. What the access log says
//! was noted before, so it shows the request as the client sent it [HDR-8].

use http::{Request, Version, header::HOST};
use hyper::body::Incoming;

use super::{
    request::{self, Checked},
    secure::Secured,
    serve::Connection,
    upgrade::Wanted,
};
use crate::{
    headers::{self, ClientFields, certificate},
    model::reason::Reason,
};

/// Fields that are added to a request at most, certificate fields aside: five of forwarding, Host,
/// Connection, Upgrade.
const ADDED_FIELDS: usize = 8;

/// The steps of the frontend, in their order; returns the tunnel that is asked for.
pub(super) fn arrive(
    connection: &Connection,
    request: &mut Request<Incoming>,
) -> Option<Box<Wanted>> {
    // First, since the next step takes what asks for it.
    let wanted = Wanted::of(request, &connection.worker);
    let client = connection.secured.as_deref().and_then(Secured::client);
    // Who verifies clients says who they are, and nobody else.
    let keeps = client.is_none() && !connection.worker.settings.tls.client_header_filter;
    let theirs = if keeps { ClientFields::Keep } else { ClientFields::Delete };
    let http2 = request.version() == Version::HTTP_2;
    let fields = request.headers_mut();
    // `Proxy` [SEC-1], X-SSL fields [MTLS-5], and what ends at the proxy.
    headers::strip_request_hop_by_hop(fields, theirs);
    if http2 {
        headers::merge_cookies(fields);
    }
    // Room for all of them at once: the map grows by doubling otherwise.
    fields.reserve(ADDED_FIELDS + client.map_or(0, |_| certificate::COUNT));
    if let Some(client) = client {
        client.fields.write(fields);
    }
    wanted
}

/// Runs the router's own actions on a request; true when they changed the host, so that it is another
/// route's [ORD-3]. What they leave in Host is the host from here on; nothing, or what no host may be, is
/// nobody's.
///
/// # Errors
/// Why the router answers itself.
pub(super) fn act(
    connection: &Connection,
    request: &mut Request<Incoming>,
    checked: &mut Checked,
) -> Result<bool, Reason> {
    let actions = &connection.worker.actions.request;
    if actions.is_empty() {
        return Ok(false);
    }
    let fields = request.headers_mut();
    // As it is known by now: lower case, and for HTTP/2 out of `:authority`.
    match &checked.host {
        Some(host) => _ = fields.insert(HOST, host.clone()),
        None => _ = fields.remove(HOST),
    }
    connection.act(actions, fields)?;
    if fields.get(HOST) == checked.host.as_ref() {
        return Ok(false);
    }
    checked.host = fields.get(HOST).and_then(|host| request::lower(host).ok());
    Ok(true)
}
