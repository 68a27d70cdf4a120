//! The table of REW-4, the rules of REW-6 as measured, and a naive reading of both as an oracle.

use proptest::prelude::*;

use super::*;

/// Bytes of the longest target.
const MAX_HEAD: usize = 24_576;

fn rewritten(path: &str, target: &str, asked: &str, last_slash: LastSlash) -> String {
    let rewrite = Rewrite::parse(path, target, last_slash).expect("a target");
    rewrite.apply(&asked.parse().expect("a target"), MAX_HEAD).expect("it fits").to_string()
}

/// [REW-1]
#[test]
fn rew_1_a_target_begins_with_a_slash_and_is_one_line() {
    for good in ["/", "/x", "/ ", "/x\r"] {
        assert!(Rewrite::parse("/foo", good, LastSlash::Taken).is_some(), "{good:?}");
    }
    for bad in ["", "x", " /x", "/x\n", "/x\ny", "\"/x\""] {
        assert_eq!(Rewrite::parse("/foo", bad, LastSlash::Taken), None, "{bad:?}");
    }
}

/// [REW-2, REW-3, REW-4]: path of the route, target, asked path, path that the pod sees.
const REW_4: [(&str, &str, &str, &str); 19] = [
    ("/foo", "/", "/foo", "/"),
    ("/foo", "/", "/foo/", "/"),
    ("/foo", "/", "/foo/bar", "/bar"),
    ("/foo", "/", "/foo/bar/", "/bar/"),
    ("/foo", "/", "/foo//bar", "//bar"),
    ("/foo", "/bar", "/foo", "/bar"),
    ("/foo", "/bar", "/foo/", "/bar/"),
    ("/foo", "/bar", "/foo//", "/bar//"),
    ("/foo", "/baz", "/foo/bar", "/baz/bar"),
    ("/app", "/", "/app/x", "/x"),
    ("/api/v1", "/v2", "/api/v1/u", "/v2/u"),
    ("", "/x", "/a", "/x/a"),
    ("", "/x", "/", "/x/"),
    ("", "/", "/a", "/a"),
    ("/", "/x", "/a", "/xa"),
    ("/", "/x", "/", "/x"),
    ("/", "/", "/a/b", "/a/b"),
    ("/", "/x/", "/a", "/x/a"),
    ("/a(b)", "/x", "/a(b)/c", "/x/c"),
];

#[test]
fn rew_4_the_table() {
    for (path, target, asked, seen) in REW_4 {
        assert_eq!(
            rewritten(path, target, asked, LastSlash::Taken),
            seen,
            "{path} {target} {asked}"
        );
    }
}

/// Row 24 of the quirk register: only what ends with a slash differs.
#[test]
fn rew_4_the_slash_that_ends_a_path_can_be_kept() {
    for (path, target, asked, seen) in REW_4 {
        let fixed = match (path, target, asked) {
            ("/", "/x", "/a") => "/x/a",
            ("/", "/x", "/") => "/x/",
            _ => seen,
        };
        let got = rewritten(path, target, asked, LastSlash::Kept);
        assert_eq!(got, fixed, "{path} {target} {asked}");
    }
}

/// [REW-3]: a query is untouched, whatever stands in it.
#[test]
fn rew_1_the_query_is_untouched() {
    for (path, target, asked, seen) in [
        ("/foo", "/", "/foo?/a=/b", "/?/a=/b"),
        ("/foo", "/", "/foo/?a#", "/?a"),
        ("/foo", "/bar", "/foo?", "/bar?"),
        ("/foo", "/bar # x", "/foo/gone?a=b", "/bar%20?a=b"),
        ("/foo", "/bar?c=d", "/foo/x?a=b", "/bar?c=d/x?a=b"),
        ("/foo", "/", "/foo/%2F?%23", "/%2F?%23"),
    ] {
        assert_eq!(rewritten(path, target, asked, LastSlash::Taken), seen, "{target} {asked}");
    }
}

/// [REW-5]: the path is no pattern, and what it does not begin is left alone.
#[test]
fn rew_5_the_path_is_literal() {
    assert_eq!(rewritten("/a.c", "/x", "/abc/d", LastSlash::Taken), "/abc/d");
    assert_eq!(rewritten("/it's", "/x", "/it's/d", LastSlash::Taken), "/x/d");
    assert_eq!(rewritten("", "/x", "*", LastSlash::Taken), "*");
}

