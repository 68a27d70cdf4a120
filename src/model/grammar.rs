//! The grammars of hosts, paths and annotation values (spec/route.md 0.2, 1.1, 14).
//!
//! Used by validation, which reports what does not match, and by compile, which then falls back:
//! both must read a value the same way. Pure functions.

pub mod action;

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

/// Longest duration; longer ones are clipped to it [CONV-4].
pub const MAX_DURATION: Duration = Duration::from_millis(2_147_483_647);

/// A bool as Go's `strconv.ParseBool` reads it [CONV-1]; `None` for anything else.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether `text` may name a stickiness cookie [STICK-2].
#[must_use]
pub fn is_cookie_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// An integer: optional sign, decimal digits [CONV-2].
#[must_use]
pub fn parse_integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A duration [CONV-3], clipped [CONV-4].
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || number.starts_with('0') {
        return None;
    }
    let micros: u128 = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let total = number.parse::<u128>().ok().and_then(|number| number.checked_mul(micros));
    let total = total.and_then(|total| u64::try_from(total).ok()).map(Duration::from_micros);
    Some(total.map_or(MAX_DURATION, |total| total.min(MAX_DURATION)))
}

/// True for a token, the grammar of header names (RFC 9110 5.6.2) [HDR-1].
#[must_use]
pub fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-!#$%&'*+.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

/// True for a DNS-1123 label.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().copied().all(inner)
}

/// Why `host` is not a DNS-1123 subdomain of such labels (spec/route.md 1.1), or `None`.
#[must_use]
pub fn host_problem(host: &str) -> Option<String> {
    if host.len() > 253 {
        return Some(format!("has {} characters, 253 are allowed", host.len()));
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some("has upper-case letters".to_owned());
    }
    if host.contains('*') {
        return Some("holds a \"*\"".to_owned());
    }
    let bad = host.split('.').find(|label| !is_dns_label(label))?;
    Some(match bad {
        "" => "has an empty label".to_owned(),
        _ if bad.len() > 63 => format!("has the label \"{bad}\" of more than 63 characters"),
        _ => format!("has the label \"{bad}\", which is not a DNS label"),
    })
}

/// True for a DNS-1123 subdomain, the grammar of most object names.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    // Unlike a host's, its labels have no length limit of their own.
    text.len() <= 253
        && text.split('.').all(|label| {
            is_dns_label(label.get(..63.min(label.len())).unwrap_or_default())
                && is_dns_label(label.get(label.len().saturating_sub(1)..).unwrap_or_default())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// Why `path` is not a route path, or `None`. An empty path is one.
#[must_use]
pub fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        None
    } else if !path.starts_with('/') {
        Some("does not start with \"/\"")
    } else if path.contains('#') {
        Some("holds a \"#\"")
    } else if path.contains(' ') {
        Some("holds a space")
    } else {
        None
    }
}

/// The entries of an allow list (decisions 6): white space and commas separate.
pub fn allow_list(value: &str) -> impl Iterator<Item = Result<IpNet, &str>> {
    value
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|entry| !entry.is_empty())
        .map(|entry| parse_network(entry).ok_or(entry))
}

/// An address or a network; host bits are allowed and cleared [IPL-4], and a network inside
/// `::ffff:0:0/96` is read as IPv4.
#[must_use]
pub fn parse_network(entry: &str) -> Option<IpNet> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    let network = entry.parse::<IpNet>().ok()?;
    if let (IpAddr::V4(address), 96..) = (network.addr().to_canonical(), network.prefix_len())
        && network.addr().is_ipv6()
    {
        return IpNet::new(IpAddr::V4(address), network.prefix_len() - 96).ok().map(|n| n.trunc());
    }
    Some(network.trunc())
}

/// True for a value of `rewrite-target` [REW-1].
#[must_use]
pub fn is_rewrite_target(value: &str) -> bool {
    value.starts_with('/') && !value.contains('\n')
}

