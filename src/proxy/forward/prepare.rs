//! The request as the pod will see it.
//!
//! Called by `forward` once for each request. What is made here suits either protocol: origin form
//! with `Host`; `upstream::h2` turns it into pseudo fields.

use std::{rc::Rc, sync::Arc};

use http::{HeaderValue, Method, Request, Version};
use hyper::body::{Body as _, Incoming};

use crate::{
    headers,
    proxy::{framing, request::Checked, response::Exchange},
    snapshot::CompiledRoute,
    upstream::body::RequestBody,
};

/// Fields that are added to a request at most: five of forwarding, Host, Connection, Upgrade.
const FORWARDED_FIELDS: usize = 8;

/// A request on its way out. Always borrowed: it is large, and every future that owned it on the way
/// would carry room for it.
pub(super) struct Outgoing {
    pub(super) head: Request<()>,
    pub(super) body: RequestBody,
    /// May be sent a second time after it was lost (idempotent, no body, no upgrade).
    pub(super) replayable: bool,
}

impl Outgoing {
    /// The request, to be sent. With `keep` its head stays here as well.
    pub(super) fn lend(&mut self, keep: bool) -> Request<RequestBody> {
        let copy = if keep { copied(&self.head) } else { Request::default() };
        let body = self.body.replace();
        std::mem::replace(&mut self.head, copy).map(|()| body)
    }

    /// Takes a request back that was not sent.
    pub(super) fn take_back(&mut self, request: Request<RequestBody>) {
        let (parts, body) = request.into_parts();
        self.head = Request::from_parts(parts, ());
        self.body = body;
    }
}

fn copied(head: &Request<()>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = head.method().clone();
    *copy.uri_mut() = head.uri().clone();
    *copy.headers_mut() = head.headers().clone();
    copy
}

/// Makes the pod's request of the client's.
pub(super) fn prepare(
    exchange: &Exchange,
    route: &CompiledRoute,
    checked: Checked,
    request: Request<Incoming>,
    upgrade: Option<&HeaderValue>,
) -> Outgoing {
    let (mut parts, body) = request.into_parts();
    let connection = &exchange.connection;
    let host = checked.host.unwrap_or_else(|| HeaderValue::from_static(""));
    headers::strip_request_hop_by_hop(&mut parts.headers);
    if parts.version == Version::HTTP_2 {
        headers::merge_cookies(&mut parts.headers);
    }
    let about = headers::Forwarding {
        client: connection.client.ip(),
        host: &host,
        port: connection.port,
        tls: connection.frontend.is_tls(),
        h2: parts.version == Version::HTTP_2 && connection.frontend.is_tls(),
    };
    // Room for all of them at once: the map grows by doubling otherwise.
    parts.headers.reserve(FORWARDED_FIELDS);
    let said = &mut connection.said.borrow_mut();
    headers::forward(&mut parts.headers, &about, said, route.policy.forwarded);
    if parts.headers.get(http::header::HOST) != Some(&host) {
        parts.headers.insert(http::header::HOST, host);
    }
    if let Some(protocol) = upgrade {
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(http::header::UPGRADE, protocol.clone());
    }
    let empty = body.is_end_stream();
    let progress = Rc::clone(&exchange.progress);
    let body = if empty {
        RequestBody::empty(progress)
    } else {
        framing::announce(&mut parts.headers);
        // Several streams share one connection, so each watches its own body.
        let http2 = parts.version == Version::HTTP_2;
        let limit = http2.then_some(connection.worker.settings.timeouts.client);
        RequestBody::new(body, progress, Arc::clone(&connection.phase), limit)
    };
    let replayable = empty && upgrade.is_none() && is_idempotent(&parts.method);
    let mut head = Request::new(());
    *head.method_mut() = parts.method;
    *head.uri_mut() = checked.target;
    *head.headers_mut() = parts.headers;
    Outgoing { head, body, replayable }
}

/// RFC 9110 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
