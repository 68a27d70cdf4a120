//! Who may read the admin port beyond its health pages [ADMIN-4] (decisions, row "admin").
//!
//! A pure decision of `admin`: loopback and the networks of `--admin-allow` may, and whoever has the
//! credentials of STATS_USERNAME and STATS_PASSWORD. Wrong credentials are refused whoever sends them.

use aws_lc_rs::{constant_time, digest};
use http::{HeaderMap, header::AUTHORIZATION};

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may read.
    Granted,
    /// It would need credentials, or others than it has: 401.
    Unauthorized,
    /// There are no credentials that could help: 403.
    Forbidden,
}

/// Credentials, as a digest: nothing that is kept says what they are, and comparing digests takes the
/// same time wherever they differ.
#[derive(Clone, Debug)]
pub struct Credentials(digest::Digest);

impl Credentials {
    /// Those of `name` and `password`; none when one of them is empty, so that an empty word never
    /// opens anything.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Option<Self> {
        let some = !name.is_empty() && !password.is_empty();
        some.then(|| Self(hashed(format!("{name}:{password}").as_bytes())))
    }

    fn are(&self, given: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_ref(), hashed(given).as_ref()).is_ok()
    }
}

fn hashed(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

/// Decides for a request with `headers` of a peer that is `trusted` or not.
#[must_use]
pub fn decide(trusted: bool, credentials: Option<&Credentials>, headers: &HeaderMap) -> Access {
    match (credentials, basic(headers)) {
        (Some(right), Some(given)) if right.are(&given) => Access::Granted,
        (Some(_), Some(_)) => Access::Unauthorized,
        _ if trusted => Access::Granted,
        (Some(_), None) => Access::Unauthorized,
        (None, _) => Access::Forbidden,
    }
}

/// What the client says it is (RFC 7617 2); nothing that could be right when that cannot be read.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"basic";
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let is_basic = scheme.eq_ignore_ascii_case(SCHEME) && matches!(rest.first(), None | Some(b' '));
    is_basic.then(|| data_encoding::BASE64.decode(rest.trim_ascii()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(trusted: bool, credentials: Option<(&str, &str)>, field: Option<&str>) -> Access {
        let credentials = credentials.map(|(name, word)| Credentials::new(name, word).unwrap());
        let mut headers = HeaderMap::new();
        if let Some(field) = field {
            headers.insert(AUTHORIZATION, field.parse().unwrap());
        }
        decide(trusted, credentials.as_ref(), &headers)
    }

    /// [ADMIN-4]
    #[test]
    fn admin_4_credentials_open_the_port_and_wrong_ones_never_do() {
        use Access::{Forbidden, Granted, Unauthorized};
        let right = format!("Basic {}", data_encoding::BASE64.encode(b"admin:a:b"));
        let lower = right.replace("Basic", "bASIC");
        let wrong = format!("Basic {}", data_encoding::BASE64.encode(b"admin:a:c"));
        let some = Some(("admin", "a:b"));
        for (trusted, credentials, field, access) in [
            (false, some, Some(&*right), Granted),
            (false, some, Some(&*lower), Granted),
            (false, some, Some(&*wrong), Unauthorized),
            (true, some, Some(&*wrong), Unauthorized),
            (true, some, Some("Basic !!"), Unauthorized),
            (false, some, Some("Basic "), Unauthorized),
            (true, some, Some("Basic"), Unauthorized),
            (true, some, Some("Basics"), Granted),
            (true, some, None, Granted),
            (false, some, None, Unauthorized),
            (false, some, Some("Bearer abc"), Unauthorized),
            (true, some, Some("Bearer abc"), Granted),
            (false, None, Some(&*right), Forbidden),
            (false, None, None, Forbidden),
            (true, None, Some(&*wrong), Granted),
        ] {
            assert_eq!(ask(trusted, credentials, field), access, "{trusted} {field:?}");
        }
    }

    #[test]
    fn an_empty_word_is_no_credential() {
        for (name, password) in [("", ""), ("admin", ""), ("", "secret")] {
            assert!(Credentials::new(name, password).is_none());
        }
    }
}
