//! What both sides must agree on: where a message ends (reliability.md 6.1, 6.2).
//!
//! Called by `request` and `forward`. hyper frames every message anew from the fields it is given, so
//! what is refused here cannot make a pod and wharf read different lengths.

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::model::reason::Reason;

/// Judges the framing fields of a request.
///
/// # Errors
/// `BadRequest` for more than one field of either kind, or for both kinds; `BadCoding` for another
/// coding than `chunked` (S-01 to S-03, S-28). On HTTP/1 hyper has merged equal lengths and dropped a
/// length beside `chunked` before this sees them (docs/compatibility.md), so those two are refused on
/// HTTP/2 only.
pub fn check(headers: &HeaderMap) -> Result<(), Reason> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    if lengths.next().is_some()
        || codings.next().is_some()
        || (length.is_some() && coding.is_some())
    {
        return Err(Reason::BadRequest);
    }
    match coding {
        None => Ok(()),
        Some(coding) if is_chunked(coding) => Ok(()),
        Some(coding) if doubled(coding) => Err(Reason::BadRequest),
        Some(_) => Err(Reason::BadCoding),
    }
}

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

/// `chunked` more than once.
fn doubled(value: &HeaderValue) -> bool {
    let codings = value.as_bytes().split(|byte| *byte == b',');
    codings.filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked")).count() > 1
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
    fn s_03_only_one_way_to_frame_a_request() {
        let bad = Err(Reason::BadRequest);
        for (fields, outcome) in [
            (&[][..], Ok(())),
            (&[(LENGTH, "3")], Ok(())),
            (&[(CODING, "Chunked")], Ok(())),
            (&[(LENGTH, "3"), (LENGTH, "3")], bad),
            (&[(LENGTH, "3"), (LENGTH, "5")], bad),
            (&[(LENGTH, "3"), (CODING, "chunked")], bad),
            (&[(CODING, "chunked"), (CODING, "chunked")], bad),
            (&[(CODING, "chunked, chunked")], bad),
            (&[(CODING, "gzip, chunked")], Err(Reason::BadCoding)),
            (&[(CODING, "gzip")], Err(Reason::BadCoding)),
        ] {
            assert_eq!(check(&headers(fields)), outcome, "{fields:?}");
        }
    }

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
