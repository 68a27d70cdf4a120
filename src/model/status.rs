//! Whether a Route is admitted, and if not, why (spec/route.md 7); [`ingress`] has the object that
//! says so.
//!
//! Decided by compile, read everywhere. The reasons are a closed list [STAT-4].

pub mod ingress;

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
    /// The Secret named by `externalCertificate` cannot be used [EXT-2].
    ExternalCertificateValidationFailed,
    /// The Secret could not be read [EXT-2].
    ExternalCertificateGetFailed,
    /// The Secret has been deleted [EXT-5].
    ExternalCertificateSecretDeleted,
    /// The Secret is back and not judged yet [EXT-6].
    ExternalCertificateSecretRecreated,
    /// The Secret has changed and is not judged yet [EXT-4].
    ExternalCertificateSecretUpdated,
}

impl RejectReason {
    /// The word as OpenShift writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ExtendedValidationFailed => "ExtendedValidationFailed",
            Self::HostAlreadyClaimed => "HostAlreadyClaimed",
            Self::InvalidHost => "InvalidHost",
            Self::NoHostValue => "NoHostValue",
            Self::RouteNotAdmitted => "RouteNotAdmitted",
            Self::ExternalCertificateValidationFailed => "ExternalCertificateValidationFailed",
            Self::ExternalCertificateGetFailed => "ExternalCertificateGetFailed",
            Self::ExternalCertificateSecretDeleted => "ExternalCertificateSecretDeleted",
            Self::ExternalCertificateSecretRecreated => "ExternalCertificateSecretRecreated",
            Self::ExternalCertificateSecretUpdated => "ExternalCertificateSecretUpdated",
        }
    }
}

/// Outcome of admission for one Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "admitted", rename_all = "camelCase")]
pub enum Admission {
    /// Served.
    #[serde(rename = "True")]
    Admitted,
    /// Served, and said with the reason `ExternalCertificateSecretUpdated`: the one case of an
    /// admitted route with a reason [EXT-4, STAT-3].
    #[serde(rename = "Updated")]
    AdmittedUpdated {
        /// Names the Secret, the route and both resource versions.
        message: String,
    },
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
        matches!(self, Self::Admitted | Self::AdmittedUpdated { .. })
    }
}
