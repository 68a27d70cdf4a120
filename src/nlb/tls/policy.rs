//! Security policies and ALPN policies by the names of the AWS API (spec/l4-dns.md A.9).
//!
//! Pure. Read by `config` and by `tls::front`. Always holds: no policy offers more than it does at
//! AWS. What rustls has none of, CBC and RSA key exchange and versions below TLS 1.2, is left out.

use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use crate::settings::tls::{TlsSettings, TlsVersion};

/// The suites of TLS 1.2 that every policy shares with us, in the order of AWS.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                       ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
/// The suites of TLS 1.3.
const SUITES_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const CURVES: &str = "X25519:secp256r1:secp384r1";
const POST_QUANTUM: &str = "X25519MLKEM768:SecP256r1MLKEM768:X25519:secp256r1:secp384r1";

/// The policy of a listener that names none: that of the API.
const DEFAULT: Policy =
    policy("ELBSecurityPolicy-2016-08", Versions::Only12, Groups::Classic, Fit::Subset);
/// The policy of targets behind a policy with TLS 1.3.
const TLS13_1_0: Policy =
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", Versions::Both, Groups::Classic, Fit::Subset);

/// A security policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    name: &'static str,
    versions: Versions,
    groups: Groups,
    fit: Fit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    Only12,
    Only13,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Groups {
    Classic,
    PostQuantum,
}

/// How much of a policy is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// All suites and versions of the policy.
    Exact,
    /// Those of its suites that have ECDHE and AEAD, from TLS 1.2 on.
    Subset,
}

const fn policy(name: &'static str, versions: Versions, groups: Groups, fit: Fit) -> Policy {
    Policy { name, versions, groups, fit }
}

/// All names that the API takes.
static POLICIES: [Policy; 24] = {
    use Fit::{Exact, Subset};
    use Groups::{Classic, PostQuantum};
    use Versions::{Both, Only12, Only13};
    [
        policy("ELBSecurityPolicy-TLS13-1-2-2021-06", Both, Classic, Subset),
        policy("ELBSecurityPolicy-TLS13-1-3-2021-06", Only13, Classic, Exact),
        policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", Both, Classic, Exact),
        policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", Both, Classic, Subset),
        policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", Both, Classic, Subset),
        policy("ELBSecurityPolicy-TLS13-1-1-2021-06", Both, Classic, Subset),
        TLS13_1_0,
        policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", Only13, PostQuantum, Exact),
        policy("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", Both, PostQuantum, Subset),
        policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", Both, PostQuantum, Exact),
        policy("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", Both, PostQuantum, Subset),
        policy("ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", Both, PostQuantum, Subset),
        policy("ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", Both, PostQuantum, Subset),
        policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", Only12, Classic, Exact),
        policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-FS-1-2-2019-08", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-FS-1-1-2019-08", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-FS-2018-06", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-TLS-1-2-2017-01", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-TLS-1-1-2017-01", Only12, Classic, Subset),
        DEFAULT,
        policy("ELBSecurityPolicy-TLS-1-0-2015-04", Only12, Classic, Subset),
        policy("ELBSecurityPolicy-2015-05", Only12, Classic, Subset),
    ]
};

impl Default for Policy {
    fn default() -> Self {
        DEFAULT
    }
}

