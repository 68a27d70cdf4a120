//! Which responses are compressed, and what their fields say then [COMP-1].
//!
//! Called by `proxy`: [`accepted`] on the client's request, [`applies`] and [`announce`] on the pod's
//! response, last of all that happens to its fields. The only coding is gzip.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
    },
};

/// True when the client takes gzip, and the protocol can end a body of unknown length so that one that
/// was cut can be told from a whole one.
#[must_use]
pub fn accepted(method: &Method, version: Version, fields: &HeaderMap) -> bool {
    *method != Method::HEAD && version >= Version::HTTP_11 && takes_gzip(fields)
}

/// RFC 9110 12.5.3: `gzip`, or `*` where gzip is not named, with a weight above zero.
fn takes_gzip(fields: &HeaderMap) -> bool {
    let (mut gzip, mut any) = (None, None);
    for item in list(fields, &ACCEPT_ENCODING) {
        let (coding, parameters) = split(item, b';');
        let place = match coding {
            b"*" => &mut any,
            _ if coding.eq_ignore_ascii_case(b"gzip") => &mut gzip,
            _ if coding.eq_ignore_ascii_case(b"x-gzip") => &mut gzip,
            _ => continue,
        };
        *place = Some(place.unwrap_or(false) || !is_zero(parameters));
    }
    gzip.or(any).unwrap_or(false)
}

/// True when the weight among `parameters` is zero. What is no weight is none: better a response that
/// is not compressed.
fn is_zero(parameters: &[u8]) -> bool {
    for parameter in parameters.split(|byte| *byte == b';') {
        let (name, value) = split(parameter, b'=');
        if name.eq_ignore_ascii_case(b"q") {
            let positive = value.iter().any(|byte| (b'1'..=b'9').contains(byte));
            let number = value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            return !(positive && number);
        }
    }
    false
}

/// True for a response to compress. `version` is that of the pod; of `types`, lower case, one must begin
/// the `Content-Type`.
#[must_use]
pub fn applies(status: StatusCode, version: Version, fields: &HeaderMap, types: &[String]) -> bool {
    let tag = fields.get(ETAG).map(HeaderValue::as_bytes);
    matches!(status.as_u16(), 200..=203)
        && version >= Version::HTTP_11
        && !fields.contains_key(CONTENT_ENCODING)
        && is_wanted_type(fields.get(CONTENT_TYPE), types)
        && !list(fields, &CACHE_CONTROL).any(|item| item.eq_ignore_ascii_case(b"no-transform"))
        && tag.is_none_or(|tag| is_strong(tag) || is_weak(tag))
}

/// Makes the fields those of the compressed response.
pub fn announce(fields: &mut HeaderMap) {
    let tag = fields.get(ETAG).map(HeaderValue::as_bytes);
    if let Some(strong) = tag.filter(|tag| is_strong(tag)) {
        // Other bytes than those that the pod's tag stands for (RFC 9110 8.8.1).
        if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", strong].concat()) {
            fields.insert(ETAG, weak);
        }
    }
    fields.remove(CONTENT_LENGTH);
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let varies = |item: &[u8]| item == b"*" || item.eq_ignore_ascii_case(b"accept-encoding");
    if !list(fields, &VARY).any(varies) {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// A listed type, other than those of several parts.
fn is_wanted_type(value: Option<&HeaderValue>, types: &[String]) -> bool {
    let Some(value) = value.map(HeaderValue::as_bytes) else { return false };
    let begins =
        |with: &[u8]| value.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with));
    !begins(b"multipart") && types.iter().any(|kind| begins(kind.as_bytes()))
}

fn is_strong(tag: &[u8]) -> bool {
    tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"")
}

fn is_weak(tag: &[u8]) -> bool {
    tag.strip_prefix(b"W/").is_some_and(is_strong)
}

