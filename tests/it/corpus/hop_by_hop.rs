//! Fields that end at the proxy: each line of the data is a field, `name: value`.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use wharf::headers::{
    ClientFields, strip_request_hop_by_hop, strip_response_hop_by_hop, upgrade_of,
};

/// Never on the other side, whoever names them.
const NEVER: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "upgrade", "proxy-authenticate"];

/// Never in a request on its way to a pod.
const NEVER_SENT: [&str; 4] = ["http2-settings", "proxy", "x-ssl", "x-ssl-client-cn"];

/// What no client may take from a request by naming it in `Connection`.
const KEPT: [&str; 8] = [
    "authorization",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
];

/// Checks both directions.
pub(super) fn check(data: &[u8]) {
    let before = fields(data);
    let nominated = nominated(&before);
    let mut request = before.clone();
    let upgrade = upgrade_of(&request, Version::HTTP_11);
    assert!(upgrade.is_none_or(|value| before.get("upgrade") == Some(&value)));
    strip_request_hop_by_hop(&mut request, ClientFields::Delete);
    for name in KEPT {
        assert!(same(&before, &request, name), "{name} was taken away");
    }
    assert!(NEVER_SENT.iter().all(|name| !request.contains_key(*name)), "{request:?}");
    let te: Vec<_> = request.get_all("te").iter().collect();
    assert!(te.is_empty() || te == ["trailers"], "{te:?}");
    gone(&before, &request, &nominated, &["te"]);

    let mut response = before.clone();
    strip_response_hop_by_hop(&mut response);
    assert!(!response.contains_key("transfer-encoding") && !response.contains_key("te"));
    for name in ["set-cookie", "content-length"] {
        assert!(same(&before, &response, name), "{name} was taken away");
    }
    gone(&before, &response, &nominated, &["authorization", "cookie", "set-cookie"]);
}

/// What must be gone is; what is there was there before, and doing it again changes nothing.
fn gone(before: &HeaderMap, after: &HeaderMap, nominated: &BTreeSet<String>, but: &[&str]) {
    for name in after.keys().map(HeaderName::as_str) {
        assert!(!NEVER.contains(&name), "{name} goes on");
        let may_stay = KEPT.contains(&name) || but.contains(&name) || is_ours(name);
        assert!(may_stay || !nominated.contains(name), "{name} was nominated and goes on");
        assert!(name == "te" || same(before, after, name), "{name} was changed");
    }
}

/// Fields that pods trust to come from the proxy, which nobody may nominate.
fn is_ours(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name.starts_with("x-ssl") || name == "trailer"
}

fn same(before: &HeaderMap, after: &HeaderMap, name: &str) -> bool {
    before.get_all(name) == after.get_all(name)
}

fn fields(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// Names that `Connection` lists, read the slow way.
fn nominated(headers: &HeaderMap) -> BTreeSet<String> {
    let lines = headers.get_all("connection").iter();
    let texts = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
    texts
        .flat_map(|text| text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
        .collect()
}
