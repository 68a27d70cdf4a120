//! `DescribeSSLPolicies`: the security policies by name, and what of each is served
//! (spec/l4-dns.md A.9).

/// A security policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// TLS 1.2.
    pub has_12: bool,
    /// TLS 1.3.
    pub has_13: bool,
}

/// Cipher suites of TLS 1.2 that are served, those of AWS that have ECDHE and AEAD, in its order.
const SUITES_12: [&str; 4] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
/// Cipher suites of TLS 1.3.
const SUITES_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const fn policy(name: &'static str, has_12: bool, has_13: bool) -> Policy {
    Policy { name, has_12, has_13 }
}

/// All policies.
pub const POLICIES: [Policy; 24] = [
    policy("ELBSecurityPolicy-2015-05", true, false),
    policy("ELBSecurityPolicy-2016-08", true, false),
    policy("ELBSecurityPolicy-FS-1-1-2019-08", true, false),
    policy("ELBSecurityPolicy-FS-1-2-2019-08", true, false),
    policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", true, false),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", true, false),
    policy("ELBSecurityPolicy-FS-2018-06", true, false),
    policy("ELBSecurityPolicy-TLS-1-0-2015-04", true, false),
    policy("ELBSecurityPolicy-TLS-1-1-2017-01", true, false),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", true, false),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", true, false),
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", true, true),
    policy("ELBSecurityPolicy-TLS13-1-1-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", true, true),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", false, true),
    policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", false, true),
];

impl Policy {
    /// Versions, as the API names them.
    pub fn versions(&self) -> impl Iterator<Item = &'static str> {
        [("TLSv1.2", self.has_12), ("TLSv1.3", self.has_13)]
            .into_iter()
            .filter_map(|(name, has)| has.then_some(name))
    }

    /// Cipher suites in the order of preference.
    pub fn suites(&self) -> impl Iterator<Item = &'static str> {
        let of_13 = SUITES_13.into_iter().filter(|_| self.has_13);
        of_13.chain(SUITES_12.into_iter().filter(|_| self.has_12))
    }
}