/// True for a value of `hsts_header` [HSTS-1].
#[must_use]
pub fn is_hsts(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut ages = 0;
    let mut parts = lower.split(';').enumerate().peekable();
    while let Some((index, part)) = parts.next() {
        if index == 0 && part.starts_with(' ') || parts.peek().is_none() && part.ends_with(' ') {
            return false;
        }
        let part = part.trim_matches(' ');
        if let Some(rest) = part.strip_prefix("max-age") {
            let Some(age) = rest.trim_start_matches(' ').strip_prefix('=') else { return false };
            let age = age.trim_start_matches(' ');
            let age = age.strip_prefix('"').and_then(|age| age.strip_suffix('"')).unwrap_or(age);
            if age.is_empty() || !age.bytes().all(|byte| byte.is_ascii_digit()) {
                return false;
            }
            ages += 1;
        } else if part != "includesubdomains" && part != "preload" {
            return false;
        }
    }
    ages == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [CONV-3, CONV-4]
    #[test]
    fn durations_follow_conv_3_and_conv_4() {
        let ms = |n| Some(Duration::from_millis(n));
        let cases = [
            ("10", ms(10)),
            ("5s", ms(5_000)),
            ("2h", ms(7_200_000)),
            ("1500us", Some(Duration::from_micros(1500))),
            ("100d", Some(MAX_DURATION)),
            ("99999999999999999999999999999999999999999999d", Some(MAX_DURATION)),
        ];
        for (text, want) in cases {
            assert_eq!(parse_duration(text), want, "{text}");
        }
        for text in ["", "0", "0s", "01s", "1.5s", "1d12h", " 5s", "5s ", "5S", "s", "-1s", "٣s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    /// [CONV-1]
    #[test]
    fn bools_follow_conv_1() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("0"), Some(false));
        for text in ["", "yes", "on", "tRUE", " true"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_are_dns_names() {
        for host in ["a", "a-b.c1", "1.2.3", &format!("{}.x", "a".repeat(63))] {
            assert_eq!(host_problem(host), None, "{host}");
        }
        let long = ["a".repeat(64), format!("{}b", "a.".repeat(127))];
        for host in ["A.b", "a..b", "-a", "a-", "*.a", "a_b", "a.", "a b", "ü", &long[0], &long[1]]
        {
            assert!(host_problem(host).is_some(), "{host}");
        }
    }

    #[test]
    fn names_are_subdomains_without_a_label_limit() {
        assert!(is_dns_subdomain(&"a".repeat(100)));
        for name in ["", "a.", ".a", "A", "a/b", "-a", &"a".repeat(254), "é"] {
            assert!(!is_dns_subdomain(name), "{name}");
        }
    }

    #[test]
    fn allow_lists_split_on_blanks_and_commas_ipl_3_ipl_4() {
        let read = |text| allow_list(text).map(|e| e.map(|n| n.to_string())).collect::<Vec<_>>();
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(read(" 10.0.0.1,\t172.16.14.10/24 "), [ok("10.0.0.1/32"), ok("172.16.14.0/24")]);
        assert_eq!(read("10.9.0.1/33 x"), [Err("10.9.0.1/33"), Err("x")]);
        assert_eq!(
            read("::ffff:10.0.0.1 ::ffff:10.1.0.0/112"),
            [ok("10.0.0.1/32"), ok("10.1.0.0/16")]
        );
        assert_eq!(read(" , "), []);
    }

    #[test]
    fn hsts_values_follow_hsts_1_and_hsts_2() {
        let good = [
            "max-age=99999;includeSubDomains;preload",
            "max-age=99999 ;  includesubdomains;  PREload",
            "max-age=\"99999\"",
            "max-age  =  \"99999\"",
            "preload;max-age=1",
        ];
        for value in good {
            assert!(is_hsts(value), "{value}");
        }
        let bad =
            ["min-age=1", "max-age=1;", "max-age=1;foo", " max-age=1", "max-age=", "preload", ""];
        for value in bad {
            assert!(!is_hsts(value), "{value}");
        }
    }
}
