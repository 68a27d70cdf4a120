//! What the API says when it refuses: the codes of the model of elbv2 (spec/l4-dns.md A.13).
//!
//! Made by the account, written by the wire. Always holds: a code is one that clients know.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// A code of an error, as it is on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// The code on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $wire,)*
                }
            }
        }
    };
}

codes! {
    /// No ALPN policy of this name.
    AlpnPolicyNotFound = "ALPNPolicyNotFound",
    /// There are no elastic addresses here.
    AllocationIdNotFound = "AllocationIdNotFound",
    /// No certificate of this ARN.
    CertificateNotFound = "CertificateNotFound",
    /// The port has a listener already.
    DuplicateListener = "DuplicateListener",
    /// The name is taken by a load balancer that is made in another way.
    DuplicateLoadBalancerName = "DuplicateLoadBalancerName",
    /// A tag stands twice in one call.
    DuplicateTagKeys = "DuplicateTagKeys",
    /// The name is taken by a target group that is made in another way.
    DuplicateTargetGroupName = "DuplicateTargetGroupName",
    /// The listener cannot forward to a group of this protocol (A.1).
    IncompatibleProtocols = "IncompatibleProtocols",
    /// Possible at AWS or not: not with these values, or not here.
    InvalidConfigurationRequest = "InvalidConfigurationRequest",
    /// Not an action of a network load balancer.
    InvalidLoadBalancerAction = "InvalidLoadBalancerAction",
    /// Neither internet-facing nor internal.
    InvalidScheme = "InvalidScheme",
    /// There are no security groups here.
    InvalidSecurityGroup = "InvalidSecurityGroup",
    /// The subnet cannot be used like this.
    InvalidSubnet = "InvalidSubnet",
    /// The target cannot be one of this group.
    InvalidTarget = "InvalidTarget",
    /// No listener of this ARN.
    ListenerNotFound = "ListenerNotFound",
    /// No load balancer of this ARN or name.
    LoadBalancerNotFound = "LoadBalancerNotFound",
    /// Protected, or not of this API.
    OperationNotPermitted = "OperationNotPermitted",
    /// Something still refers to it.
    ResourceInUse = "ResourceInUse",
    /// No security policy of this name.
    SslPolicyNotFound = "SSLPolicyNotFound",
    /// No subnet of this id.
    SubnetNotFound = "SubnetNotFound",
    /// A group belongs to one load balancer.
    TargetGroupAssociationLimit = "TargetGroupAssociationLimit",
    /// No target group of this ARN or name.
    TargetGroupNotFound = "TargetGroupNotFound",
    /// A listener of a network load balancer has one action.
    TooManyActions = "TooManyActions",
    /// A quota (A.12).
    TooManyCertificates = "TooManyCertificates",
    /// A quota (A.12).
    TooManyListeners = "TooManyListeners",
    /// A quota (A.12).
    TooManyLoadBalancers = "TooManyLoadBalancers",
    /// A quota: 50 for each resource.
    TooManyTags = "TooManyTags",
    /// A quota (A.12).
    TooManyTargetGroups = "TooManyTargetGroups",
    /// A quota (A.12).
    TooManyTargets = "TooManyTargets",
    /// The protocol is not served.
    UnsupportedProtocol = "UnsupportedProtocol",
    /// A parameter has no value that it may have.
    ValidationError = "ValidationError",
}

/// A call that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// What programs look at.
    pub code: Code,
    /// What people read.
    pub message: String,
}

impl Code {
    /// The refusal with this code.
    pub(super) fn because(self, message: impl Into<String>) -> Refusal {
        Refusal { code: self, message: message.into() }
    }
}

/// A parameter has no value that it may have.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Code::ValidationError.because(message)
}
