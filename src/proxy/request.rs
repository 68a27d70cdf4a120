//! Step 1: what a request must look like before a route is looked for (decisions 9).
//!
//! Stands right behind hyper and judges what hyper shows; how an HTTP/1 request is framed was judged
//! in front of hyper ([`crate::gate`]). Called by `serve`. Always holds: what passes has exactly one
//! host, lower case, and an origin-form (or asterisk) target.

use http::{
    HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST},
    uri::PathAndQuery,
};

use super::upgrade;
use crate::gate::{Fault, MAX_FIELDS};

/// A request that may be routed.
#[derive(Debug)]
pub struct Checked {
    /// Host as the pod will see it: lower case [MATCH-1], port kept. Absent only on HTTP/1.0.
    pub host: Option<HeaderValue>,
    /// Target in origin or asterisk form.
    pub target: Uri,
}

impl Checked {
    /// The key path [MATCH-2].
    #[must_use]
    pub fn path(&self) -> &str {
        match self.target.path() {
            "*" => "",
            path => path,
        }
    }

    /// The host's bytes, empty without one.
    #[must_use]
    pub fn host_bytes(&self) -> &[u8] {
        self.host.as_ref().map_or(&[], HeaderValue::as_bytes)
    }
}

/// Judges `request`.
///
/// # Errors
/// What is wrong with it.
pub fn check<B>(request: &Request<B>, max_head: usize) -> Result<Checked, Fault> {
    if request.version() == Version::HTTP_2 {
        check_http2(request, max_head)?;
    }
    let host = host(request)?;
    let target = target(request)?;
    Ok(Checked { host, target })
}

/// What the gate says of HTTP/1 requests, for those of HTTP/2. h2 has refused connection fields and
/// compares the length with the data; it looks at the first length only (S-28).
fn check_http2<B>(request: &Request<B>, max_head: usize) -> Result<(), Fault> {
    if request.method() == Method::CONNECT {
        match upgrade::protocol_of(request) {
            None => return Err(Fault::Connect),
            Some(protocol) if upgrade::is_websocket(protocol) => {},
            Some(_) => return Err(Fault::Protocol),
        }
    }
    let headers = request.headers();
    if is_oversized(request, max_head) {
        return Err(Fault::HeadTooLarge);
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Fault::Malformed);
    }
    let mut expectations = headers.get_all(EXPECT).iter();
    if let Some(expected) = expectations.next()
        && (expectations.next().is_some()
            || !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Fault::Expectation);
    }
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or("http");
    if scheme != "http" && scheme != "https" {
        return Err(Fault::Malformed);
    }
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let sound = (target.starts_with('/') || target == "*")
        && target.bytes().all(|byte| byte.is_ascii_graphic())
        && !uri.path().contains('\\');
    if sound { Ok(()) } else { Err(Fault::Malformed) }
}

/// Whether a request head is beyond the limits of HTTP/1 heads [LIM-1]: its fields, with each cookie
/// crumb a field (S-31), or its bytes as HTTP/1 would have them (S-39). The library's own limit stands
/// in front of this one, while it decodes.
fn is_oversized<B>(request: &Request<B>, max_head: usize) -> bool {
    /// `: ` and the end of the line.
    const FIELD: usize = 4;
    let (uri, headers) = (request.uri(), request.headers());
    if headers.len() > MAX_FIELDS {
        return true;
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    target + fields.sum::<usize>() > max_head
}

/// The one host of a request: HTTP/2 has it in `:authority`, HTTP/1 in `Host`; an absolute-form
/// target must agree with `Host` but for the port (spec/route.md 26.2).
fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Fault> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Fault::Malformed);
    }
    let authority = request.uri().authority();
    let http2 = request.version() == Version::HTTP_2;
    match (field, authority) {
        (None, None) if request.version() == Version::HTTP_10 => Ok(None),
        (Some(field), None) => lower(field).map(Some),
        (None, Some(authority)) if http2 => from_authority(authority.as_str()).map(Some),
        // RFC 9112 3.2: a request without Host is refused, whatever its target says.
        (None, _) => Err(Fault::Malformed),
        (Some(field), Some(authority)) => {
            let field = lower(field)?;
            let authority = from_authority(authority.as_str())?;
            if without_port(field.as_bytes()) == without_port(authority.as_bytes()) {
                Ok(Some(field))
            } else {
                Err(Fault::Malformed)
            }
        },
    }
}

