//! The rules of header actions with values that HAProxy was seen to send, and against an interpreter that
//! knows nothing of compiling.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::model::route::{self, HeaderAction};

fn set(name: &str, value: &str) -> HeaderChange {
    let set = Some(route::HeaderValue { value: value.to_owned() });
    HeaderChange { name: name.to_owned(), action: HeaderAction { kind: "Set".to_owned(), set } }
}

fn delete(name: &str) -> HeaderChange {
    let action = HeaderAction { kind: "Delete".to_owned(), set: None };
    HeaderChange { name: name.to_owned(), action }
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        fields.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    fields
}

/// What `value` becomes in a request with `lines`.
fn evaluated(value: &str, lines: &[(&str, &str)]) -> String {
    let mut fields = map(lines);
    Actions::compile(&[set("x-out", value)], Side::Request)
        .apply(&mut fields, None, &LimitSettings::default())
        .unwrap();
    String::from_utf8(fields["x-out"].as_bytes().to_vec()).unwrap()
}

/// [HDR-5] The rows were read from HAProxy 2.6 (`http-request set-header`).
#[test]
fn hdr_5_samples_are_evaluated_as_haproxy_does() {
    let quoted = "a, \"b,C\\\",d\" ";
    for (value, lines, expected) in [
        ("%[req.hdr(X-In)]", &["Ab"][..], "Ab"),
        ("[%[req.hdr(X-In),lower]]", &["Ab"], "[ab]"),
        ("%[req.hdr(X-In),base64]", &["Ab"], "QWI="),
        ("%[req.hdr(X-In),lower,base64]", &["Ab"], "YWI="),
        ("%[req.hdr(X-In),base64,lower]", &["Ab"], "qwi="),
        ("%[req.hdr(X-In)]", &["a,b,"], ""),
        ("%[req.hdr(X-In)]", &["a,b, "], ""),
        ("[%[req.hdr(X-In),lower]]", &[""], "[]"),
        ("[%[req.hdr(X-In)]]", &[], "[]"),
        ("%[req.hdr(X-In)]", &[quoted], "\"b,C\\\",d\""),
        ("%[req.hdr(X-In),base64]", &[quoted], "ImIsQ1wiLGQi"),
        ("%[req.hdr(X-In)]", &["one", "Two , Three"], "Three"),
        ("%[req.hdr(X-In)]", &["one, two", "last"], "last"),
        ("%{+E}[req.hdr(X-In)]", &["q\"u\\o]t"], "q\\\"u\\\\o\\]t"),
        ("%{+Q,+E}[req.hdr(X-In)]", &["q\"u\\o]t"], "q\\\"u\\\\o\\]t"),
        ("%{E}[req.hdr(X-In)]", &["q\"u\\o]t"], "q\"u\\o]t"),
        ("%{+E,-E}[req.hdr(X-In)]", &["q\"u\\o]t"], "q\"u\\o]t"),
        ("%{+Q}[req.hdr(X-In)]", &["Ab"], "Ab"),
        ("%{+X}[req.hdr(X-In)]", &["Ab"], "Ab"),
        ("%[req.hdr(X-In),base64]", &["\u{fc}\tx"], "w7wJeA=="),
        ("%[ssl_c_der]|%[ssl_c_der,base64]|", &["Ab"], "||"),
        ("100%% a%%%%b", &[], "100% a%%b"),
    ] {
        let lines: Vec<_> = lines.iter().map(|value| ("x-in", *value)).collect();
        assert_eq!(evaluated(value, &lines), expected, "{value} of {lines:?}");
    }
}

/// [HDR-6]
#[test]
fn hdr_6_text_arrives_byte_for_byte() {
    for text in ["foo if bar", "\"shouldn't break\"\\", "a  b", "\u{fc}", "{}[]#'$HOME;`"] {
        assert_eq!(evaluated(text, &[]), text);
    }
    // Blanks around a value are not of the value, and HTTP/2 forbids them.
    assert_eq!(evaluated("  a b  ", &[]), "a b");
    assert_eq!(evaluated("   ", &[]), "");
}