/// [REW-6] as spec/route.md 26.1 has it: what is left of a target, and whether it had a comment.
#[test]
fn rew_6_targets_are_read_as_they_once_were() {
    let rows = [
        (r"/b\c", "/bc", false),
        (r"/b\\c", "/bc", false),
        (r"/b\\\c", r"/b\c", false),
        (r"/b\\\\c", r"/b\c", false),
        (r"/c\1d", "/c1d", false),
        (r"/c\0", "/c0", false),
        ("/a'b'\"c\"", "/abc", false),
        (r#"/a\'b\"c"#, "/a'b\"c", false),
        ("/foo # bar", "/foo ", true),
        ("/foo#", "/foo", true),
        (r"/foo\#bar", "/foo#bar", false),
        (r"/foo\\#bar", "/foo", true),
        ("/%", "/%", false),
        ("/%%", "/%", false),
        ("/%%%", "/%%%", false),
        ("/%%%%", "/%%", false),
        ("/%20a", "/%20a", false),
        ("/ü x", "/ü x", false),
    ];
    for (text, left, comment) in rows {
        let found = read(text);
        assert_eq!((found.text.as_str(), found.comment), (left, comment), "{text}");
    }
}

/// S-78: nothing that an annotation holds can end the request line or begin another field.
#[test]
fn rew_6_what_no_target_holds_is_encoded() {
    assert_eq!(
        rewritten("/a", "/x y\r\u{1}ü\\#", "/a/b", LastSlash::Taken),
        "/x%20y%0D%01%C3%BC%23/b"
    );
    for (text, surprising) in [
        ("/a", false),
        ("/a%20", false),
        ("/a b", true),
        ("/a#", true),
        ("/it's", true),
        ("/a\\b", true),
    ] {
        assert_eq!(is_surprising(text), surprising, "{text}");
    }
}

#[test]
fn what_grows_too_long_is_an_overflow() {
    let rewrite =
        Rewrite::parse("", &format!("/{}", "t".repeat(20_000)), LastSlash::Taken).unwrap();
    let fits = format!("/{}", "a".repeat(MAX_HEAD - 20_002));
    assert_eq!(rewrite.apply(&fits.parse().unwrap(), MAX_HEAD).unwrap().path().len(), MAX_HEAD);
    assert_eq!(rewrite.apply(&format!("{fits}a").parse().unwrap(), MAX_HEAD), Err(Overflow));
}

/// REW-2 and REW-3 said once more, on text, with the prefix taken away step by step.
fn naive(path: &str, target: &str, asked: &str) -> String {
    let (asked_path, query) = match asked.find('?') {
        Some(at) => asked.split_at(at),
        None => (asked, ""),
    };
    if asked_path.len() < path.len() || asked_path[..path.len()] != *path {
        return asked.to_owned();
    }
    let mut tail = asked_path[path.len()..].to_owned();
    if target == "/" && tail.starts_with('/') {
        tail.remove(0);
    }
    [target, &tail, query].concat()
}

/// REW-6 by search and replace on the whole text, for texts without escaped quotes and comments.
fn naive_read(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != '\'' && *c != '"').collect();
    let mut out = String::new();
    for part in text.split_inclusive(|c| c != '%') {
        let count = part.bytes().filter(|byte| *byte == b'%').count();
        let count = if count.is_multiple_of(2) { count / 2 } else { count };
        out.push_str(&"%".repeat(count));
        out.push_str(part.trim_start_matches('%'));
    }
    out
}

proptest! {
    #[test]
    fn rewriting_agrees_with_the_naive_one(
        path in "(/[ab]{0,2}){0,2}",
        target in "/[ab/]{0,3}",
        asked in "(/[ab]{0,2}){1,4}(\\?[ab/?]{0,3})?",
    ) {
        prop_assert_eq!(rewritten(&path, &target, &asked, LastSlash::Taken), naive(&path, &target, &asked));
    }

    #[test]
    fn reading_agrees_with_the_naive_one(text in "/[a%'\"]{0,12}") {
        prop_assume!(!text.contains("%'") && !text.contains("%\""));
        prop_assert_eq!(read(&text).text, naive_read(&text));
    }

    /// S-85: any text is understood or not, and what comes out is a target on one line.
    #[test]
    fn no_text_breaks_a_target(path in "(/[a-z]{0,3}){0,2}", target in "\\PC{0,20}|/.{0,20}", rest in "[a-z/]{0,5}") {
        if let Some(rewrite) = Rewrite::parse(&path, &target, LastSlash::Taken) {
            let asked = format!("{path}/{rest}");
            let seen = rewrite.apply(&asked.parse().unwrap(), MAX_HEAD).unwrap().to_string();
            prop_assert!(seen.starts_with('/') && seen.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
