//! Fields that end at the proxy (RFC 9110 7.6.1, spec/route.md 26.3, S-21, S-22).
//!
//! `Trailer` goes on: it describes the message, and HTTP/1 trailers are relayed only if it names
//! them. `Proxy-Authorization` goes on as OpenShift does.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::names::{HTTP2_SETTINGS, KEEP_ALIVE, PROXY, PROXY_CONNECTION};

/// What a client may say about its certificate only through us [MTLS-5].
const CLIENT_CERTIFICATE: [&str; 12] = [
    "x-ssl",
    "x-ssl-client-cn",
    "x-ssl-client-der",
    "x-ssl-client-dn",
    "x-ssl-client-notafter",
    "x-ssl-client-notbefore",
    "x-ssl-client-sha1",
    "x-ssl-client-serial",
    "x-ssl-client-subject",
    "x-ssl-client-verify",
    "x-ssl-client-version",
    "x-ssl-issuer",
];

/// Framing, host and forwarding fields: what an underscore must not imitate.
const TRUSTED: [&str; 13] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-proto-version",
];

/// What becomes of the X-SSL fields that a client sent [MTLS-5].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFields {
    /// They are deleted, and so is what imitates them with `_`.
    Delete,
    /// They go on, for routers behind something that may say who the client is.
    Keep,
}

/// Removes from a request what must not reach the pod: hop-by-hop fields and what `Connection`
/// nominates, `Proxy` [SEC-1], client certificate fields [MTLS-5] unless they are to be kept, and names
/// that become a trusted one when `_` is read as `-`. `Transfer-Encoding` stays, as the body's framing
/// follows it.
pub fn strip_request_hop_by_hop(headers: &mut HeaderMap, client: ClientFields) {
    let found = Found::among(headers);
    if !found.ends_here() {
        return;
    }
    let trailers = found.has(Found::TE) && accepts_trailers(headers);
    if found.has(Found::CONNECTION) {
        remove_nominated(headers, |name| {
            *name == AUTHORIZATION || *name == COOKIE || *name == HOST
        });
    }
    found.remove(headers, Found::REQUEST);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if found.has(Found::IMITATION) {
        remove_imitations(headers, client);
    }
}

/// Removes hop-by-hop fields and what `Connection` nominates from a pod's response, and
/// `Transfer-Encoding`, as the body is framed anew. Returns what was found.
pub fn strip_response_hop_by_hop(headers: &mut HeaderMap) -> Found {
    let found = Found::among(headers);
    if found.has(Found::CONNECTION) {
        remove_nominated(headers, |name| *name == SET_COOKIE);
    }
    found.remove(headers, Found::RESPONSE);
    found
}

/// Which of the fields that are looked for a message had. Most messages have none, which one pass over
/// the names tells, where asking the map for each would be a dozen lookups.
#[derive(Clone, Copy, Debug)]
pub struct Found(u16);

impl Found {
    const CONNECTION: u16 = 1;
    const HTTP2_SETTINGS: u16 = 1 << 1;
    const KEEP_ALIVE: u16 = 1 << 2;
    const PROXY: u16 = 1 << 3;
    const PROXY_AUTHENTICATE: u16 = 1 << 4;
    const PROXY_CONNECTION: u16 = 1 << 5;
    const TE: u16 = 1 << 6;
    const TRANSFER_ENCODING: u16 = 1 << 7;
    const UPGRADE: u16 = 1 << 8;
    /// A certificate field, or a name with an underscore.
    const IMITATION: u16 = 1 << 9;
    const SET_COOKIE: u16 = 1 << 10;
    /// Says how fresh the message is, or can tell.
    const FRESHNESS: u16 = 1 << 11;

    /// On either side.
    const BOTH: u16 = Self::CONNECTION
        | Self::KEEP_ALIVE
        | Self::PROXY_AUTHENTICATE
        | Self::PROXY_CONNECTION
        | Self::TE
        | Self::UPGRADE;
    /// What is removed from a request by name.
    const REQUEST: u16 = Self::BOTH | Self::HTTP2_SETTINGS | Self::PROXY;
    /// What is removed from a response.
    const RESPONSE: u16 = Self::BOTH | Self::TRANSFER_ENCODING;