impl Policy {
    /// The policy of this name; none is `SSLPolicyNotFound`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        POLICIES.iter().find(|policy| policy.name == name).copied()
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        POLICIES.iter().map(|policy| policy.name)
    }

    /// All of them, by name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = POLICIES.to_vec();
        all.sort_unstable_by_key(|policy| policy.name);
        all
    }

    /// Its versions, as the API names them.
    pub fn version_names(&self) -> impl Iterator<Item = &'static str> {
        let (has_12, has_13) =
            (self.versions != Versions::Only13, self.versions != Versions::Only12);
        [("TLSv1.2", has_12), ("TLSv1.3", has_13)].into_iter().filter(|it| it.1).map(|it| it.0)
    }

    /// What of its suites is served, in the order of preference, as the API names them.
    pub fn suite_names(&self) -> impl Iterator<Item = &'static str> {
        let of_13: &[&str] = if self.versions == Versions::Only12 { &[] } else { &SUITES_13 };
        let of_12 = if self.versions == Versions::Only13 { "" } else { CIPHERS };
        of_13.iter().copied().chain(of_12.split(':').filter(|name| !name.is_empty()))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How much of it is served.
    #[must_use]
    pub const fn fit(&self) -> Fit {
        self.fit
    }

    /// It, as settings of a TLS server.
    #[must_use]
    pub fn settings(&self) -> TlsSettings {
        let min = if self.versions == Versions::Only13 { TlsVersion::V13 } else { TlsVersion::V12 };
        let max = (self.versions == Versions::Only12).then_some(TlsVersion::V12);
        let curves = if self.groups == Groups::PostQuantum { POST_QUANTUM } else { CURVES };
        TlsSettings {
            min_version: min,
            max_version: max,
            ciphers: CIPHERS.to_owned(),
            curves: curves.to_owned(),
            ..TlsSettings::default()
        }
    }

    /// The policy of connections to targets: `TLS13-1-0-2021-06` behind a policy with TLS 1.3, else
    /// `2016-08`.
    #[must_use]
    pub fn of_targets(&self) -> Self {
        if self.versions == Versions::Only12 { DEFAULT } else { TLS13_1_0 }
    }

    /// Its versions.
    #[must_use]
    pub fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        match self.versions {
            Versions::Only12 => vec![&TLS12],
            Versions::Only13 => vec![&TLS13],
            Versions::Both => vec![&TLS13, &TLS12],
        }
    }
}

/// An ALPN policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlpnPolicy {
    /// ALPN is passed over.
    #[default]
    None,
    /// HTTP/1.1, HTTP/1.0.
    Http1Only,
    /// HTTP/2.
    Http2Only,
    /// HTTP/1.1, HTTP/1.0, HTTP/2.
    Http2Optional,
    /// HTTP/2, HTTP/1.1, HTTP/1.0.
    Http2Preferred,
}

/// What ALPN may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::nlb) enum Alpn {
    Nothing,
    Http2,
    Http11,
    Http10,
}

impl Alpn {
    pub(in crate::nlb) const ALL: [Self; 4] =
        [Self::Nothing, Self::Http2, Self::Http11, Self::Http10];

    /// Its name; none for nothing.
    pub(in crate::nlb) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Http2 => Some("h2"),
            Self::Http11 => Some("http/1.1"),
            Self::Http10 => Some("http/1.0"),
        }
    }

    /// Names as they are on the wire; none for nothing.
    pub(in crate::nlb) const fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Nothing => &[],
            Self::Http2 => &[b"h2"],
            Self::Http11 => &[b"http/1.1"],
            Self::Http10 => &[b"http/1.0"],
        }
    }
}

