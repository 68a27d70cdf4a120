//! The router's own answers: error pages and the redirect (spec/route.md 10.5 to 10.7).
//!
//! Called by `serve` and `forward`. Bodies are static text: nothing of the request is reflected
//! (S-80), and no pod address is shown.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Uri, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
    uri::PathAndQuery,
};

use super::response::ResponseBody;
use crate::{
    gate::Fault,
    model::{
        page::{Framing, Page, Pages},
        reason::Reason,
    },
};

/// The status that goes with a reason. The only mapping of reasons to HTTP.
#[must_use]
pub const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoRoute
        | Reason::NoPath
        | Reason::NoEndpoints
        | Reason::AllUnhealthy
        | Reason::ConnectFailed
        | Reason::ConnectTimeout
        | Reason::TlsVerifyFailed
        | Reason::QueueTimeout
        | Reason::QueueFull
        | Reason::Overload
        | Reason::Draining
        | Reason::LocalPorts => StatusCode::SERVICE_UNAVAILABLE,
        Reason::UpstreamReset | Reason::UpstreamInvalid => StatusCode::BAD_GATEWAY,
        Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        // A body that comes too slowly gets 400, not 408, as observed (spec/route.md 26.1).
        Reason::ClientClosed
        | Reason::ClientTimeout
        | Reason::BadRequest
        | Reason::ProxyHeader
        | Reason::TlsHandshake => StatusCode::BAD_REQUEST,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::DeniedAllowlist | Reason::ClientCertDenied => StatusCode::FORBIDDEN,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::Internal | Reason::RewriteOverflow => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::Redirect => StatusCode::FOUND,
        Reason::UriTooLong => StatusCode::URI_TOO_LONG,
        Reason::BadCoding => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// HAProxy's termination state for a reason [LOG-7].
#[must_use]
pub const fn termination(reason: Reason) -> [u8; 2] {
    match reason {
        Reason::NoRoute
        | Reason::NoPath
        | Reason::NoEndpoints
        | Reason::AllUnhealthy
        | Reason::ConnectFailed
        | Reason::TlsVerifyFailed
        | Reason::LocalPorts => *b"SC",
        Reason::ConnectTimeout => *b"sC",
        Reason::UpstreamReset => *b"SH",
        Reason::UpstreamTimeout => *b"sH",
        Reason::UpstreamInvalid => *b"PH",
        Reason::QueueTimeout | Reason::QueueFull => *b"sQ",
        Reason::ClientClosed => *b"CR",
        Reason::ClientTimeout => *b"cR",
        Reason::Redirect => *b"LR",
        _ => *b"PR",
    }
}

/// The answer for `reason`. No header action, HSTS or cookie step comes behind it [NOMATCH-6].
#[must_use]
pub fn error(reason: Reason, version: Version, pages: &Pages) -> Response<ResponseBody> {
    let status = status(reason);
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return page(status, version);
    }
    let unmatched = matches!(reason, Reason::NoRoute | Reason::NoPath);
    let not_found = pages.not_found.as_ref().filter(|_| unmatched);
    whole(not_found.unwrap_or(&pages.unavailable), version)
}

/// The reason and the status that go with a fault of a request.
#[must_use]
pub const fn fault(fault: Fault) -> (Reason, StatusCode) {
    let reason = match fault {
        Fault::Malformed => Reason::BadRequest,
        Fault::LineTooLong => Reason::UriTooLong,
        Fault::HeadTooLarge => Reason::HeadersTooLarge,
        Fault::Coding => Reason::BadCoding,
        Fault::Connect => Reason::MethodNotAllowed,
        // As observed (spec/route.md 26.1).
        Fault::BeyondBuffer => return (Reason::HeadersTooLarge, StatusCode::URI_TOO_LONG),
        Fault::Expectation => return (Reason::BadRequest, StatusCode::EXPECTATION_FAILED),
        // RFC 9220 3, the only word there is on an unknown `:protocol`.
        Fault::Protocol => return (Reason::MethodNotAllowed, StatusCode::NOT_IMPLEMENTED),
        Fault::Timeout => return (Reason::ClientTimeout, StatusCode::REQUEST_TIMEOUT),
    };
    (reason, status(reason))
}