/// [HDR-7]
#[test]
fn hdr_7_set_replaces_all_and_each_action_sees_the_one_before() {
    let list = [
        set("X-A", "%[req.hdr(x-a)]-%[req.hdr(x-b)]"),
        set("x-b", "%[req.hdr(X-A)]!"),
        delete("X-C"),
        set("x-d", "[%[req.hdr(x-c)]]"),
        delete("x-nothing"),
    ];
    let lines = [("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("x-c", "4"), ("x-c", "5")];
    let mut fields = map(&lines);
    Actions::compile(&list, Side::Request)
        .apply(&mut fields, None, &LimitSettings::default())
        .unwrap();
    assert_eq!(fields, map(&[("x-a", "2-3"), ("x-b", "2-3!"), ("x-d", "[]")]));
}

/// What says where a message ends stays as it is, however it is written.
#[test]
fn hdr_7_no_action_touches_framing() {
    let lines = [("content-length", "3"), ("connection", "upgrade"), ("upgrade", "websocket")];
    for name in ["Content-Length", "CONNECTION", "Transfer-Encoding", "Upgrade", "TE", "keep-alive"]
    {
        for change in [set(name, "chunked"), set(name, "%[res.hdr(x)]"), delete(name)] {
            let actions = Actions::compile(&[change], Side::Response);
            assert!(actions.is_empty());
            let mut fields = map(&lines);
            actions.apply(&mut fields, None, &LimitSettings::default()).unwrap();
            assert_eq!(fields, map(&lines), "{name}");
        }
    }
}

/// [HDR-5] The certificate is bytes until a converter or the end makes text of it: base64 of all of it, and
/// otherwise up to its first NUL, with control characters as `%XX` (as HAProxy 2.6 does).
#[test]
fn hdr_5_the_certificate_is_in_base64_or_up_to_its_first_nul() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["a".to_owned()]).unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let client = CertificateFields::of(&der).unwrap();
    let list = [
        set("x-1", "%[ssl_c_der,base64]"),
        set("x-2", "<%{+Q}[ssl_c_der,base64]>"),
        set("x-3", "%[ssl_c_der]"),
        set("x-4", "%[ssl_c_der,lower,base64]"),
    ];
    let mut fields = HeaderMap::new();
    Actions::compile(&list, Side::Request)
        .apply(&mut fields, Some(&client), &LimitSettings::default())
        .unwrap();
    let base64 = data_encoding::BASE64.encode(&der);
    assert_eq!(fields["x-1"], base64);
    assert_eq!(fields["x-2"], format!("<{base64}>"));
    let cut = der.split(|byte| *byte == 0).next().unwrap();
    let mut raw = Vec::new();
    for byte in cut {
        crate::headers::certificate::push_safe(&mut raw, *byte);
    }
    assert_eq!(fields["x-3"].as_bytes(), raw);
    assert!(raw.starts_with(b"0\x82%01"), "{raw:?}");
    assert_eq!(fields["x-4"], data_encoding::BASE64.encode(&cut.to_ascii_lowercase()));
    // Without one, or without TLS, every one of them is empty.
    for client in [None, Some(&CertificateFields::without())] {
        let mut fields = HeaderMap::new();
        Actions::compile(&list, Side::Request)
            .apply(&mut fields, client, &LimitSettings::default())
            .unwrap();
        let values = ["x-1", "x-2", "x-3", "x-4"].map(|name| fields[name].to_str().unwrap());
        assert_eq!(values, ["", "<>", "", ""]);
    }
}

/// [HDR-9] The reserve always fits, what outgrows the buffer does not.
#[test]
fn hdr_9_what_does_not_fit_is_an_overflow() {
    let long = |length: usize| "z".repeat(length);
    let run = |values: &[&str], head: usize, limits: LimitSettings| {
        let list: Vec<_> =
            values.iter().enumerate().map(|(nth, value)| set(&format!("x-{nth}"), value)).collect();
        let mut fields = map(&[("x-in", &long(head))]);
        Actions::compile(&list, Side::Request).apply(&mut fields, None, &limits)
    };
    let defaults = LimitSettings::default();
    for limits in [defaults, LimitSettings { buffer: 65_536, rewrite_reserve: 4096, ..defaults }] {
        let (buffer, reserve) = (limits.buffer, limits.rewrite_reserve);
        let received = buffer - reserve - 8;
        assert_eq!(run(&[&long(reserve - 8)], received, limits), Ok(()));
        assert_eq!(run(&[&long(reserve)], received, limits), Err(Overflow));
        assert_eq!(run(&[&long(16_000)], buffer - 16_768, limits), Ok(()));
        // A text has at most 16384 bytes [HDR-3], so it takes several.
        let many = vec![long(16_000); buffer / 16_000 + 1];
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(run(&many, 1, limits), Err(Overflow));
        assert_eq!(
            run(&["%[req.hdr(x-in)]%[req.hdr(x-in)]"], buffer / 2 + 16, limits),
            Err(Overflow)
        );
    }
    // A converter's result that outgrows the buffer is empty, so no row of them takes memory.
    let row = format!("<%[req.hdr(x-in){}]>", ",base64".repeat(2000));
    let mut fields = map(&[("x-in", "a")]);
    Actions::compile(&[set("x-out", &row)], Side::Request)
        .apply(&mut fields, None, &LimitSettings::default())
        .unwrap();
    assert_eq!(fields["x-out"], "<>");
}

