//! Cookie fields of an HTTP/2 request: each line of the data is one, until an empty line; the rest
//! are fields of another name.

use http::{HeaderMap, HeaderValue, header::COOKIE};
use wharf::headers::merge_cookies;

/// Checks that joining loses, adds and reorders nothing.
pub(super) fn check(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let mut headers = HeaderMap::new();
    let mut crumbs = Vec::new();
    for value in lines.by_ref().map_while(|line| line.ok().filter(|line| !line.is_empty())) {
        crumbs.extend(pairs(&value));
        headers.append(COOKIE, value);
    }
    let others: Vec<HeaderValue> = lines.flatten().collect();
    for value in &others {
        headers.append("x-other", value.clone());
    }
    merge_cookies(&mut headers);
    let merged: Vec<_> = headers.get_all(COOKIE).iter().collect();
    assert_eq!(merged.len(), usize::from(!crumbs.is_empty()), "{merged:?}");
    assert_eq!(merged.into_iter().flat_map(pairs).collect::<Vec<_>>(), crumbs);
    assert!(headers.get_all("x-other").iter().eq(&others));
    let once = headers.clone();
    merge_cookies(&mut headers);
    assert_eq!(headers, once);
}

/// What a pod reads from a field.
fn pairs(value: &HeaderValue) -> Vec<Vec<u8>> {
    let text = value.as_bytes();
    let ends = text.windows(2).enumerate().filter(|(_, pair)| pair == b"; ").map(|(at, _)| at);
    let (mut found, mut start) = (Vec::new(), 0);
    for end in ends {
        found.push(text[start..end].to_vec());
        start = end + 2;
    }
    found.push(text[start..].to_vec());
    found
}
