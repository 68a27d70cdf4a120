//! The request as the pod will see it.
//!
//! Called by `forward` once for each request. What is made here suits either protocol: origin form
//! with `Host`; `upstream::h2` turns it into pseudo fields.

use std::{rc::Rc, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header::EXPECT, request::Parts,
};
use hyper::body::{Body as _, Incoming};

use crate::{
    headers,
    model::reason::Reason,
    proxy::{framing, request::Checked, response::Exchange, sticky, unique_id},
    settings::HeaderCase,
    snapshot::CompiledRoute,
    upstream::body::RequestBody,
};

/// A request on its way out. Always borrowed: it is large, and every future that owned it on the way
/// would carry room for it.
pub(super) struct Outgoing {
    head: Request<()>,
    /// The fields of a head that was lent with `keep`.
    kept: KeptFields,
    lent: bool,
    pub(super) body: RequestBody,
    /// May be sent a second time after it was lost (idempotent, no body, no upgrade).
    pub(super) replayable: bool,
    /// Asks for another protocol.
    pub(super) upgrades: bool,
}

impl Outgoing {
    /// The request, to be sent. With `keep` it can be lent again.
    pub(super) fn lend(&mut self, keep: bool) -> Request<RequestBody> {
        if std::mem::replace(&mut self.lent, true) {
            *self.head.headers_mut() = self.kept.read();
        }
        let mut request = Request::new(self.body.replace());
        *request.method_mut() = self.head.method().clone();
        if keep {
            self.kept.write(self.head.headers());
            *request.uri_mut() = self.head.uri().clone();
        } else {
            *request.uri_mut() = std::mem::take(self.head.uri_mut());
        }
        *request.headers_mut() = std::mem::take(self.head.headers_mut());
        // Empty unless the case of header names is kept or adjusted.
        *request.extensions_mut() = if keep {
            self.head.extensions().clone()
        } else {
            std::mem::take(self.head.extensions_mut())
        };
        request
    }

    /// True when the client, who speaks `version`, takes a compressed response. What it says goes on to
    /// the pod as well, and is what actions have made of it.
    pub(super) fn takes_gzip(&self, version: Version) -> bool {
        headers::compression::accepted(self.head.method(), version, self.head.headers())
    }

    /// Takes a request back that was not sent.
    pub(super) fn take_back(&mut self, request: Request<RequestBody>) {
        let (parts, body) = request.into_parts();
        self.head = Request::from_parts(parts, ());
        self.lent = false;
        self.body = body;
    }

    /// Space that the next request can use.
    pub(super) fn into_space(self) -> Vec<u8> {
        self.kept.text
    }
}

/// Header fields as text: a name and a value are a line each, since neither can have one in it. Most
/// copies are never used, and this one costs no allocation and no reference counts.
struct KeptFields {
    text: Vec<u8>,
}

impl KeptFields {
    fn write(&mut self, fields: &HeaderMap) {
        self.text.clear();
        for (name, value) in fields {
            self.text.extend_from_slice(name.as_str().as_bytes());
            self.text.push(b'\n');
            self.text.extend_from_slice(value.as_bytes());
            self.text.push(b'\n');
        }
    }

    fn read(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let mut lines = self.text.split(|byte| *byte == b'\n');
        while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                fields.append(name, value);
            }
        }
        fields
    }
}

