//! How much of something one client or one message may have (spec/route.md 13, 14.2).

/// Bytes of heads [LIM-1], and the tables of rate limits [RATE-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Bytes of the buffer that a head is read into, [`MIN_BUFFER`] to [`MAX_BUFFER`]. A connection
    /// that sends a head may hold as much. ROUTER_BUF_SIZE.
    pub buffer: usize,
    /// Bytes of it that are kept back, at most half of it, as in HAProxy. ROUTER_MAX_REWRITE_SIZE.
    pub rewrite_reserve: usize,
    /// Clients that one route with rate limits knows at once, at most; some 70 bytes each.
    /// WHARF_RATE_LIMIT_CLIENTS.
    pub rate_clients: usize,
    /// Bits of an IPv6 address that tell clients of rate limits apart, 1 to 128.
    /// WHARF_RATE_LIMIT_IPV6_PREFIX.
    pub rate_ipv6_prefix: u8,
    /// What a client over a rate limit gets. WHARF_RATE_LIMIT_STATUS.
    pub rate_answer: RateAnswer,
    /// A request of HTTP/1 ends as soon as its client has closed, in a line and while the pod is dialled
    /// as well. Otherwise it goes on, for a client that has only said that it will send no more, and
    /// that a client is really gone shows when the answer is written. ROUTER_ABORT_ON_CLOSE.
    pub abort_on_close: bool,
}

/// Least of ROUTER_BUF_SIZE: heads of a browser still fit.
pub const MIN_BUFFER: u32 = 4096;

/// Most of ROUTER_BUF_SIZE: a connection may hold this much, and there are many.
pub const MAX_BUFFER: u32 = 1024 * 1024;

/// What a client over a rate limit gets [RATE-5].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateAnswer {
    /// Its connection is closed, as in OpenShift.
    #[default]
    Close,
    /// 429 with Retry-After, where there is HTTP.
    TooManyRequests,
}

impl RateAnswer {
    /// What it is called in WHARF_RATE_LIMIT_STATUS.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::TooManyRequests => "429",
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            buffer: 32 * 1024,
            rewrite_reserve: 8 * 1024,
            rate_clients: 100_000,
            rate_ipv6_prefix: 128,
            rate_answer: RateAnswer::Close,
            abort_on_close: false,
        }
    }
}

impl LimitSettings {
    /// Most bytes of a head, of a request as of a response [LIM-1].
    #[must_use]
    pub fn head(&self) -> usize {
        self.buffer - self.rewrite_reserve.min(self.buffer / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [LIM-1]: the difference, of which the reserve takes no more than half, as in HAProxy.
    #[test]
    fn lim_1_a_head_has_what_the_reserve_leaves() {
        let head = |buffer, rewrite_reserve| {
            LimitSettings { buffer, rewrite_reserve, ..LimitSettings::default() }.head()
        };
        assert_eq!(LimitSettings::default().head(), 24_576);
        assert_eq!(head(16_384, 4096), 12_288);
        assert_eq!(head(65_536, 0), 65_536);
        assert_eq!(head(16_384, 16_384), 8192);
    }
}
