//! L1: value grammars of the environment alone; those that annotations share are in
//! `model::grammar`.
//!
//! Called by `settings::env`. Pure; never panics.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

#[cfg(test)]
mod tests;

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
