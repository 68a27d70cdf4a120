//! Quotas (spec/l4-dns.md A.12), as `DescribeAccountLimits` names them.

/// Load balancers.
pub(super) const BALANCERS: usize = 50;
/// Listeners of a load balancer.
pub(super) const LISTENERS: usize = 50;
/// Certificates of a listener beside the default one.
pub(super) const CERTIFICATES: usize = 25;
/// Target groups.
pub(super) const GROUPS: usize = 3000;
/// Targets of a group.
pub(super) const TARGETS: usize = 1000;
/// Targets of a load balancer.
pub(super) const TARGETS_OF_BALANCER: usize = 3000;
/// Targets of a load balancer in one zone; with cross-zone load balancing, in all.
pub(super) const TARGETS_OF_ZONE: usize = 500;

/// All, by name.
pub const LIMITS: [(&str, usize); 7] = [
    ("certificates-per-network-load-balancer", CERTIFICATES),
    ("listeners-per-network-load-balancer", LISTENERS),
    ("network-load-balancers", BALANCERS),
    ("target-groups", GROUPS),
    ("targets-per-availability-zone-per-network-load-balancer", TARGETS_OF_ZONE),
    ("targets-per-network-load-balancer", TARGETS_OF_BALANCER),
    ("targets-per-target-group", TARGETS),
];