    fn among(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |found, name| found | Self::of(name.as_str())))
    }

    fn of(name: &str) -> u16 {
        match name {
            "connection" => Self::CONNECTION,
            "http2-settings" => Self::HTTP2_SETTINGS,
            "keep-alive" => Self::KEEP_ALIVE,
            "proxy" => Self::PROXY,
            "proxy-authenticate" => Self::PROXY_AUTHENTICATE,
            "proxy-connection" => Self::PROXY_CONNECTION,
            "te" => Self::TE,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "upgrade" => Self::UPGRADE,
            "set-cookie" => Self::SET_COOKIE,
            "cache-control" | "etag" | "expires" | "last-modified" => Self::FRESHNESS,
            _ if name.starts_with("x-ssl") || name.as_bytes().contains(&b'_') => Self::IMITATION,
            _ => 0,
        }
    }

    /// `Set-Cookie`.
    #[must_use]
    pub const fn set_cookie(self) -> bool {
        self.has(Self::SET_COOKIE)
    }

    /// What a cache asks for: `Cache-Control`, `Expires` or a validator.
    #[must_use]
    pub const fn freshness(self) -> bool {
        self.has(Self::FRESHNESS)
    }

    /// The same, when actions may have added fields since.
    #[must_use]
    pub const fn or_more(self) -> Self {
        Self(self.0 | Self::SET_COOKIE | Self::FRESHNESS)
    }

    const fn ends_here(self) -> bool {
        self.0 & !(Self::SET_COOKIE | Self::FRESHNESS) != 0
    }

    const fn has(self, field: u16) -> bool {
        self.0 & field != 0
    }

    /// Removes those of `fields` that are there.
    fn remove(self, headers: &mut HeaderMap, fields: u16) {
        for (field, name) in [
            (Self::CONNECTION, &CONNECTION),
            (Self::HTTP2_SETTINGS, &HTTP2_SETTINGS),
            (Self::KEEP_ALIVE, &KEEP_ALIVE),
            (Self::PROXY, &PROXY),
            (Self::PROXY_AUTHENTICATE, &PROXY_AUTHENTICATE),
            (Self::PROXY_CONNECTION, &PROXY_CONNECTION),
            (Self::TE, &TE),
            (Self::TRANSFER_ENCODING, &TRANSFER_ENCODING),
            (Self::UPGRADE, &UPGRADE),
        ] {
            if self.has(field & fields) {
                headers.remove(name);
            }
        }
    }
}

/// The protocol that an HTTP/1.1 message upgrades to; `None` for h2c, which ends here, and for
/// anything that is not an upgrade. Ask before stripping.
#[must_use]
pub fn upgrade_of(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !tokens(headers, &CONNECTION).any(|t| is(t, b"upgrade")) {
        return None;
    }
    let mut lines = headers.get_all(UPGRADE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let mut protocols = tokens(headers, &UPGRADE).peekable();
    protocols.peek()?;
    if protocols.any(|p| is(p, b"h2c")) { None } else { Some(value.clone()) }
}

/// True when `chosen` is a member of `offered`, both values of `Upgrade` (RFC 9110 7.8).
#[must_use]
pub fn is_offered(chosen: &HeaderValue, offered: &HeaderValue) -> bool {
    let mut members = offered.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
    members.any(|member| is(member, chosen.as_bytes()))
}

/// Removes from a trailer section what must be known before the body, or says who somebody is: some
/// merge trailers into the fields (S-23).
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let forbidden = |name: &HeaderName| {
        [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
            || is_trusted(&name.as_str().replace('_', "-"))
    };
    let names: Vec<HeaderName> = trailers.keys().filter(|name| forbidden(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// Joins the cookie fields of an HTTP/2 request into one with `; ` (RFC 9113 8.2.3).
pub fn merge_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs = headers.get_all(COOKIE);
    let mut joined =
        Vec::with_capacity(crumbs.iter().map(|crumb| crumb.as_bytes().len() + 2).sum());
    for crumb in crumbs {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Values joined by visible bytes are a value.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(COOKIE, value);
    }
}

/// Whether `TE` lists `trailers`, the only member that goes on.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| is(token, b"trailers"))
}

/// Removes what `Connection` nominates, apart from what nobody may take away: framing, forwarding
/// and certificate fields, and what `kept` says (S-21).
fn remove_nominated(headers: &mut HeaderMap, kept: impl Fn(&HeaderName) -> bool) {
    // Stays empty, without an allocation, for the usual `close`, `keep-alive` and `upgrade`.
    let mut nominated: Vec<HeaderName> = Vec::new();
    for token in tokens(headers, &CONNECTION) {
        if is(token, b"close") || is(token, b"keep-alive") || is(token, b"upgrade") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(token)
            && name != CONTENT_LENGTH
            && !kept(&name)
            && !is_trusted(name.as_str())
        {
            nominated.push(name);
        }
    }
    for name in nominated {
        headers.remove(name);
    }
}

/// Removes certificate fields and names with underscores that a pod could take for a trusted name.
fn remove_imitations(headers: &mut HeaderMap, client: ClientFields) {
    let kept = |name: &str| client == ClientFields::Keep && CLIENT_CERTIFICATE.contains(&name);
    let forged = |name: &HeaderName| {
        let name = name.as_str();
        if !name.contains('_') {
            return CLIENT_CERTIFICATE.contains(&name) && !kept(name);
        }
        // Underscores are rare, so most requests allocate nothing here.
        let name = name.replace('_', "-");
        is_trusted(&name) && !kept(&name)
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| forged(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether pods trust `name` (lower case) to come from the proxy.
fn is_trusted(name: &str) -> bool {
    TRUSTED.contains(&name) || CLIENT_CERTIFICATE.contains(&name)
}

/// The members of a comma-separated list over all lines of a field, without empty ones.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Compares without case.
fn is(token: &[u8], word: &[u8]) -> bool {
    token.eq_ignore_ascii_case(word)
}