/// An interpreter of the text of a value, character by character, over a list of lines.
fn naive(value: &str, lines: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '%' {
            out.extend(c.to_string().into_bytes());
            continue;
        }
        if let Some(tail) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = tail;
            continue;
        }
        let open = rest.find('[').unwrap();
        let close = rest.find(']').unwrap();
        let escape = rest[..open].contains("+E");
        let mut words = rest[open + 1..close].split(',');
        let fetch = words.next().unwrap();
        let name = fetch.trim_start_matches("req.hdr(").trim_end_matches(')').to_lowercase();
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (_, line) in lines.iter().filter(|(other, _)| *other == name) {
            let mut member = Vec::new();
            let (mut quoted, mut skip) = (false, false);
            for byte in line {
                if *byte == b',' && !quoted && !skip {
                    all.push(std::mem::take(&mut member));
                    continue;
                }
                if skip {
                    skip = false;
                } else if quoted && *byte == b'\\' {
                    skip = true;
                } else if *byte == b'"' {
                    quoted = !quoted;
                }
                member.push(*byte);
            }
            all.push(member);
        }
        let mut sample = all.pop().unwrap_or_default().trim_ascii().to_vec();
        for word in words {
            sample = match word {
                "lower" => sample.to_ascii_lowercase(),
                _ => data_encoding::BASE64.encode(&sample).into_bytes(),
            };
        }
        for byte in sample {
            if escape && b"\"\\]".contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        rest = &rest[close + 1..];
    }
    out.trim_ascii().to_vec()
}

fn action() -> impl Strategy<Value = (String, Option<String>)> {
    let name = prop::sample::select(vec!["x-a", "X-B", "x-c", "Host"]).prop_map(str::to_owned);
    let sample = (
        prop::sample::select(vec!["", "{+E}", "{+Q}", "{-E,+Q}"]),
        prop::sample::select(vec!["x-a", "X-B", "X-c", "host", "none"]),
        prop::sample::select(vec!["", ",lower", ",base64", ",lower,base64", ",base64,lower"]),
    );
    let piece = prop_oneof![
        "[a-zA-Z\"\\\\ ,\\]\u{e9}]{1,6}",
        Just("%%".to_owned()),
        sample.prop_map(|(flags, name, rest)| format!("%{flags}[req.hdr({name}){rest}]")),
    ];
    (
        name,
        prop::option::weighted(
            0.8,
            prop::collection::vec(piece, 1..5).prop_map(|all| all.concat()),
        ),
    )
}

proptest! {
    #[test]
    fn hdr_5_hdr_7_applying_equals_interpreting(
        list in prop::collection::vec(action(), 0..8),
        lines in prop::collection::vec(
            ("x-a|x-b|x-c|host", "([a-zA-Z\"\\\\ ,\\]\u{e9}]{0,8}[a-z\",])?"), 0..6),
    ) {
        let changes: Vec<_> = list.iter().map(|(name, value)| match value {
            Some(value) => set(name, value),
            None => delete(name),
        }).collect();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (&**name, value.trim())).collect();
        let mut fields = map(&lines);
        Actions::compile(&changes, Side::Request).apply(&mut fields, None, &LimitSettings::default()).unwrap();

        let mut expected: Vec<(String, Vec<u8>)> = lines.iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        for (name, value) in &list {
            let value = value.as_ref().map(|value| naive(value, &expected));
            let name = name.to_lowercase();
            expected.retain(|(other, _)| *other != name);
            expected.extend(value.map(|value| (name, value)));
        }
        let mut got: Vec<(String, Vec<u8>)> = fields.iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        // Lines of one name keep their order; names are not ordered.
        got.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn every_value_is_legal_whatever_the_fields_say(
        value in "[ -~]{0,12}",
        line in prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..40),
    ) {
        let mut fields = HeaderMap::new();
        fields.insert("x-in", HeaderValue::from_bytes(&line).unwrap());
        let value = format!("{}%{{+E}}[req.hdr(x-in)]", value.replace('%', "%%"));
        Actions::compile(&[set("x-out", &value)], Side::Request).apply(&mut fields, None, &LimitSettings::default()).unwrap();
        let out = fields["x-out"].as_bytes();
        prop_assert!(out.iter().all(|byte| *byte == b'\t' || *byte >= 32 && *byte != 127));
        prop_assert_eq!(out.trim_ascii(), out);
    }
}
