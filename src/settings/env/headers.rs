//! The rows of header fields in the table of environment variables (spec/route.md 17.4).

use super::{Kind, Outcome, RouterSettings, Row, rows::row};
use crate::{
    model::{
        grammar::{
            action::{Side, check_value},
            is_token,
        },
        route::{HeaderAction, HeaderChange, HeaderValue},
    },
    settings::headers::HeaderSettings,
};

/// Longest name of a header [HDR-1].
const MAX_NAME: usize = 255;

/// Header fields. A list that is not understood stops the start: it may be there for security.
pub const HEADERS: &[Row] = &[
    row(
        "ROUTER_HTTP_REQUEST_HEADERS",
        "NAME:VALUE:Set or NAME:Delete, separated by commas, each part URL-encoded: for every request",
        Kind::Text(|settings, value| {
            actions(value, Side::Request, &mut settings.headers.actions.request)
        }),
    )
    .flags(&["--set-delete-http-request-header"])
    // A value may be a credential for pods.
    .secret(),
    row(
        "ROUTER_HTTP_RESPONSE_HEADERS",
        "the same for every response of a pod",
        Kind::Text(|settings, value| {
            actions(value, Side::Response, &mut settings.headers.actions.response)
        }),
    )
    .flags(&["--set-delete-http-response-header"])
    .secret(),
    row(
        "ROUTER_SET_FORWARDED_HEADERS",
        "forwarding headers of routes that choose nothing: append, replace, if-none, never",
        Kind::Text(forwarded),
    )
    .shows(|settings| match settings.headers.forwarded.as_str() {
        "" => "append".to_owned(),
        word => word.to_owned(),
    }),
    row(
        "ROUTER_H1_CASE_ADJUST",
        "spelling of header names, separated by commas, for HTTP/1 clients",
        Kind::Text(spelling),
    )
    .flags(&["--http-header-name-case-adjustments"])
    .shows(|settings| settings.headers.spelling.join(",")),
];

/// The words of the annotation [FWD-1].
fn forwarded(settings: &mut RouterSettings, value: &str) -> Outcome {
    match value {
        "append" | "replace" | "if-none" | "never" => {
            value.clone_into(&mut settings.headers.forwarded);
            Outcome::Used
        },
        _ => Outcome::Noted("is none of append, replace, if-none and never; append is used"),
    }
}

/// [ENV-HDR]
fn actions(text: &str, side: Side, list: &mut Vec<HeaderChange>) -> Outcome {
    let mut noted = Outcome::Used;
    list.clear();
    for (index, entry) in text.split(',').enumerate() {
        match action(entry, side) {
            Ok(change) => {
                if crate::model::grammar::action::is_framing(&change.name) {
                    noted = Outcome::Noted(
                        "names a field of the connection or of message framing, which is not changed",
                    );
                }
                list.push(change);
            },
            Err(problem) => {
                return Outcome::Wrong(format!("entry {} {problem}", index + 1));
            },
        }
    }
    noted
}

fn action(entry: &str, side: Side) -> Result<HeaderChange, String> {
    let parts: Vec<_> = entry.split(':').map(unescape).collect::<Option<_>>().ok_or(
        "holds a % that is not followed by two hexadecimal digits, or is not UTF-8; write %25 for %",
    )?;
    let (name, value, kind) = match &parts[..] {
        [name, kind] => (name, None, kind),
        [name, value, kind] => (name, Some(value), kind),
        _ => return Err("is neither NAME:VALUE:Set nor NAME:Delete; write %3A for a :".to_owned()),
    };
    if !is_token(name) || name.len() > MAX_NAME {
        return Err("does not begin with a header name".to_owned());
    }
    let set = match (kind.as_str(), value) {
        ("Set", Some(value)) => {
            check_value(value, side)
                .map_err(|error| format!("has a value that is none: {error}"))?;
            Some(HeaderValue { value: value.clone() })
        },
        ("Set", None) => return Err("sets no value; write NAME:VALUE:Set".to_owned()),
        ("Delete", _) => None,
        _ => return Err("does not end with Set or Delete".to_owned()),
    };
    let action = HeaderAction { kind: kind.clone(), set };
    Ok(HeaderChange { name: name.clone(), action })
}