fn from_authority(authority: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(authority)
        .map_err(|_invalid| Fault::Malformed)
        .and_then(|value| lower(&value))
}

/// `value` in lower case, if it is not empty and every byte may stand in a host with an optional port.
pub(super) fn lower(value: &HeaderValue) -> Result<HeaderValue, Fault> {
    let bytes = value.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(|byte| is_host_byte(*byte)) {
        return Err(Fault::Malformed);
    }
    if !bytes.iter().any(u8::is_ascii_uppercase) {
        return Ok(value.clone());
    }
    HeaderValue::from_bytes(&bytes.to_ascii_lowercase()).map_err(|_invalid| Fault::Malformed)
}

/// RFC 3986 reg-name, IP literals and ports; no userinfo, comma, space or fragment (S-11).
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
        _ => host,
    }
}

/// The target in the form that goes to the pod (RFC 9112 3.2.1).
fn target<B>(request: &Request<B>) -> Result<Uri, Fault> {
    let uri = request.uri();
    let path = uri.path();
    let asterisk = path == "*" && request.method() == Method::OPTIONS;
    if !asterisk && !path.starts_with('/') {
        return Err(Fault::Malformed);
    }
    // Some take it for the end of the path (S-26).
    if path.contains('%') && path.contains("%00") {
        return Err(Fault::Malformed);
    }
    if uri.authority().is_none() {
        return Ok(uri.clone());
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = match uri.path_and_query() {
        // `http://a?b` has an empty path, which is `/`; the type shows one and does not hold it.
        Some(target) if target.as_str().starts_with('?') => {
            let target = PathAndQuery::try_from(format!("/{}", target.as_str()));
            Some(target.map_err(|_invalid| Fault::Malformed)?)
        },
        target => target.cloned(),
    };
    Uri::from_parts(parts).map_err(|_invalid| Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_HEAD: usize = 24_576;

    fn request(method: &str, uri: &str, hosts: &[&str], version: Version) -> Request<()> {
        let mut builder = Request::builder().method(method).uri(uri).version(version);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).unwrap()
    }

    /// [REW-1]: what is a query stays one, whatever is done to the path.
    #[test]
    fn a_target_without_a_path_has_the_root() {
        for (uri, expected) in [
            ("http://a?b=/c", "/?b=/c"),
            ("http://a", "/"),
            ("http://a/x?y", "/x?y"),
            ("/?z", "/?z"),
        ] {
            let target = target(&request("GET", uri, &["a"], Version::HTTP_11)).unwrap();
            assert_eq!(target.path_and_query().unwrap().as_str(), expected, "{uri}");
        }
    }

    #[test]
    fn match_1_one_lower_case_host_or_a_refusal() {
        let v1 = Version::HTTP_11;
        type Row<'a> = (&'a str, &'a [&'a str], Version, Result<&'a str, Fault>);
        let rows: &[Row<'_>] = &[
            ("/a", &["Example.COM:8080"], v1, Ok("example.com:8080")),
            ("/a", &["a", "a"], v1, Err(Fault::Malformed)),
            ("/a", &["a,b"], v1, Err(Fault::Malformed)),
            ("/a", &["user@a"], v1, Err(Fault::Malformed)),
            ("/a", &["a b"], v1, Err(Fault::Malformed)),
            ("/a", &[], v1, Err(Fault::Malformed)),
            ("/a", &[], Version::HTTP_10, Ok("")),
            ("http://a/x", &["a:80"], v1, Ok("a:80")),
            ("http://a/x", &["b"], v1, Err(Fault::Malformed)),
            ("http://a/x", &[], v1, Err(Fault::Malformed)),
            ("http://A/x", &[], Version::HTTP_2, Ok("a")),
            ("http://a/x", &["b"], Version::HTTP_2, Err(Fault::Malformed)),
            ("/x", &["[::1]:80"], v1, Ok("[::1]:80")),
        ];
        for (uri, hosts, version, expected) in rows {
            let outcome = check(&request("GET", uri, hosts, *version), MAX_HEAD);
            let host =
                outcome.map(|checked| String::from_utf8(checked.host_bytes().to_vec()).unwrap());
            assert_eq!(host.as_deref().map_err(|fault| *fault), *expected, "{uri} {hosts:?}");
        }
    }

    /// [MATCH-2]: the key path ends at the question mark.
    #[test]
    fn targets_go_on_in_origin_form() {
        let checked =
            check(&request("GET", "http://a/x?y=1", &["a"], Version::HTTP_11), MAX_HEAD).unwrap();
        assert_eq!((checked.target.to_string().as_str(), checked.path()), ("/x?y=1", "/x"));
        let star = check(&request("OPTIONS", "*", &["a"], Version::HTTP_11), MAX_HEAD).unwrap();
        assert_eq!((star.target.to_string().as_str(), star.path()), ("*", ""));
        let refused = check(&request("GET", "*", &["a"], Version::HTTP_11), MAX_HEAD);
        assert_eq!(refused.unwrap_err(), Fault::Malformed);
    }

    #[test]
    fn connect_is_refused() {
        let refused = check(&request("CONNECT", "a:1", &[], Version::HTTP_2), MAX_HEAD);
        assert_eq!(refused.unwrap_err(), Fault::Connect);
    }

    /// S-24, S-26, S-30: what a path may not hold, and the only schemes.
    #[test]
    fn targets_that_some_read_differently_are_refused() {
        let (v1, v2) = (Version::HTTP_11, Version::HTTP_2);
        for (uri, version, sound) in [
            ("/a%00b", v1, false),
            ("/a?b=%00", v1, true),
            ("/a%01", v1, true),
            ("http://a/%00", v2, false),
            ("http://a/a\\b", v2, false),
            ("http://a/a?b\\c", v2, true),
            ("https://a/", v2, true),
            ("ftp://a/", v2, false),
        ] {
            let hosts: &[&str] = if version == v2 { &[] } else { &["a"] };
            let outcome = check(&request("GET", uri, hosts, version), MAX_HEAD);
            assert_eq!(outcome.map(|_| ()), sound.then_some(()).ok_or(Fault::Malformed), "{uri}");
        }
    }

    #[test]
    fn http2_requests_have_the_limits_of_http1() {
        let with = |name: &'static str, values: &[&str]| {
            let mut request = request("GET", "http://a/", &[], Version::HTTP_2);
            for value in values {
                request.headers_mut().append(name, value.parse().unwrap());
            }
            check(&request, MAX_HEAD).map(|_| ())
        };
        assert_eq!(with("cookie", &["a=b"; MAX_FIELDS]), Ok(()));
        assert_eq!(with("cookie", &["a=b"; MAX_FIELDS + 1]), Err(Fault::HeadTooLarge));
        // [LIM-1]: `GET`, `/` and the field's own bytes.
        let value = "x".repeat(MAX_HEAD - "/".len() - "cookie: \r\n".len());
        assert_eq!(with("cookie", &[&value]), Ok(()));
        assert_eq!(with("cookie", &[&(value + "x")]), Err(Fault::HeadTooLarge));
        assert_eq!(with("content-length", &["1"]), Ok(()));
        assert_eq!(with("content-length", &["1", "1"]), Err(Fault::Malformed));
        assert_eq!(with("expect", &["100-Continue"]), Ok(()));
        assert_eq!(with("expect", &["100-continue", "100-continue"]), Err(Fault::Expectation));
        assert_eq!(with("expect", &["100-continue, x"]), Err(Fault::Expectation));
    }
}