impl AlpnPolicy {
    /// All by name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("None", Self::None),
        ("HTTP1Only", Self::Http1Only),
        ("HTTP2Only", Self::Http2Only),
        ("HTTP2Optional", Self::Http2Optional),
        ("HTTP2Preferred", Self::Http2Preferred),
    ];

    /// The policy of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
    }

    /// In the order of preference.
    const fn offered(self) -> &'static [Alpn] {
        match self {
            Self::None => &[],
            Self::Http1Only => &[Alpn::Http11, Alpn::Http10],
            Self::Http2Only => &[Alpn::Http2],
            Self::Http2Optional => &[Alpn::Http11, Alpn::Http10, Alpn::Http2],
            Self::Http2Preferred => &[Alpn::Http2, Alpn::Http11, Alpn::Http10],
        }
    }

    /// The first of its protocols that the client offers; nothing when there is none, and then the
    /// handshake goes on without ALPN.
    pub(in crate::nlb) fn choose<'a>(self, client: impl Iterator<Item = &'a [u8]>) -> Alpn {
        let place = |name| self.offered().iter().position(|alpn| alpn.protocols() == [name]);
        let first = client.filter_map(place).min();
        first.and_then(|index| self.offered().get(index)).copied().unwrap_or(Alpn::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::suites;

    /// A.9: names, and that each can be served.
    #[test]
    fn every_policy_of_the_api_is_known_and_can_be_served() {
        for name in Policy::names() {
            let policy = Policy::named(name).unwrap();
            let offer = suites::offer(&policy.settings()).unwrap();
            assert!(offer.dropped.is_empty(), "{name}: {:?}", offer.dropped);
            let has_13 = offer.versions.contains(&&TLS13);
            assert_eq!(has_13, name.contains("TLS13"), "{name}");
            let chacha =
                offer.provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
            assert!(!chacha.into_iter().any(|suite| format!("{suite:?}").contains("CHACHA")));
        }
        assert_eq!(Policy::named("ELBSecurityPolicy-TLS13-1-4"), None);
    }

    /// A.9: TLS13-1-3 has the three suites of TLS 1.3 alone, Res those and ECDHE with GCM.
    #[test]
    fn exact_policies_offer_what_aws_lists() {
        let count = |name: &str| {
            let policy = Policy::named(name).unwrap();
            assert_eq!(policy.fit(), Fit::Exact);
            suites::offer(&policy.settings()).unwrap().provider.cipher_suites.len()
        };
        assert_eq!(count("ELBSecurityPolicy-TLS13-1-3-2021-06"), 3);
        assert_eq!(count("ELBSecurityPolicy-TLS13-1-2-Res-2021-06"), 7);
        assert_eq!(count("ELBSecurityPolicy-FS-1-2-Res-2020-10"), 4);
    }

    #[test]
    fn targets_get_tls_13_behind_a_policy_that_has_it() {
        let of = |name: &str| Policy::named(name).unwrap().of_targets();
        assert_eq!(of(DEFAULT.name).versions(), [&TLS12]);
        for name in ["ELBSecurityPolicy-TLS13-1-3-2021-06", "ELBSecurityPolicy-TLS13-1-1-2021-06"] {
            assert_eq!(of(name).versions(), [&TLS13, &TLS12]);
        }
    }

    /// [NLB-20] The table of A.9.
    #[test]
    fn nlb_20_the_servers_order_decides_and_disjoint_lists_are_no_error() {
        let choose = |policy: &str, client: &[&str]| {
            let client = client.iter().map(|name| name.as_bytes());
            AlpnPolicy::named(policy).unwrap().choose(client)
        };
        let all = &["http/1.0", "http/1.1", "h2"];
        for (policy, client, chosen) in [
            ("None", &all[..], Alpn::Nothing),
            ("HTTP1Only", all, Alpn::Http11),
            ("HTTP1Only", &["http/1.0"], Alpn::Http10),
            ("HTTP1Only", &["h2"], Alpn::Nothing),
            ("HTTP2Only", all, Alpn::Http2),
            ("HTTP2Only", &["http/1.1"], Alpn::Nothing),
            ("HTTP2Optional", all, Alpn::Http11),
            ("HTTP2Optional", &["h2", "http/1.0"], Alpn::Http10),
            ("HTTP2Optional", &["h2"], Alpn::Http2),
            ("HTTP2Preferred", all, Alpn::Http2),
            ("HTTP2Preferred", &["http/1.0", "http/1.1"], Alpn::Http11),
            ("HTTP2Preferred", &["spdy/3"], Alpn::Nothing),
            ("HTTP2Preferred", &[], Alpn::Nothing),
        ] {
            assert_eq!(choose(policy, client), chosen, "{policy} {client:?}");
        }
        assert_eq!(AlpnPolicy::named("http1only"), None);
    }
}
