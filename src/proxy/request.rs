//! Step 1: the gate. What a request must look like before a route is looked for (decisions 9).
//!
//! Stands right behind hyper and judges what hyper shows. Called by `serve`. Always holds: what
//! passes has exactly one host, lower case, and an origin-form (or asterisk) target.

use http::{HeaderValue, Method, Request, Uri, Version, header::HOST, uri::PathAndQuery};

use super::framing;
use crate::model::reason::Reason;

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
/// The reason of the refusal.
pub fn check<B>(request: &Request<B>) -> Result<Checked, Reason> {
    if request.method() == Method::CONNECT {
        return Err(Reason::MethodNotAllowed);
    }
    framing::check(request.headers())?;
    let host = host(request)?;
    let target = target(request)?;
    Ok(Checked { host, target })
}

/// The one host of a request: HTTP/2 has it in `:authority`, HTTP/1 in `Host`; an absolute-form
/// target must agree with `Host` but for the port (spec/route.md 26.2).
fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Reason> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Reason::BadRequest);
    }
    let authority = request.uri().authority();
    let http2 = request.version() == Version::HTTP_2;
    match (field, authority) {
        (None, None) if request.version() == Version::HTTP_10 => Ok(None),
        (Some(field), None) => lower(field).map(Some),
        (None, Some(authority)) if http2 => from_authority(authority.as_str()).map(Some),
        // RFC 9112 3.2: a request without Host is refused, whatever its target says.
        (None, _) => Err(Reason::BadRequest),
        (Some(field), Some(authority)) => {
            let field = lower(field)?;
            let authority = from_authority(authority.as_str())?;
            if without_port(field.as_bytes()) == without_port(authority.as_bytes()) {
                Ok(Some(field))
            } else {
                Err(Reason::BadRequest)
            }
        },
    }
}

fn from_authority(authority: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(authority)
        .map_err(|_invalid| Reason::BadRequest)
        .and_then(|value| lower(&value))
}

/// `value` in lower case, if every byte may stand in a host with an optional port.
fn lower(value: &HeaderValue) -> Result<HeaderValue, Reason> {
    let bytes = value.as_bytes();
    if !bytes.iter().all(|byte| is_host_byte(*byte)) {
        return Err(Reason::BadRequest);
    }
    if !bytes.iter().any(u8::is_ascii_uppercase) {
        return Ok(value.clone());
    }
    HeaderValue::from_bytes(&bytes.to_ascii_lowercase()).map_err(|_invalid| Reason::BadRequest)
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
fn target<B>(request: &Request<B>) -> Result<Uri, Reason> {
    let uri = request.uri();
    let path = uri.path();
    let asterisk = path == "*" && request.method() == Method::OPTIONS;
    if !asterisk && !path.starts_with('/') {
        return Err(Reason::BadRequest);
    }
    let rest = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Reason::BadRequest);
    }
    if uri.authority().is_none() {
        return Ok(uri.clone());
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).map_err(|_invalid| Reason::BadRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, hosts: &[&str], version: Version) -> Request<()> {
        let mut builder = Request::builder().method(method).uri(uri).version(version);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn match_1_one_lower_case_host_or_a_refusal() {
        let v1 = Version::HTTP_11;
        type Row<'a> = (&'a str, &'a [&'a str], Version, Result<&'a str, Reason>);
        let rows: &[Row<'_>] = &[
            ("/a", &["Example.COM:8080"], v1, Ok("example.com:8080")),
            ("/a", &["a", "a"], v1, Err(Reason::BadRequest)),
            ("/a", &["a,b"], v1, Err(Reason::BadRequest)),
            ("/a", &["user@a"], v1, Err(Reason::BadRequest)),
            ("/a", &["a b"], v1, Err(Reason::BadRequest)),
            ("/a", &[], v1, Err(Reason::BadRequest)),
            ("/a", &[], Version::HTTP_10, Ok("")),
            ("http://a/x", &["a:80"], v1, Ok("a:80")),
            ("http://a/x", &["b"], v1, Err(Reason::BadRequest)),
            ("http://a/x", &[], v1, Err(Reason::BadRequest)),
            ("http://A/x", &[], Version::HTTP_2, Ok("a")),
            ("http://a/x", &["b"], Version::HTTP_2, Err(Reason::BadRequest)),
            ("/x", &["[::1]:80"], v1, Ok("[::1]:80")),
        ];
        for (uri, hosts, version, expected) in rows {
            let outcome = check(&request("GET", uri, hosts, *version));
            let host =
                outcome.map(|checked| String::from_utf8(checked.host_bytes().to_vec()).unwrap());
            assert_eq!(host.as_deref().map_err(|reason| *reason), *expected, "{uri} {hosts:?}");
        }
    }

    /// [MATCH-2]: the key path ends at the question mark.
    #[test]
    fn targets_go_on_in_origin_form() {
        let checked = check(&request("GET", "http://a/x?y=1", &["a"], Version::HTTP_11)).unwrap();
        assert_eq!((checked.target.to_string().as_str(), checked.path()), ("/x?y=1", "/x"));
        let star = check(&request("OPTIONS", "*", &["a"], Version::HTTP_11)).unwrap();
        assert_eq!((star.target.to_string().as_str(), star.path()), ("*", ""));
        let refused = check(&request("GET", "*", &["a"], Version::HTTP_11));
        assert_eq!(refused.unwrap_err(), Reason::BadRequest);
    }

    #[test]
    fn connect_is_refused() {
        let refused = check(&request("CONNECT", "a:1", &["a"], Version::HTTP_11));
        assert_eq!(refused.unwrap_err(), Reason::MethodNotAllowed);
    }
}
