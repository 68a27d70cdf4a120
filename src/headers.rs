//! L2: header rules of the proxy: which fields end here, and what is said about the client.
//!
//! Called by `proxy` for each request and response, on the map that goes on to the other side:
//! first [`strip_request_hop_by_hop`], then [`forward`] and [`forward_for`], so that nothing a client
//! nominates can remove what wharf adds (S-21). `Content-Length` is never touched here.

pub mod actions;
pub mod cacheable;
pub mod certificate;
pub mod compression;
pub mod cookie;
mod forwarded;
mod hop;
pub mod sticky;
pub mod websocket;

pub use forwarded::{ForwardedPolicy, Forwarding, Said, forward, forward_for};
pub use hop::{
    ClientFields, Found, is_offered, merge_cookies, strip_request_hop_by_hop,
    strip_response_hop_by_hop, strip_trailers, upgrade_of,
};

/// Names that `http` has no constants for.
pub mod names {
    use http::HeaderName;

    /// Hop-by-hop, from before HTTP/1.1.
    pub static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    /// Hop-by-hop, never standardised.
    pub static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    /// Settings of an upgrade to h2c.
    pub static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
    /// The CGI variable `HTTP_PROXY` [SEC-1].
    pub static PROXY: HeaderName = HeaderName::from_static("proxy");
    /// Addresses that the request passed [FWD-1].
    pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    /// Host that the client asked for.
    pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    /// Port that the client connected to.
    pub static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
    /// `http` or `https`.
    pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    /// `h2` when the client speaks it.
    pub static X_FORWARDED_PROTO_VERSION: HeaderName =
        HeaderName::from_static("x-forwarded-proto-version");
}

#[cfg(test)]
mod tests;