/// Makes the pod's request of the client's.
///
/// # Errors
/// Why the router answers in the pod's place.
pub(super) fn prepare(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    checked: Checked,
    request: Request<Incoming>,
    upgrade: Option<&HeaderValue>,
) -> Result<Outgoing, Reason> {
    let (mut parts, body) = request.into_parts();
    parts.uri = checked.target;
    let host = checked.host.unwrap_or_else(|| HeaderValue::from_static(""));
    route_steps(exchange, route, &mut parts, &host)?;
    if let Some(protocol) = upgrade {
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(http::header::UPGRADE, protocol.clone());
    }
    let empty = body.is_end_stream();
    let body = if empty {
        RequestBody::empty(Rc::clone(&exchange.progress))
    } else {
        passed_on(exchange, &mut parts, body)
    };
    let connection = &exchange.connection;
    let replayable = empty && upgrade.is_none() && is_idempotent(&parts.method);
    let mut head = Request::new(());
    *head.method_mut() = parts.method;
    *head.uri_mut() = parts.uri;
    *head.headers_mut() = parts.headers;
    if connection.worker.settings.header_case == HeaderCase::Kept {
        // hyper keeps the names as the client wrote them there.
        *head.extensions_mut() = parts.extensions;
    } else if let Some(spelling) = &connection.worker.spelling
        && route.policy.headers.adjust_case
    {
        let mut extensions = http::Extensions::new();
        spelling.put(head.headers(), &mut extensions);
        *head.extensions_mut() = extensions;
    }
    let kept = KeptFields { text: connection.worker.take_space() };
    Ok(Outgoing { head, kept, lent: false, body, replayable, upgrades: upgrade.is_some() })
}

/// The one place for the order of what a route does to its requests [ORD-2]. `arrive` has done what every
/// request gets [ORD-1]; `parts` is in origin form.
fn route_steps(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    parts: &mut Parts,
    host: &HeaderValue,
) -> Result<(), Reason> {
    let connection = &exchange.connection;
    let policy = &route.policy;
    let about = headers::Forwarding {
        client: connection.client.ip(),
        host,
        port: connection.port,
        tls: connection.frontend.is_tls(),
        h2: parts.version == Version::HTTP_2 && connection.frontend.is_tls(),
    };
    if parts.headers.get(http::header::HOST) != Some(host) {
        parts.headers.insert(http::header::HOST, host.clone());
    }
    let mut said = connection.said.borrow_mut();
    // 1. The forwarding fields, but for the last one [FWD-1].
    headers::forward(&mut parts.headers, &about, &mut said, policy.forwarded);
    // 2. The path of `rewrite-target` [REW-7].
    if let Some(rewrite) = &policy.rewrite {
        parts.uri = rewrite
            .apply(&parts.uri, connection.worker.settings.limits.head())
            .map_err(|_overflow| Reason::RewriteOverflow)?;
    }
    // 3. The route's own actions, which see all of the above [HDR-7].
    if !policy.headers.request.is_empty() {
        connection.act(&policy.headers.request, &mut parts.headers)?;
    }
    // 4. The stickiness cookie goes [STICK-6].
    (exchange.sticky, exchange.record.cookie_states) =
        sticky::ask(&route.backend, &mut parts.headers);
    // 5. The unique id [UID-1].
    unique_id::add(exchange, &mut parts.headers);
    // 6. X-Forwarded-For, which nothing above can see or take away.
    headers::forward_for(&mut parts.headers, &about, &mut said, policy.forwarded);
    Ok(())
}

/// The body of the request with the head `parts`, which is not empty.
fn passed_on(exchange: &Exchange, parts: &mut Parts, body: Incoming) -> RequestBody {
    let connection = &exchange.connection;
    let progress = Rc::clone(&exchange.progress);
    framing::announce(&mut parts.headers);
    // HTTP/1.0 knows no expectations (RFC 9110 10.1.1).
    if parts.version != Version::HTTP_10 && parts.headers.contains_key(EXPECT) {
        progress.expect(connection.worker.settings.timeouts.expect);
    }
    // Several streams share one connection, so each watches its own body.
    let http2 = parts.version == Version::HTTP_2;
    let limit = http2.then_some(connection.worker.settings.timeouts.client);
    RequestBody::new(body, progress, Arc::clone(&connection.phase), limit)
}

/// RFC 9110 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn kept_fields_are_read_as_they_were(
            fields in prop::collection::vec(("[a-z][a-z0-9-]{0,8}", "[ -~\\t\u{80}-\u{ff}]{0,20}"), 0..20),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let mut kept = KeptFields { text: b"what was there before".to_vec() };
            kept.write(&map);
            prop_assert_eq!(kept.read(), map);
        }
    }
}
