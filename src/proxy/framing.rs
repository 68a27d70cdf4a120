//! Where a message between wharf and a pod ends (reliability.md 6.1, 6.2).
//!
//! Called by `forward`. Requests were judged by [`crate::gate`] or by h2; hyper frames them anew from
//! the fields it is given.

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// True when a pod's response says its length in one way only (S-20).
#[must_use]
pub fn is_sound(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let one = lengths.next().is_none()
        && length.is_none_or(|value| value.as_bytes().iter().all(u8::is_ascii_digit));
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    one && codings.next().is_none()
        && coding.is_none_or(|value| length.is_none() && is_chunked(value))
}

/// Says that a body of unknown length is chunked. Without it hyper drops such a body of a GET.
pub fn announce(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn is_chunked(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const LENGTH: &str = "content-length";
    const CODING: &str = "transfer-encoding";

    #[test]
    fn s_20_a_response_with_two_lengths_is_refused() {
        for (fields, sound) in [
            (&[][..], true),
            (&[(LENGTH, "3")], true),
            (&[(CODING, "chunked")], true),
            (&[(LENGTH, "3"), (LENGTH, "3")], false),
            (&[(LENGTH, "3, 3")], false),
            (&[(LENGTH, "3"), (CODING, "chunked")], false),
            (&[(CODING, "gzip")], false),
            (&[(CODING, "chunked"), (CODING, "chunked")], false),
        ] {
            assert_eq!(is_sound(&headers(fields)), sound, "{fields:?}");
        }
    }

    #[test]
    fn a_body_without_a_length_is_chunked() {
        let mut bare = HeaderMap::new();
        announce(&mut bare);
        assert_eq!(bare[CODING], "chunked");
        let mut sized = headers(&[(LENGTH, "3")]);
        announce(&mut sized);
        assert!(!sized.contains_key(CODING));
    }
}
