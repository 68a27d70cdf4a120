//! Why the router answered a request itself: the closed list of ux.md 6 and decisions.md.
//!
//! One reason for each such answer, the same word in access log, metric and admin API.

/// A reason. Variants are in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant's meaning is its row in REASONS")]
pub enum Reason {
    NoRoute,
    NoPath,
    NoEndpoints,
    AllUnhealthy,
    ConnectFailed,
    ConnectTimeout,
    TlsVerifyFailed,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamInvalid,
    QueueTimeout,
    QueueFull,
    ClientClosed,
    ClientTimeout,
    BadRequest,
    HeadersTooLarge,
    DeniedAllowlist,
    RateLimited,
    Misdirected,
    MethodNotAllowed,
    Overload,
    Draining,
    LocalPorts,
    Internal,
    Redirect,
    ClientCertDenied,
    UriTooLong,
    BadCoding,
    RewriteOverflow,
    ProxyHeader,
    TlsHandshake,
}

/// Word and meaning of each reason, indexed by its discriminant.
pub const REASONS: [(Reason, &str, &str); 31] = [
    (Reason::NoRoute, "no_route", "no route has this host"),
    (Reason::NoPath, "no_path", "a route has this host, none has this path"),
    (Reason::NoEndpoints, "no_endpoints", "the route's services have no usable endpoint"),
    (Reason::AllUnhealthy, "all_unhealthy", "health checks have marked every endpoint down"),
    (Reason::ConnectFailed, "connect_failed", "no endpoint accepted a connection"),
    (Reason::ConnectTimeout, "connect_timeout", "no endpoint accepted a connection in time"),
    (Reason::TlsVerifyFailed, "tls_verify_failed", "the pod's certificate was refused"),
    (Reason::UpstreamReset, "upstream_reset", "the pod closed before its response head"),
    (Reason::UpstreamTimeout, "upstream_timeout", "the pod sent nothing within the server timeout"),
    (Reason::UpstreamInvalid, "upstream_invalid", "the pod's response is not HTTP"),
    (Reason::QueueTimeout, "queue_timeout", "waited too long for a free pod connection"),
    (Reason::QueueFull, "queue_full", "the queue for pod connections is full"),
    (Reason::ClientClosed, "client_closed", "the client went away"),
    (Reason::ClientTimeout, "client_timeout", "the client sent or took nothing within its timeout"),
    (Reason::BadRequest, "bad_request", "the request is malformed"),
    (Reason::HeadersTooLarge, "headers_too_large", "the request head exceeds the limit"),
    (Reason::DeniedAllowlist, "denied_allowlist", "the client is not on the route's allow list"),
    (Reason::RateLimited, "rate_limited", "the client exceeded the route's rate limit"),
    (Reason::Misdirected, "misdirected", "the authority does not belong to this connection"),
    (Reason::MethodNotAllowed, "method_not_allowed", "the method is never forwarded"),
    (Reason::Overload, "overload", "a limit of the process is reached"),
    (Reason::Draining, "draining", "the process is stopping"),
    (Reason::LocalPorts, "local_ports", "no local port is left towards the pod"),
    (Reason::Internal, "internal", "a fault of the router itself"),
    (Reason::Redirect, "redirect", "insecureEdgeTerminationPolicy: Redirect"),
    (Reason::ClientCertDenied, "client_cert_denied", "the client certificate is not accepted"),
    (Reason::UriTooLong, "uri_too_long", "the request target exceeds the limit"),
    (Reason::BadCoding, "bad_coding", "an unknown transfer coding"),
    (
        Reason::RewriteOverflow,
        "rewrite_overflow",
        "header actions exceed the rewrite reserve, or a rewritten target the limit",
    ),
    (Reason::ProxyHeader, "proxy_header", "the PROXY header is missing or malformed"),
    (Reason::TlsHandshake, "tls_handshake", "the TLS handshake failed"),
];

impl Reason {
    /// The word used in logs, metrics and the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        REASONS[self as usize].1
    }

    /// A rule of the configuration refused the client.
    #[must_use]
    pub const fn is_denial(self) -> bool {
        matches!(self, Self::DeniedAllowlist | Self::RateLimited | Self::ClientCertDenied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, (reason, word, _)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{word}");
        }
    }
}
