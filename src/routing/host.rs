//! Host normalisation for look-ups and validation for admission.
//!
//! [`normalise`] runs once per request and allocates nothing; [`is_dns_name`] runs at admission.
//! What [`normalise`] returns is lower case and has neither port nor trailing dot, so it compares by
//! bytes with a route's host.

pub mod domains;
pub mod rewrite;

/// Room for a normalised host; no DNS name is longer than 253 bytes.
pub const MAX_HOST: usize = 256;

/// Longest label of a DNS name.
const MAX_LABEL: usize = 63;

/// Longest name that a Route may have.
const MAX_NAME: usize = 253;

/// Why a name is not a DNS-1123 subdomain [CLAIM-10].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// A byte that no label may have, upper case letters included.
    #[error("labels consist of lower case letters, digits and '-'")]
    BadByte,
    /// A label begins or ends with `-`.
    #[error("a label must begin and end with a letter or digit")]
    BadEdge,
    /// No text at all, or nothing between two dots.
    #[error("a label must not be empty")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label must be no more than 63 characters")]
    LongLabel,
    /// More than 253 bytes.
    #[error("must be no more than 253 characters")]
    LongName,
}

/// The host of a `Host` value as routes spell it: lower case, without `:digits` and without one
/// trailing dot [MATCH-4, MATCH-8]. `None` for what can never match a route: an empty host, an empty
/// or non-numeric port, an IPv6 literal, a byte outside ASCII, more than [`MAX_HOST`] bytes.
#[must_use]
pub fn normalise<'a>(host: &[u8], scratch: &'a mut [u8; MAX_HOST]) -> Option<&'a str> {
    let host = match host.iter().rposition(|&b| b == b':') {
        None => host,
        Some(colon) => {
            let (name, port) = (&host[..colon], &host[colon + 1..]);
            if port.is_empty() || !port.iter().all(u8::is_ascii_digit) || name.contains(&b':') {
                return None;
            }
            name
        },
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    let out = scratch.get_mut(..host.len()).filter(|out| !out.is_empty())?;
    for (to, from) in out.iter_mut().zip(host) {
        *to = from.to_ascii_lowercase();
    }
    std::str::from_utf8(out).ok().filter(|host| host.is_ascii())
}

/// Everything after the first dot: the key of wildcard routes (`D(h)` of spec/route.md 4.1).
#[must_use]
pub fn parent_domain(host: &str) -> Option<&str> {
    host.split_once('.').map(|(_, domain)| domain)
}

/// Checks that `host` is a DNS-1123 subdomain [CLAIM-10].
///
/// # Errors
/// The first rule that `host` breaks.
pub fn is_dns_name(host: &str) -> Result<(), HostError> {
    if host.len() > MAX_NAME {
        return Err(HostError::LongName);
    }
    host.split('.').try_for_each(is_dns_label)
}

/// Checks one label.
fn is_dns_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(HostError::LongLabel);
    }
    if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(HostError::BadByte);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::BadEdge);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
