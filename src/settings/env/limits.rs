//! The rows of limits in the table of environment variables (spec/route.md 17.2, 17.3).

use super::{Kind, Outcome, RouterSettings, Row, row::row, show};
use crate::settings::limits::{MAX_BUFFER, MIN_BUFFER, RateAnswer};

/// Most clients of one route that can be asked for.
const MAX_CLIENTS: u32 = 10_000_000;

/// How much of something one client or one message may have, and for how long.
pub const LIMITS: &[Row] = &[
    row(
        "ROUTER_BUF_SIZE",
        "bytes of the buffer for a head",
        Kind::Number(MIN_BUFFER, MAX_BUFFER, |settings, value| {
            settings.limits.buffer = value as usize;
        }),
    )
    .shows(|settings| settings.limits.buffer.to_string()),
    row(
        "ROUTER_MAX_REWRITE_SIZE",
        "bytes of it that are kept back, at most half of it; the rest is the limit of a head",
        Kind::Number(0, MAX_BUFFER, |settings, value| {
            settings.limits.rewrite_reserve = value as usize;
        }),
    )
    .shows(|settings| settings.limits.rewrite_reserve.to_string()),
    row(
        "ROUTER_INSPECT_DELAY",
        "receiving a ClientHello",
        Kind::Duration(|settings, value| settings.timeouts.inspect = value),
    )
    .shows(|settings| show::duration(settings.timeouts.inspect)),
    row(
        "ROUTER_ABORT_ON_CLOSE",
        "ends a request as soon as its client has closed",
        Kind::Bool(|settings, flag| settings.limits.abort_on_close = flag),
    )
    .shows(|settings| settings.limits.abort_on_close.to_string()),
    row(
        "WHARF_RATE_LIMIT_CLIENTS",
        "clients that one route with rate limits knows at once",
        Kind::Number(1, MAX_CLIENTS, |settings, value| {
            settings.limits.rate_clients = value as usize;
        }),
    )
    .shows(|settings| settings.limits.rate_clients.to_string()),
    row(
        "WHARF_RATE_LIMIT_IPV6_PREFIX",
        "bits of an IPv6 address that tell clients of rate limits apart",
        Kind::Number(1, 128, |settings, value| {
            settings.limits.rate_ipv6_prefix = u8::try_from(value).unwrap_or(128);
        }),
    )
    .shows(|settings| settings.limits.rate_ipv6_prefix.to_string()),
    row(
        "WHARF_RATE_LIMIT_STATUS",
        "429: clients over a rate limit get this status, and not a closed connection",
        Kind::Text(rate_answer),
    )
    .shows(|settings| settings.limits.rate_answer.word().to_owned()),
    row(
        "",
        "answers 429 to clients over a rate limit of their route, and does not just close",
        Kind::Bool(|settings, flag| {
            settings.limits.rate_answer =
                if flag { RateAnswer::TooManyRequests } else { RateAnswer::Close };
        }),
    )
    .flags(&["--rate-limit-429"])
    .like("WHARF_RATE_LIMIT_STATUS"),
];

fn rate_answer(settings: &mut RouterSettings, value: &str) -> Outcome {
    let known = [RateAnswer::Close, RateAnswer::TooManyRequests];
    match known.into_iter().find(|answer| answer.word() == value) {
        Some(answer) => settings.limits.rate_answer = answer,
        None => return Outcome::Noted("is neither 429 nor close; the connection is closed"),
    }
    Outcome::Used
}

#[cfg(test)]
mod tests {
    use super::super::tests::{quiet, read};

    /// [LIM-1]: what is no number in its range leaves the default.
    #[test]
    fn lim_1_sizes_go_to_their_own_fields_and_bad_ones_nowhere() {
        let settings = quiet(&[("ROUTER_BUF_SIZE", "65536"), ("ROUTER_MAX_REWRITE_SIZE", "4096")]);
        assert_eq!((settings.limits.buffer, settings.limits.rewrite_reserve), (65_536, 4096));
        assert_eq!(settings.limits.head(), 61_440);
        for (name, bad) in [
            ("ROUTER_BUF_SIZE", "4095"),
            ("ROUTER_BUF_SIZE", "1048577"),
            ("ROUTER_BUF_SIZE", "-1"),
            ("ROUTER_BUF_SIZE", "32k"),
            ("ROUTER_MAX_REWRITE_SIZE", "-1"),
            ("ROUTER_MAX_REWRITE_SIZE", "x"),
            ("WHARF_RATE_LIMIT_CLIENTS", "0"),
            ("WHARF_RATE_LIMIT_IPV6_PREFIX", "129"),
            ("WHARF_RATE_LIMIT_IPV6_PREFIX", "0"),
            ("WHARF_RATE_LIMIT_STATUS", "503"),
        ] {
            let (settings, notes) = read(&[(name, bad)]).unwrap();
            assert_eq!((settings.limits, notes.len()), (Default::default(), 1), "{name}={bad}");
        }
    }

    /// [RATE-1, RATE-5]
    #[test]
    fn rate_5_the_answer_and_the_table_can_be_set() {
        use crate::settings::limits::{LimitSettings, RateAnswer};
        let default = LimitSettings::default();
        for (vars, expected) in [
            (
                ("WHARF_RATE_LIMIT_STATUS", "429"),
                LimitSettings { rate_answer: RateAnswer::TooManyRequests, ..default },
            ),
            (("WHARF_RATE_LIMIT_STATUS", "close"), default),
            (("WHARF_RATE_LIMIT_CLIENTS", "7"), LimitSettings { rate_clients: 7, ..default }),
            (
                ("WHARF_RATE_LIMIT_IPV6_PREFIX", "64"),
                LimitSettings { rate_ipv6_prefix: 64, ..default },
            ),
            (("ROUTER_ABORT_ON_CLOSE", "false"), default),
            (("ROUTER_ABORT_ON_CLOSE", "true"), LimitSettings { abort_on_close: true, ..default }),
        ] {
            assert_eq!(quiet(&[vars]).limits, expected, "{vars:?}");
        }
    }
}
