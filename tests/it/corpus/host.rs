//! `Host` values, against a second implementation on strings, and names of routes.

use wharf::routing::host::{MAX_HOST, is_dns_name, normalise, parent_domain};

/// Checks what becomes of `data` as a `Host` value and as a route's host.
pub(super) fn check(data: &[u8]) {
    let mut scratch = [b'#'; MAX_HOST];
    let found = normalise(data, &mut scratch);
    assert_eq!(found.map(str::to_owned), naive(data));
    if let Some(host) = found {
        assert!(!host.contains(':') && !host.bytes().any(|byte| byte.is_ascii_uppercase()));
        let spelled = format!("{}.:8080", host.to_ascii_uppercase());
        assert_eq!(fresh(spelled.as_bytes()).as_deref(), Some(host), "{spelled}");
        parent_domain(host).inspect(|parent| assert!(host.ends_with(parent)));
    }
    let Ok(name) = std::str::from_utf8(data) else { return };
    assert_eq!(is_dns_name(name).is_ok(), naive_name(name), "{name:?}");
    if is_dns_name(name).is_ok() {
        assert_eq!(fresh(data).as_deref(), Some(name), "a route that no request reaches");
    }
}

/// [`normalise`] with room of its own.
fn fresh(host: &[u8]) -> Option<String> {
    normalise(host, &mut [0; MAX_HOST]).map(str::to_owned)
}

fn naive(host: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(host).ok().filter(|text| text.is_ascii())?;
    let mut parts = text.split(':');
    let (name, port) = (parts.next()?, parts.next());
    let is_number = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    if parts.next().is_some() || port.is_some_and(|port| !is_number(port)) {
        return None;
    }
    let mut name = name.to_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    (!name.is_empty() && name.len() <= MAX_HOST).then_some(name)
}

/// DNS-1123 as the grammar has it: labels of 1 to 63 letters, digits and inner hyphens.
fn naive_name(name: &str) -> bool {
    let inner = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    let outer = |c: Option<char>| c.is_some_and(|c| c != '-');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && outer(label.chars().next())
            && outer(label.chars().last())
    };
    name.len() <= 253 && name.split('.').all(label)
}