/// The small page of an error status.
#[must_use]
pub fn page(status: StatusCode, version: Version) -> Response<ResponseBody> {
    let text = text(status);
    let mut response = Response::new(ResponseBody::fixed(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    if status == StatusCode::BAD_REQUEST && version != Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// HAProxy's page that says that it serves.
#[must_use]
pub fn healthy() -> Response<ResponseBody> {
    const TEXT: &str = "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";
    let mut response = Response::new(ResponseBody::fixed(Bytes::from_static(TEXT.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// A page with its own status, fields and framing; an HTTP/1 client sees its version and text as well
/// [NOMATCH-3].
fn whole(page: &Page, version: Version) -> Response<ResponseBody> {
    let http1 = version != Version::HTTP_2;
    let body = page.body.clone();
    let body = match page.framing {
        Framing::Close if http1 => ResponseBody::until_close(body),
        _ => ResponseBody::fixed(body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = page.status;
    page.headers.clone_into(response.headers_mut());
    if !http1 {
        return response;
    }
    *response.version_mut() = page.version;
    if let Some(reason) = &page.reason {
        response.extensions_mut().insert(reason.clone());
    }
    if page.framing == Framing::LengthAndClose {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The redirect to https [REDIR-1]: the matched host without its port, target byte-exact.
#[must_use]
pub fn redirect(
    host: Option<&HeaderValue>,
    target: &Uri,
    port: Option<u16>,
) -> Option<Response<ResponseBody>> {
    let host = host?.to_str().ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let target = target.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut location = String::with_capacity(16 + name.len() + target.len());
    location.push_str("https://");
    location.push_str(name);
    if let Some(port) = port.filter(|port| *port != 443) {
        location.push(':');
        location.push_str(itoa::Buffer::new().format(port));
    }
    location.push_str(target);
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // hyper leaves it out on HTTP/2.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let mut response = Response::new(ResponseBody::fixed(Bytes::new()));
    *response.status_mut() = StatusCode::FOUND;
    *response.headers_mut() = headers;
    Some(response)
}

/// HAProxy's small built-in page for a status, and the like of it where HAProxy has none.
const fn text(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => {
            "<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n"
        },
        403 => {
            "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n"
        },
        405 => {
            "<html><body><h1>405 Method Not Allowed</h1>\nA request was made of a resource using a request method not supported by that resource\n</body></html>\n"
        },
        408 => {
            "<html><body><h1>408 Request Time-out</h1>\nYour browser didn't send a complete request in time.\n</body></html>\n"
        },
        414 => {
            "<html><body><h1>414 Request URI too long</h1>\nThe target of this request exceeds what is read.\n</body></html>\n"
        },
        417 => {
            "<html><body><h1>417 Expectation Failed</h1>\nThe server cannot meet the request's expectation.\n</body></html>\n"
        },
        421 => {
            "<html><body><h1>421 Misdirected Request</h1>\nThis connection does not serve the host.\n</body></html>\n"
        },
        422 => {
            "<html><body><h1>422 Unprocessable Content</h1>\nThe server cannot process the contained instructions.\n</body></html>\n"
        },
        429 => {
            "<html><body><h1>429 Too Many Requests</h1>\nThis client sends too many requests at the moment.\n</body></html>\n"
        },
        431 => {
            "<html><body><h1>431 Request Header Fields Too Large</h1>\nThe request head is over a limit.\n</body></html>\n"
        },
        501 => {
            "<html><body><h1>501 Not Implemented</h1>\nThe server does not support the functionality required to fulfill the request.\n</body></html>\n"
        },
        502 => {
            "<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>\n"
        },
        504 => {
            "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>\n"
        },
        _ => {
            "<html><body><h1>500 Internal Server Error</h1>\nAn internal server error occurred.\n</body></html>\n"
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::REASONS;

    #[test]
    fn every_reason_has_an_error_status_or_is_the_redirect() {
        for (reason, word, _) in REASONS {
            let code = status(reason).as_u16();
            assert!(code >= 400 || reason == Reason::Redirect, "{word}: {code}");
        }
    }

    #[test]
    fn every_error_status_has_a_page_of_its_own() {
        for (reason, word, _) in REASONS {
            let status = status(reason);
            if status.is_server_error() && status == StatusCode::SERVICE_UNAVAILABLE {
                continue;
            }
            if reason != Reason::Redirect {
                let start = format!("<html><body><h1>{} ", status.as_str());
                assert!(text(status).starts_with(&start), "{word}");
            }
        }
    }

    #[test]
    fn redir_1_drops_the_port_and_keeps_the_target() {
        let rows = [
            ("app.example.com:8080", "/a?b=%2f", None, "https://app.example.com/a?b=%2f"),
            ("app.example.com", "/", Some(8443), "https://app.example.com:8443/"),
            ("app.example.com", "/", Some(443), "https://app.example.com/"),
        ];
        for (host, target, port, expected) in rows {
            let host = HeaderValue::from_static(host);
            let target = Uri::from_static(target);
            let response = redirect(Some(&host), &target, port).unwrap();
            assert_eq!(response.headers()[LOCATION], expected);
            assert_eq!(response.status(), 302);
        }
    }

    #[test]
    fn built_in_pages_have_the_length_of_the_peers() {
        // spec/route.md 26.2 gives these lengths.
        let length = |code| text(StatusCode::from_u16(code).unwrap()).len();
        assert_eq!(
            [400, 403, 408, 414, 422, 431, 502, 504].map(length),
            [90, 93, 110, 110, 116, 106, 107, 92]
        );
    }
}
