//! Whether a Route is admitted, and if not, why (spec/route.md 7).

use serde::Serialize;

/// Reason word of a refused Route, as in `status.ingress[].conditions[].reason` [STAT-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum RejectReason {
    /// The TLS section is not acceptable.
    ExtendedValidationFailed,
    /// An older route holds the host.
    HostAlreadyClaimed,
    /// The host is not a DNS name.
    InvalidHost,
    /// There is no host.
    NoHostValue,
    /// The router's own rules refuse it.
    RouteNotAdmitted,
    /// The Secret named by `externalCertificate` cannot be used.
    ExternalCertificateValidationFailed,
}

/// Outcome of admission for one Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "admitted", rename_all = "camelCase")]
pub enum Admission {
    /// Served.
    #[serde(rename = "True")]
    Admitted,
    /// Not served.
    #[serde(rename = "False")]
    Rejected {
        /// The condition's reason.
        reason: RejectReason,
        /// The condition's message.
        message: String,
    },
}

impl Admission {
    /// True when the route is served.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted)
    }
}
