//! A request shown back, as text and as JSON.
//!
//! Used by `answer` for `/` and `/api`. Header values are shown byte for byte in the text, and as
//! UTF-8 with replacement characters in the JSON.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use http::{header::HOST, request::Parts};
use serde::Serialize;

use super::connection::Link;

/// The lines of `/`: the pod, the connection, then the request head.
pub(super) fn text(parts: &Parts, body: u64, link: &Link) -> Bytes {
    let identity = &link.shared.identity;
    let mut out = BytesMut::with_capacity(1024);
    line(&mut out, "pod", identity.name.as_bytes());
    line(&mut out, "namespace", identity.namespace.as_bytes());
    line(&mut out, "address", link.local.to_string().as_bytes());
    line(&mut out, "remote", link.remote.to_string().as_bytes());
    if let Some(tls) = &link.tls {
        let name = tls.server_name.as_deref().unwrap_or("-");
        line(&mut out, "tls", format!("{} sni={name}", tls.version).as_bytes());
    }
    if body > 0 {
        line(&mut out, "body", format!("{body} bytes").as_bytes());
    }
    out.put_slice(format!("{} {} {:?}\n", parts.method, target(parts), parts.version).as_bytes());
    if let Some(authority) = implied_host(parts) {
        line(&mut out, "host", authority.as_bytes());
    }
    for (name, value) in &parts.headers {
        line(&mut out, name.as_str(), value.as_bytes());
    }
    out.freeze()
}

fn line(out: &mut BytesMut, name: &str, value: &[u8]) {
    for piece in [name.as_bytes(), b": ", value, b"\n"] {
        out.put_slice(piece);
    }
}

#[derive(Serialize)]
struct Reflection<'a> {
    pod: &'a str,
    namespace: &'a str,
    address: String,
    remote: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<ReflectedTls<'a>>,
    method: &'a str,
    target: &'a str,
    version: String,
    headers: BTreeMap<&'a str, Vec<String>>,
    body: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReflectedTls<'a> {
    version: &'a str,
    server_name: Option<&'a str>,
}

/// The same as one JSON object; `headers` maps a lower-case name to its values in order.
pub(super) fn json(parts: &Parts, body: u64, link: &Link) -> Bytes {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    if let Some(authority) = implied_host(parts) {
        headers.entry("host").or_default().push(authority.to_owned());
    }
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    let identity = &link.shared.identity;
    let reflection = Reflection {
        pod: &identity.name,
        namespace: &identity.namespace,
        address: link.local.to_string(),
        remote: link.remote.to_string(),
        tls: link.tls.as_ref().map(|tls| ReflectedTls {
            version: &tls.version,
            server_name: tls.server_name.as_deref(),
        }),
        method: parts.method.as_str(),
        target: target(parts),
        version: format!("{:?}", parts.version),
        headers,
        body,
    };
    let mut out = serde_json::to_vec(&reflection).expect("strings and numbers always serialise");
    out.push(b'\n');
    out.into()
}

fn target(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |target| target.as_str())
}

/// HTTP/2 has the host in `:authority`.
fn implied_host(parts: &Parts) -> Option<&str> {
    if parts.headers.contains_key(HOST) {
        return None;
    }
    parts.uri.authority().map(|authority| authority.as_str())
}