/// A part of a query as Go reads it: `+` is a space, `%XX` a byte.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            },
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// [CASE-1]
fn spelling(settings: &mut RouterSettings, value: &str) -> Outcome {
    let HeaderSettings { spelling, .. } = &mut settings.headers;
    spelling.clear();
    for name in value.split(',') {
        if !is_token(name) || name.len() > MAX_NAME {
            return Outcome::Wrong(format!("{name:?} is not a header name"));
        }
        if spelling.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Outcome::Wrong(format!("the header {name} is listed twice"));
        }
        spelling.push(name.to_owned());
    }
    Outcome::Used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::env::tests::{quiet, read};

    const REQUEST: &str = "ROUTER_HTTP_REQUEST_HEADERS";
    const RESPONSE: &str = "ROUTER_HTTP_RESPONSE_HEADERS";

    fn set(name: &str, value: &str) -> HeaderChange {
        let set = Some(HeaderValue { value: value.to_owned() });
        let action = HeaderAction { kind: "Set".to_owned(), set };
        HeaderChange { name: name.to_owned(), action }
    }

    fn delete(name: &str) -> HeaderChange {
        let action = HeaderAction { kind: "Delete".to_owned(), set: None };
        HeaderChange { name: name.to_owned(), action }
    }

    #[test]
    fn env_hdr_lists_are_read_in_their_order() {
        let text =
            "X-A:a+b%2Cc%3Ad%25%25:Set,Server:Delete,X-B:%25%5Breq.hdr%28Host%29%2Clower%5D:Set";
        let actions = quiet(&[(REQUEST, text), (RESPONSE, "Cookie:Delete")]).headers.actions;
        let request =
            [set("X-A", "a b,c:d%%"), delete("Server"), set("X-B", "%[req.hdr(Host),lower]")];
        assert_eq!(actions.request, request);
        // What the API forbids [HDR-2] is the operator's to decide here.
        assert_eq!(actions.response, [delete("Cookie")]);
        assert_eq!(quiet(&[]).headers, HeaderSettings::default());
    }

    #[test]
    fn env_hdr_what_is_not_understood_stops_the_start() {
        for (value, said) in [
            ("X-A", "entry 1 is neither"),
            ("X-A:1:Set,X-B:1:2:Set", "entry 2 is neither"),
            ("X A:1:Set", "does not begin with a header name"),
            ("X+A:1:Set", "does not begin with a header name"),
            (":1:Set", "does not begin with a header name"),
            ("X-A:1:set", "does not end with Set or Delete"),
            ("X-A:1:", "does not end with Set or Delete"),
            ("X-A::Set", "set.value must not be empty"),
            ("X-A:Set", "sets no value"),
            ("X-A:%zz:Set", "two hexadecimal digits"),
            ("X-A:%2:Set", "two hexadecimal digits"),
            ("X-A:%ff:Set", "not UTF-8"),
            ("X-A:50%25:Set", "a % in set.value is written %%"),
            ("X-A:%25%5Bres.hdr(a)%5D:Set", "req.hdr is for request actions"),
            ("X-A:1:Set,", "entry 2 is neither"),
        ] {
            let error = read(&[(REQUEST, value)]).unwrap_err().to_string();
            assert!(error.contains(said), "{value}: {error}");
        }
        // A value may be a credential, also where the entry is not understood.
        for value in ["Authorization:Basic+c2VjcmV0", "A:c2VjcmV0:set", "A:c2VjcmV0:b:Set"] {
            let error = read(&[(REQUEST, value)]).unwrap_err().to_string();
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
        let (settings, notes) = read(&[(RESPONSE, "Content-Length:1:Set")]).unwrap();
        assert!(notes[0].contains("message framing"), "{notes:?}");
        assert_eq!(settings.headers.actions.response.len(), 1);
    }

    #[test]
    fn fwd_1_the_default_policy_is_one_of_four_words() {
        for word in ["append", "replace", "if-none", "never"] {
            assert_eq!(quiet(&[("ROUTER_SET_FORWARDED_HEADERS", word)]).headers.forwarded, word);
        }
        let (settings, notes) = read(&[("ROUTER_SET_FORWARDED_HEADERS", "Replace")]).unwrap();
        assert_eq!((settings.headers.forwarded.as_str(), notes.len()), ("", 1));
    }

    #[test]
    fn case_1_names_are_tokens_and_listed_once() {
        let spelling = |value| read(&[("ROUTER_H1_CASE_ADJUST", value)]);
        let (settings, _) = spelling("Cache-Control,X-FOO").unwrap();
        assert_eq!(settings.headers.spelling, ["Cache-Control", "X-FOO"]);
        for value in ["a b", "a,,b", "a, b", "a:b", "Host,host", "é"] {
            assert!(spelling(value).is_err(), "{value}");
        }
    }
}