/// The items of a list field, over all its lines.
fn list<'a>(fields: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = fields.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// What stands before and behind the first `mark`, without blanks around.
fn split(text: &[u8], mark: u8) -> (&[u8], &[u8]) {
    let at = text.iter().position(|byte| *byte == mark).unwrap_or(text.len());
    (text[..at].trim_ascii(), text.get(at + 1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    /// [COMP-1]: weights count, over all lines.
    #[test]
    fn comp_1_what_clients_accept() {
        let rows: [(&[&'static str], bool); 18] = [
            (&[], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZip"], true),
            (&["x-gzip"], true),
            (&["deflate, br"], false),
            (&["deflate", "gzip;q=0.1"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000"], false),
            (&["gzip ; q = 0.001 "], true),
            (&["gzip;q=1.0, identity;q=0"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["gzip, *;q=0"], true),
            (&["gzip;q=high"], false),
            (&["gzip;q="], false),
            (&["gzipped"], false),
        ];
        for (lines, wanted) in rows {
            let lines: Vec<_> = lines.iter().map(|line| ("accept-encoding", *line)).collect();
            let map = fields(&lines);
            assert_eq!(accepted(&Method::GET, Version::HTTP_11, &map), wanted, "{lines:?}");
            assert_eq!(accepted(&Method::POST, Version::HTTP_2, &map), wanted, "{lines:?}");
            assert!(!accepted(&Method::HEAD, Version::HTTP_11, &map), "{lines:?}");
            assert!(!accepted(&Method::GET, Version::HTTP_10, &map), "{lines:?}");
        }
    }

    fn applied(status: u16, all: &[(&'static str, &'static str)]) -> Option<HeaderMap> {
        let types = ["text/html".to_owned(), "application/json; a".to_owned()];
        let mut map = fields(all);
        let status = StatusCode::from_u16(status).unwrap();
        applies(status, Version::HTTP_11, &map, &types).then(|| {
            announce(&mut map);
            map
        })
    }

    /// [COMP-1]: each condition by itself.
    #[test]
    fn comp_1_what_is_compressed() {
        const HTML: (&str, &str) = ("content-type", "text/html");
        for status in [200, 201, 202, 203] {
            assert!(applied(status, &[HTML]).is_some(), "{status}");
        }
        for status in [204, 206, 304, 404, 500] {
            assert!(applied(status, &[HTML]).is_none(), "{status}");
        }
        for good in ["Text/HTML; charset=utf-8", "text/htmlx", "APPLICATION/json; a=b"] {
            assert!(applied(200, &[("content-type", good)]).is_some(), "{good}");
        }
        for bad in ["", "text/css", "application/json", "text/htm", "multipart/mixed"] {
            assert!(applied(200, &[("content-type", bad)]).is_none(), "{bad}");
        }
        assert!(applied(200, &[]).is_none(), "no type");
        for (name, value, compressed) in [
            ("content-encoding", "br", false),
            ("content-encoding", "identity", false),
            ("cache-control", "public, No-Transform", false),
            ("cache-control", "no-transformers", true),
            ("etag", "\"a\"", true),
            ("etag", "W/\"a\"", true),
            ("etag", "a", false),
            ("etag", "\"", false),
        ] {
            assert_eq!(
                applied(200, &[HTML, (name, value)]).is_some(),
                compressed,
                "{name}: {value}"
            );
        }
        let (types, old) = (["text/html".to_owned()], fields(&[HTML]));
        assert!(!applies(StatusCode::OK, Version::HTTP_10, &old, &types), "of HTTP/1.0");
        assert!(applies(StatusCode::OK, Version::HTTP_2, &old, &types));
        let multipart = fields(&[("content-type", "multipart/mixed")]);
        let types = ["multipart/".to_owned()];
        assert!(!applies(StatusCode::OK, Version::HTTP_2, &multipart, &types));
    }

    /// [COMP-1]: the length goes, a strong tag becomes weak, `Vary` says why.
    #[test]
    fn comp_1_what_the_fields_say() {
        let map = applied(
            200,
            &[
                ("content-type", "text/html"),
                ("content-length", "7"),
                ("etag", "\"a\""),
                ("vary", "Cookie"),
            ],
        );
        let said = fields(&[
            ("content-type", "text/html"),
            ("etag", "W/\"a\""),
            ("vary", "Cookie"),
            ("vary", "Accept-Encoding"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(map, Some(said));
        for vary in ["*", "a, ACCEPT-encoding"] {
            let map = applied(200, &[("content-type", "text/html"), ("vary", vary)]).unwrap();
            assert_eq!(map.get_all(VARY).iter().count(), 1, "{vary}");
        }
        let weak = applied(200, &[("content-type", "text/html"), ("etag", "W/\"a\"")]).unwrap();
        assert_eq!(weak[ETAG], "W/\"a\"");
    }
}
