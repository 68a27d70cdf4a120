//! L1: the value grammars that variables and annotations share (spec/route.md 0.2).
//!
//! Called by `settings::env` and by compile for annotations. Pure; never panics.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

#[cfg(test)]
mod tests;

/// The longest duration that HAProxy takes: 2^31 - 1 milliseconds [CONV-4].
pub const LONGEST: Duration = Duration::from_millis(2_147_483_647);

/// HAProxy's duration, the whole value matching `[1-9][0-9]*(us|ms|s|m|h|d)?` without a unit in
/// milliseconds [CONV-3]; longer than [`LONGEST`] becomes [`LONGEST`] [CONV-4].
#[must_use]
pub fn haproxy_duration(value: &str) -> Option<Duration> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    if number.is_empty() || number.starts_with('0') {
        return None;
    }
    let micros: u64 = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    // All digits: the only error left is overflow, which clips.
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(micros));
    Some(total.map_or(LONGEST, |micros| Duration::from_micros(micros).min(LONGEST)))
}

/// Go's `strconv.ParseBool`; `None` for what it refuses, which counts as false [CONV-1].
#[must_use]
pub fn go_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.Atoi`: an optional sign and decimal digits [CONV-2].
#[must_use]
pub fn go_integer(value: &str) -> Option<i64> {
    // Rust's own grammar for i64 is the same one.
    value.parse().ok()
}

/// Go's `time.ParseDuration`, such as `1h15m30.918s`. Negative durations are refused, since no
/// setting has a use for one.
#[must_use]
pub fn go_duration(value: &str) -> Option<Duration> {
    let mut rest = value.strip_prefix('+').unwrap_or(value);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, tail) = go_duration_part(rest)?;
        total = total.checked_add(nanos)?;
        rest = tail;
    }
    // Go counts in signed 64-bit nanoseconds.
    i64::try_from(total).ok().map(|_| Duration::from_nanos(total))
}

/// One `number unit` pair of a Go duration in nanoseconds, and what follows it.
fn go_duration_part(text: &str) -> Option<(u64, &str)> {
    let whole_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(whole_len);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_len);
    let scale: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // Digits beyond the twelfth are below a nanosecond for every unit.
    let mut part: u128 = 0;
    let mut divisor: u128 = 1;
    for digit in fraction.bytes().take(15) {
        part = part * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    let part = u64::try_from(part * u128::from(scale) / divisor).ok()?;
    Some((whole.checked_mul(scale)?.checked_add(part)?, rest))
}

/// A listen address: `ip:port`, `[ip6]:port`, `localhost:port`, or `:port` for every IPv4 address.
#[must_use]
pub fn listen_address(value: &str) -> Option<SocketAddr> {
    if let Ok(address) = value.parse() {
        return Some(address);
    }
    let (host, port) = value.rsplit_once(':')?;
    let ip = match host {
        "" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(SocketAddr::new(IpAddr::V4(ip), port.parse().ok()?))
}
