//! Pages that the router answers with when there is nowhere to send a request [NOMATCH-1..4]: the
//! built-in 503, and files that hold a whole HTTP response.
//!
//! [`Page::parse`] is called by `app` at start and when a file changes; `proxy::reply` sends what it
//! makes. Always holds: a page can be framed on HTTP/1 and HTTP/2 as it is, nothing of it is parsed
//! again.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PRAGMA, TRANSFER_ENCODING},
};
use hyper::ext::ReasonPhrase;

use super::finding::{Finding, Place, codes};

/// Largest file that may hold a page.
pub const MAX_BYTES: usize = 64 * 1024;

/// "Application is not available" [NOMATCH-3].
const UNAVAILABLE: &str = include_str!("page/503.html");

/// Fields that speak of one connection only (RFC 9110 7.6.1): a file's own are left out.
const HOP_BY_HOP: [&str; 6] =
    ["keep-alive", "proxy-connection", "te", "trailer", "upgrade", "connection"];

/// The pages in force.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// For a route without usable endpoint, and for an unknown host unless there is a page for that.
    pub unavailable: Page,
    /// For requests that match no route; set by ROUTER_ERRORFILE_404 [NOMATCH-1].
    pub not_found: Option<Page>,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Status.
    pub status: StatusCode,
    /// Text behind the status, if it is not the usual one; HTTP/2 has none.
    pub reason: Option<ReasonPhrase>,
    /// HTTP/1.0 or HTTP/1.1; HTTP/2 clients get HTTP/2.
    pub version: Version,
    /// Fields without those of framing.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// How an HTTP/1 client learns where the body ends.
    pub framing: Framing,
}

/// The end of a body on HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The connection is closed behind it, as for every page of HTTP/1.0 without a length.
    Close,
    /// It has a length, and the connection is closed nevertheless.
    LengthAndClose,
    /// It has a length.
    Length,
}

impl Default for Page {
    /// The 503 page as OpenShift sends it: an HTTP/1.0 answer that ends with the connection
    /// [NOMATCH-3].
    fn default() -> Self {
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        let private = "private, max-age=0, no-cache, no-store";
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(private));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: None,
            version: Version::HTTP_10,
            headers,
            body: Bytes::from_static(UNAVAILABLE.as_bytes()),
            framing: Framing::Close,
        }
    }
}

impl Page {
    /// Reads a file with a whole HTTP response: status line, fields, an empty line, body
    /// [NOMATCH-4]. Lines of the head may end with or without a carriage return. `path` is only
    /// shown.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, Box<Finding>> {
        let parsed = Self::read(text);
        parsed.map_err(|Problem { line, text, fix }| {
            let place = Place { line, column: 1, ..Place::file(path) };
            Box::new(Finding::new(codes::BAD_PAGE, place, text).with_fix(fix))
        })
    }

    fn read(text: &[u8]) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            let problem = format!("the page has more than {MAX_BYTES} bytes");
            return Err(Problem::new(1, problem, "link to large content instead of putting it in"));
        }
        let mut lines = Lines { rest: text, number: 0 };
        let first = lines.next().unwrap_or_default();
        let (version, status, reason) = status_line(first)?;
        let mut headers = HeaderMap::new();
        let (mut close, mut length) = (false, None);
        loop {
            let Some(line) = lines.next() else {
                let problem = "the head has no end";
                return Err(Problem::new(
                    lines.number,
                    problem,
                    "put an empty line behind the fields",
                ));
            };
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line, lines.number)?;
            if name == TRANSFER_ENCODING {
                let problem = "a page cannot have a transfer coding";
                return Err(Problem::new(lines.number, problem, "remove the field"));
            } else if name == CONTENT_LENGTH {
                length = Some((lines.number, value));
            } else if name == CONNECTION {
                close |= value.as_bytes().eq_ignore_ascii_case(b"close");
            } else if !HOP_BY_HOP.contains(&name.as_str()) {
                headers.append(name, value);
            }
        }
        let body = Bytes::copy_from_slice(lines.rest);
        if let Some((line, length)) = &length
            && length.as_bytes() != body.len().to_string().as_bytes()
        {
            let length = String::from_utf8_lossy(length.as_bytes());
            let problem = format!("Content-Length is {length}, the body has {} bytes", body.len());
            return Err(Problem::new(*line, problem, "remove the field, or correct it"));
        }
        let framing = match (version, length.is_some(), close) {
            (Version::HTTP_10, false, _) => Framing::Close,
            (Version::HTTP_10, true, _) | (_, _, true) => Framing::LengthAndClose,
            _ => Framing::Length,
        };
        Ok(Self { status, reason, version, headers, body, framing })
    }
}

/// What is wrong with a file, and where.
struct Problem {
    line: u32,
    text: String,
    fix: &'static str,
}

impl Problem {
    fn new(line: u32, text: impl Into<String>, fix: &'static str) -> Self {
        Self { line, text: text.into(), fix }
    }
}

/// The lines of a head; what is left is the body.
struct Lines<'a> {
    rest: &'a [u8],
    /// Of the line that was taken last, from 1.
    number: u32,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    /// The next line without its end; `None` without one.
    fn next(&mut self) -> Option<&'a [u8]> {
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

type StatusLine = (Version, StatusCode, Option<ReasonPhrase>);

