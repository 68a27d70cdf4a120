//! Whether a shared cache may keep a response, as HAProxy judges it: what the stickiness cookie must
//! not be kept with [STICK-7].
//!
//! Called by `proxy::sticky` where a cookie was set on a response that has something to do with
//! caches.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA},
};

/// True when a cache may keep the response with `status` and `headers` to a request with `method`:
/// nothing forbids it, and there is a time until which it is fresh, or a validator.
#[must_use]
pub fn is_cacheable(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    if headers.get(PRAGMA).is_some_and(|value| is(value.as_bytes(), "no-cache")) {
        return false;
    }
    let (mut cacheable, mut stale, mut fresh) = (is_by_default(method, status), false, false);
    for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(directives) {
        if is(directive, "public") {
            cacheable = true;
        } else if is(directive, "max-age=0") {
            stale = true;
        } else if ["private", "no-cache", "no-store", "s-maxage=0"]
            .iter()
            .any(|it| is(directive, it))
        {
            cacheable = false;
        } else if starts(directive, "s-maxage") {
            // Wins over max-age (RFC 9111 5.2.2.10).
            (fresh, stale) = (true, false);
        } else if starts(directive, "max-age") {
            fresh = true;
        }
    }
    let has = |name: &HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    cacheable && !stale && (fresh || has(&EXPIRES) || has(&ETAG) || has(&LAST_MODIFIED))
}

/// A safe method, and a status of RFC 7231 6.1.
fn is_by_default(method: &Method, status: StatusCode) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        && matches!(
            status.as_u16(),
            200 | 203 | 204 | 206 | 300 | 301 | 404 | 405 | 410 | 414 | 501
        )
}

/// The members of a list; quotes protect commas.
fn directives(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let members = value.as_bytes().split(move |byte| {
        quoted ^= *byte == b'"';
        !quoted && *byte == b','
    });
    members.map(<[u8]>::trim_ascii)
}

fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

fn starts(text: &[u8], word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| is(start, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: &str, status: u16, fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        is_cacheable(&method, StatusCode::from_u16(status).unwrap(), &headers)
    }

    /// [STICK-7] as spec/route.md 26.1 corrects it.
    #[test]
    fn stick_7_what_caches_may_keep() {
        let rows: &[(&str, &str, bool)] = &[
            ("cache-control", "max-age=60", true),
            ("cache-control", "MAX-AGE=60, public", true),
            ("cache-control", "s-maxage=60", true),
            ("cache-control", "max-age=0, s-maxage=60", true),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT", true),
            ("etag", "\"a\"", true),
            ("last-modified", "Thu, 01 Jan 2009 00:00:00 GMT", true),
            ("cache-control", "public", false),
            ("cache-control", "max-age=0", false),
            ("cache-control", "s-maxage=0, max-age=60", false),
            ("cache-control", "no-store, max-age=60", false),
            ("cache-control", "max-age=60, private", false),
            ("cache-control", "max-age=60, no-cache", false),
            ("cache-control", "max-age=60, no-cache=\"set-cookie, x\"", true),
            ("cache-control", "x=\", max-age=60", false),
            ("etag", "", false),
            ("x-other", "1", false),
        ];
        for (name, value, expected) in rows {
            assert_eq!(judged("GET", 200, &[(name, value)]), *expected, "{name}: {value}");
        }
        let etag = ("etag", "\"a\"");
        assert!(!judged("GET", 200, &[etag, ("pragma", "No-Cache")]));
        assert!(!judged("GET", 200, &[etag, ("cache-control", "x"), ("cache-control", "private")]));
        assert!(judged(
            "GET",
            200,
            &[etag, ("cache-control", "private"), ("cache-control", "public")]
        ));
        for status in [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501] {
            assert!(judged("GET", status, &[etag]), "{status}");
        }
        for status in [101, 201, 302, 304, 400, 403, 500, 503] {
            assert!(!judged("GET", status, &[etag]), "{status}");
        }
        for (method, expected) in
            [("HEAD", true), ("OPTIONS", true), ("POST", false), ("PUT", false)]
        {
            assert_eq!(judged(method, 200, &[etag]), expected, "{method}");
        }
        assert!(judged("POST", 500, &[etag, ("cache-control", "public")]), "it says so itself");
    }
}
