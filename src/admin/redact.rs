//! Takes key material out of JSON before anybody sees it (S-92).
//!
//! Used for whole Route objects. What a key may hide in is known: its own field, any PEM text (a
//! certificate field may hold the key as well), and the copy of the object that `kubectl apply`
//! leaves in an annotation.

use serde_json::Value;

/// What stands in place of a key.
pub const REDACTED: &str = "[redacted]";

/// Annotation with a copy of the whole object, keys included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// Takes every private key out of a Route object.
pub fn route(object: &mut Value) {
    if let Some(Value::String(key)) = object.pointer_mut("/spec/tls/key")
        && !key.is_empty()
    {
        REDACTED.clone_into(key);
    }
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(Value::String(copy)) = annotations.and_then(|all| all.get_mut(LAST_APPLIED)) {
        REDACTED.clone_into(copy);
    }
    texts(object);
}

/// Takes PEM keys out of every text below `value`.
fn texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains("PRIVATE KEY") {
                *text = without_keys(text);
            }
        },
        Value::Array(items) => items.iter_mut().for_each(texts),
        Value::Object(members) => members.values_mut().for_each(texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {},
    }
}

/// `text` without the PEM blocks of private keys; a block without an end goes to the end.
fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(begin);
        out.push_str(before);
        let label = &block[BEGIN.len()..];
        let Some((label, body)) = label.split_once(DASHES) else {
            // A label that does not end is no certificate either.
            out.push_str(REDACTED);
            return out;
        };
        if !label.contains("PRIVATE KEY") {
            out.push_str(&block[..BEGIN.len()]);
            rest = &block[BEGIN.len()..];
            continue;
        }
        out.push_str(REDACTED);
        let end = format!("-----END {label}{DASHES}");
        match body.find(&end) {
            Some(at) => rest = &body[at + end.len()..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// S-92: wherever a key may hide in a Route, the word is what is left.
    #[test]
    fn no_key_is_left_in_a_route_s_92() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nCANARY\n-----END EC PRIVATE KEY-----";
        let chain = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
        let mut object = json!({
            "metadata": {"annotations": {
                (LAST_APPLIED): "{\"spec\":{\"tls\":{\"key\":\"CANARY\"}}}",
                "note": format!("see {key}"),
            }},
            "spec": {"tls": {
                "key": "CANARY",
                "certificate": format!("{chain}{key}\n{chain}"),
                "caCertificate": "-----BEGIN PRIVATE KEY-----\nCANARY",
                "destinationCACertificate": "PRIVATE KEY -----BEGIN PRIVATE CANARY",
            }},
        });
        route(&mut object);
        assert!(!object.to_string().contains("CANARY"), "{object:#}");
        assert_eq!(object["spec"]["tls"]["key"], REDACTED);
        assert_eq!(
            object["spec"]["tls"]["certificate"],
            format!("{chain}{REDACTED}\n{chain}").as_str(),
            "certificates stay"
        );
        assert_eq!(object["metadata"]["annotations"]["note"], "see [redacted]");
    }

    #[test]
    fn a_route_without_a_key_stays_as_it_is() {
        let before = json!({"spec": {"tls": {"key": "", "termination": "edge"}}});
        let mut after = before.clone();
        route(&mut after);
        assert_eq!(after, before);
    }
}