fn status_line(line: &[u8]) -> Result<StatusLine, Problem> {
    const FIX: &str = "begin the file with a line such as HTTP/1.0 503 Service Unavailable";
    let bad = || Problem::new(1, "the file does not begin with an HTTP/1 status line", FIX);
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.0 ", rest)) => (Version::HTTP_10, rest),
        Some((b"HTTP/1.1 ", rest)) => (Version::HTTP_11, rest),
        _ => return Err(bad()),
    };
    let (code, text) = rest.split_at_checked(3).ok_or_else(bad)?;
    let status = StatusCode::from_bytes(code).map_err(|_invalid| bad())?;
    if !matches!(status.as_u16(), 200..=203 | 206..=303 | 305..=599) {
        let problem = format!("the status {} cannot have a body", status.as_u16());
        return Err(Problem::new(1, problem, "use 503 or 404"));
    }
    let text = match text {
        [] => text,
        [b' ', text @ ..] => text,
        _ => return Err(bad()),
    };
    let usual = status.canonical_reason().unwrap_or_default();
    if text == usual.as_bytes() {
        return Ok((version, status, None));
    }
    let reason = ReasonPhrase::try_from(text).map_err(|_invalid| bad())?;
    Ok((version, status, Some(reason)))
}

fn field(line: &[u8], number: u32) -> Result<(HeaderName, HeaderValue), Problem> {
    const FIX: &str = "write NAME: VALUE, and an empty line in front of the body";
    let bad = || Problem::new(number, "the line is not a header field", FIX);
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_invalid| bad())?;
    let value =
        HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_invalid| bad())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Page, String> {
        Page::parse("p.http", text.as_bytes()).map_err(|finding| finding.to_string())
    }

    /// [NOMATCH-3, NOMATCH-4]
    #[test]
    fn nomatch_4_a_page_is_a_whole_response() {
        let page = parse(
            "HTTP/1.0 404 Error\r\nPragma: no-cache\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\n\r\n\
             <h1>a</h1>\r\n\r\nb",
        );
        let page = page.unwrap();
        assert_eq!((page.status, page.version), (StatusCode::NOT_FOUND, Version::HTTP_10));
        assert_eq!(page.reason.unwrap().as_bytes(), b"Error");
        assert_eq!(page.body, "<h1>a</h1>\r\n\r\nb");
        assert_eq!(page.headers.len(), 3);
        assert_eq!(page.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(page.framing, Framing::Close);
        let plain = parse("HTTP/1.1 200 OK\nContent-Length: 2\nKeep-Alive: x\n\nok").unwrap();
        assert_eq!((plain.reason, plain.framing), (None, Framing::Length));
        assert_eq!((plain.headers.len(), plain.body.as_ref()), (0, &b"ok"[..]));
        let closing = parse("HTTP/1.1 503 \nconnection: Close\n\n").unwrap();
        assert_eq!(closing.framing, Framing::LengthAndClose);
        assert_eq!(parse("HTTP/1.0 503\nContent-Length: 0\n\n").unwrap().framing, closing.framing);
    }

    #[test]
    fn a_file_that_is_no_response_says_where_and_why() {
        let large = format!("HTTP/1.1 503 X\n\n{}", "y".repeat(MAX_BYTES));
        let rows = [
            ("", "p.http:1:1: error[WH1120]: the file does not begin with"),
            ("<html>", "p.http:1:1: error[WH1120]: the file does not begin with"),
            ("HTTP/2 503 X\n\n", "p.http:1:1: error[WH1120]: the file does not begin with"),
            ("HTTP/1.1 5030 X\n\n", "p.http:1:1: error[WH1120]: the file does not begin with"),
            ("HTTP/1.1 099 X\n\n", "p.http:1:1: error[WH1120]: the file does not begin with"),
            ("HTTP/1.1 204 X\n\n", "p.http:1:1: error[WH1120]: the status 204 cannot have a body"),
            ("HTTP/1.1 101 X\n\n", "p.http:1:1: error[WH1120]: the status 101 cannot have a body"),
            ("HTTP/1.1 503 X\na: b\n<html>\n\n", "p.http:3:1: error[WH1120]: the line is not"),
            ("HTTP/1.1 503 X\na: b\n folded\n\n", "p.http:3:1: error[WH1120]: the line is not"),
            ("HTTP/1.1 503 X\na b: c\n\n", "p.http:2:1: error[WH1120]: the line is not"),
            ("HTTP/1.1 503 X\na: b\n", "p.http:3:1: error[WH1120]: the head has no end"),
            (
                "HTTP/1.1 503 X\ncontent-length: 3\n\nab",
                "p.http:2:1: error[WH1120]: Content-Length is 3",
            ),
            (
                "HTTP/1.1 503 X\ncontent-length: +2\n\nab",
                "p.http:2:1: error[WH1120]: Content-Length is +2",
            ),
            (
                "HTTP/1.1 503 X\ntransfer-encoding: chunked\n\n0\n\n",
                "p.http:2:1: error[WH1120]: a page cannot have a transfer coding",
            ),
            (&large, "p.http:1:1: error[WH1120]: the page has more than 65536 bytes"),
        ];
        for (text, expected) in rows {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
            assert!(said.contains("; "), "no fix: {said}");
        }
    }
}
