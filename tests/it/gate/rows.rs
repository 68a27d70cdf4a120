//! The table of reliability.md 6.1: bytes and what comes of them.

use super::HOST;

/// What a client sends on a connection of its own, and what it gets.
#[derive(Debug)]
pub(super) struct Row {
    /// Rule and case, different for every row.
    pub(super) name: String,
    /// Everything that is sent.
    pub(super) bytes: Vec<u8>,
    /// Status of the first answer. The connection ends behind it unless it is 200 or 503.
    pub(super) status: u16,
}

impl Row {
    /// Requests that the pod sees.
    pub(super) fn requests(&self) -> usize {
        usize::from(self.status == 200)
    }
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let tables = [framing(), chunks(), lines(), hosts(), targets(), others(), limits()];
    tables.into_iter().flatten().collect()
}

fn row(rule: &str, case: &str, text: impl AsRef<[u8]>, status: u16) -> Row {
    Row { name: format!("{rule} {case}"), bytes: text.as_ref().to_vec(), status }
}

/// A POST with these fields.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}")
}

fn get(line: &str) -> String {
    format!("{line}\r\nHost: {HOST}\r\n\r\n")
}

const EMPTY: &str = "0\r\n\r\n";

fn framing() -> Vec<Row> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut rows = vec![
        row("S-01", "length first", post(&format!("Content-Length: 5\r\n{chunked}"), EMPTY), 400),
        row("S-01", "coding first", post(&format!("{chunked}Content-Length: 5\r\n"), EMPTY), 400),
        row("S-01", "length 0", post(&format!("Content-Length: 0\r\n{chunked}"), EMPTY), 400),
        row("S-02", "plain", post("Content-Length: 5\r\n", "hello"), 200),
        row("S-02", "leading tab", post("Content-Length:\t5\r\n", "hello"), 200),
        row("S-02", "twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400),
        row("S-02", "differing", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), 400),
        row("S-03", "twice", post(&chunked.repeat(2), EMPTY), 400),
        row("S-03", "blank before colon", post("Transfer-Encoding : chunked\r\n", EMPTY), 400),
        row(
            "S-03",
            "HTTP 1.0",
            format!("POST / HTTP/1.0\r\nHost: {HOST}\r\n{chunked}\r\n{EMPTY}"),
            400,
        ),
        row("S-03", "folded", post("Transfer-Encoding:\r\n chunked\r\n", EMPTY), 400),
    ];
    let lengths = [
        ("plus", "+5"),
        ("hex", "0x5"),
        ("trailing blank", "5 "),
        ("trailing tab", "5\t"),
        ("negative", "-1"),
        ("above 64 bits", "18446744073709551616"),
        ("highest", "18446744073709551615"),
        ("empty", ""),
        ("list", "5, 5"),
        ("differing list", "5, 6"),
        ("two numbers", "5 5"),
        ("fraction", "5.0"),
        ("underscore", "1_0"),
        ("arabic digit", "\u{665}"),
    ];
    rows.extend(lengths.map(|(case, value)| {
        row("S-02", case, post(&format!("Content-Length: {value}\r\n"), "hello"), 400)
    }));
    let codings = [
        ("plain", "chunked", 200),
        ("mixed case", "cHuNkEd", 200),
        ("list of two", "chunked, chunked", 400),
        ("prefix", "xchunked", 400),
        ("suffix", "chunkedx", 400),
        ("vertical tab", "chunked\x0b", 400),
        ("trailing blank", "chunked ", 400),
        ("parameter", "chunked;q=1", 400),
        ("quoted", "\"chunked\"", 400),
        ("comma behind", "chunked,", 400),
        ("empty", "", 400),
        ("identity", "identity", 400),
        ("gzip", "gzip", 400),
        ("not last", "chunked, gzip", 400),
        ("gzip in front", "gzip, chunked", 422),
        ("NUL", "chunked\0", 400),
        ("bare CR", "\rchunked", 400),
    ];
    rows.extend(codings.map(|(case, value, status)| {
        row("S-03", case, post(&format!("Transfer-Encoding: {value}\r\n"), EMPTY), status)
    }));
    rows
}

fn chunks() -> Vec<Row> {
    let sizes = [
        ("plain", "5\r\nhello\r\n0\r\n\r\n", 200),
        ("zeros", "0005\r\nhello\r\n000\r\n\r\n", 200),
        ("sixteen digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", 200),
        ("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("hex prefix", "0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n", 400),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n", 400),
        ("underscore", "0_5\r\nhello\r\n0\r\n\r\n", 400),
        ("leading blank", " 5\r\nhello\r\n0\r\n\r\n", 400),
        ("trailing blank", "5 \r\nhello\r\n0\r\n\r\n", 400),
        ("no size", "\r\nhello\r\n0\r\n\r\n", 400),
        ("no CRLF behind data", "5\r\nhello0\r\n\r\n", 400),
        ("spill of one byte", "5\r\nhello!\r\n0\r\n\r\n", 400),
        ("LF behind data", "5\r\nhello\n0\r\n\r\n", 400),
        ("comma", "5,5\r\nhello\r\n0\r\n\r\n", 400),
    ];
    let extensions = [
        ("plain", "5;a=b\r\nhello\r\n0;c\r\n\r\n", 200),
        ("quoted", "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", 200),
        ("bare LF", "5;\nhello\r\n0\r\n\r\n", 400),
        ("LF in extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
        ("CR in extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("unclosed quotes", "5;a=\"b\r\nhello\r\n0\r\n\r\n", 400),
        ("no name", "5;\r\nhello\r\n0\r\n\r\n", 400),
        ("blank", "5 ;a\r\nhello\r\n0\r\n\r\n", 400),
        ("control", "5;a=\x01\r\nhello\r\n0\r\n\r\n", 400),
        ("LF for the end of a size", "5\nhello\r\n0\r\n\r\n", 400),
        ("TERM.EXT", "5;\nxx\r\n4d\r\n0\r\n\r\n", 400),
        ("EXT.TERM", "5;a\rX\nhello\r\n0\r\n\r\n", 400),
    ];
    let trailers = [
        ("plain", "0\r\nx: y\r\n\r\n", 200),
        ("bare LF", "0\r\nx: y\n\r\n", 400),
        ("bare LF at the end", "0\r\n\n", 400),
        ("blank before colon", "0\r\nx : y\r\n\r\n", 400),
        ("folded", "0\r\nx: y\r\n z\r\n\r\n", 400),
        ("no colon", "0\r\nx\r\n\r\n", 400),
        ("NUL", "0\r\nx: \0\r\n\r\n", 400),
    ];
    let long = [
        ("257 bytes of extension", format!("5;{}\r\n", "a".repeat(256))),
        ("1 MiB of extension", format!("5;{}\r\n", "a".repeat(1 << 20))),
        ("17 KiB of extensions", format!("1;{}\r\na\r\n", "a".repeat(254)).repeat(68)),
    ];
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let sizes = sizes.map(|(case, body, status)| row("S-04", case, chunked(body), status));
    let extensions =
        extensions.map(|(case, body, status)| row("S-05", case, chunked(body), status));
    let trailers =
        trailers.map(|(case, body, status)| row("S-06 trailer", case, chunked(body), status));
    let long = long.map(|(case, body)| row("S-05", case, chunked(&body), 400));
    sizes.into_iter().chain(extensions).chain(trailers).chain(long).collect()
}

fn lines() -> Vec<Row> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
    vec![
        row("S-06", "LF behind request line", format!("GET / HTTP/1.1\nHost: {HOST}\r\n\r\n"), 400),
        row("S-06", "LF behind field", format!("GET / HTTP/1.1\r\nHost: {HOST}\n\r\n"), 400),
        row("S-06", "LF at the end of head", get("x: y\r\n").replace("y\r\n\r\n", "y\r\n\n"), 400),
        row("S-06", "LF only", get("").replace('\r', ""), 400),
        row("S-06", "bare CR in value", get("x: a\rb\r\n"), 400),
        row("S-06", "bare CR for line end", get("x: a\ry: b\r\n"), 400),
        row("S-06", "CR CR LF", get("x: a\r\r\n"), 400),
        row("S-06", "LF in front", format!("\n{}", get("")), 400),
        row("S-06", "CRLF in front", format!("\r\n{}", get("")), 200),
        row("S-06", "CRLF twice in front", format!("\r\n\r\n{}", get("")), 400),
        row("S-07", "fold by blank", get("x: a\r\n b\r\n"), 400),
        row("S-07", "fold by tab", get("x: a\r\n\tb\r\n"), 400),
        row("S-07", "blank first", format!("GET / HTTP/1.1\r\n Host: {HOST}\r\n\r\n"), 400),
        row("S-08", "NUL in value", get("x: a\0b\r\n"), 400),
        row("S-08", "DEL in value", get("x: a\x7fb\r\n"), 400),
        row("S-08", "eight bits in value", get("x: \u{fc}\r\n"), 200),
        row("S-08", "empty name", get(": x\r\n"), 400),
        row("S-08", "empty value", get("x:\r\n"), 200),
        row("S-08", "eight bits in name", get("\u{fc}: x\r\n"), 400),
        row("S-09", "blank before colon", format!("GET / HTTP/1.1\r\nHost : {HOST}\r\n\r\n"), 400),
        row("S-09", "tab before colon", format!("GET / HTTP/1.1\r\nHost\t: {HOST}\r\n\r\n"), 400),
        row("S-09", "half a line that is no request", "GET\u{fc}\r", 400),
        row("S-09", "no colon", get("nonsense\r\n"), 400),
    ]
}

fn hosts() -> Vec<Row> {
    let hosts = [
        ("plain", "a.example.com", 200),
        ("port", "a.example.com:8080", 200),
        ("upper case", "A.Example.COM", 200),
        ("trailing dot", "a.example.com.", 200),
        ("unknown", "b.example.com", 503),
        ("IPv6", "[2001:db8::1]:80", 503),
        ("empty", "", 400),
        ("list", "a.example.com, b.example.com", 400),
        ("user", "user@a.example.com", 400),
        ("blank", "a.example.com b", 400),
        ("fragment", "a.example.com#b", 400),
        ("path", "a.example.com/b", 400),
        ("backslash", "a.example.com\\b", 400),
        ("eight bits", "\u{fc}.example.com", 400),
        ("script", "<script>", 400),
    ];
    let one = hosts.map(|(case, host, status)| {
        row("S-11", case, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), status)
    });
    let line = "GET / HTTP/1.1\r\n";
    let more = [
        row("S-11", "none", format!("{line}\r\n"), 400),
        row("S-11", "twice the same", format!("{line}Host: {HOST}\r\nHost: {HOST}\r\n\r\n"), 400),
        row("S-11", "two", format!("{line}Host: {HOST}\r\nHost: b\r\n\r\n"), 400),
        row("S-12", "same", get(&format!("GET http://{HOST}/x HTTP/1.1")), 200),
        row("S-12", "other port", get(&format!("GET http://{HOST}:81/x HTTP/1.1")), 200),
        row("S-12", "mismatch", get("GET http://b.example.com/x HTTP/1.1"), 400),
        row("S-12", "user", get(&format!("GET http://u@{HOST}/x HTTP/1.1")), 400),
        row("S-12", "no host in target", get("GET http:///x HTTP/1.1"), 400),
    ];
    one.into_iter().chain(more).collect()
}

fn targets() -> Vec<Row> {
    let targets = [
        ("fragment", "/a#b", 400),
        ("fragment of absolute form", "http://a.example.com/a#b", 400),
        ("blank", "/a b", 400),
        ("tab", "/a\tb", 400),
        ("backslash", "/a\\b", 400),
        ("eight bits", "/\u{fc}", 400),
        ("empty", "", 400),
        ("asterisk", "*", 400),
        ("no slash", "a", 400),
        ("query only", "?a", 400),
        ("angle brackets", "/<a>", 400),
        ("two slashes", "//evil.example.com/x", 200),
        ("semicolon", "/a;b=c", 200),
        ("browsers leave these in queries", "/?a=b|c^d`e{f}g\\h", 200),
    ];
    let nul = [("raw NUL", "/a\0b", 400), ("coded NUL", "/a%00b", 400), ("dot", "/%2e%2e", 200)];
    let line = |target: &str| get(&format!("GET {target} HTTP/1.1"));
    let targets = targets.map(|(case, target, status)| row("S-24", case, line(target), status));
    let nul = nul.map(|(case, target, status)| row("S-26", case, line(target), status));
    targets.into_iter().chain(nul).collect()
}

fn others() -> Vec<Row> {
    let versions = [
        ("HTTP 0.9", "GET /", 400),
        ("HTTP 2.0", "GET / HTTP/2.0", 400),
        ("lower case", "GET / http/1.1", 400),
        ("HTTP 1.12", "GET / HTTP/1.12", 400),
        ("HTTP 1.2", "GET / HTTP/1.2", 400),
        ("HTTP 1", "GET / HTTP/1", 400),
        ("blank behind", "GET / HTTP/1.1 ", 400),
        ("two blanks", "GET  / HTTP/1.1", 400),
        ("tab", "GET\t/ HTTP/1.1", 400),
        ("no method", " / HTTP/1.1", 400),
        ("bad method", "G@T / HTTP/1.1", 400),
        ("own method", "M-SEARCH / HTTP/1.1", 200),
    ];
    let versions = versions.map(|(case, line, status)| row("S-18", case, get(line), status));
    let expectations = [
        ("plain", "100-continue", 200),
        ("upper case", "100-CONTINUE", 200),
        ("other", "200-ok", 417),
        ("list", "100-continue, x", 417),
        ("empty", "", 417),
        ("parameter", "100-continue;a=b", 417),
    ];
    let expectations = expectations.map(|(case, value, status)| {
        row("S-13 expect", case, post(&format!("Expect: {value}\r\n"), ""), status)
    });
    let twice = "Expect: 100-continue\r\n".repeat(2);
    let length = "Content-Length: 5\r\n\r\nhello";
    let with_body = |method: &str| format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n{length}");
    let more = [
        row("S-13 expect", "twice", post(&twice, ""), 417),
        row("S-14", "GET with a body", with_body("GET"), 200),
        row("S-14", "DELETE with a body", with_body("DELETE"), 200),
        row("S-14", "OPTIONS with a body", with_body("OPTIONS"), 200),
        row("S-14", "TRACE", get("TRACE / HTTP/1.1"), 200),
        row("S-17", "CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET", 405),
        row("S-17", "CONNECT to a path", get("CONNECT / HTTP/1.1"), 405),
    ];
    versions.into_iter().chain(expectations).chain(more).collect()
}

fn limits() -> Vec<Row> {
    let fields = |fields: &str| format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
    let line = |len: usize| get(&format!("GET /{} HTTP/1.1", "a".repeat(len)));
    vec![
        row("S-25", "field of 33 KiB", fields(&format!("x: {}\r\n", "y".repeat(33_000))), 414),
        row("S-25", "101 fields", fields(&"x: y\r\n".repeat(100)), 200),
        row("S-25", "102 fields", fields(&"x: y\r\n".repeat(101)), 431),
        row("S-25", "target of 16,300 bytes", line(16_300), 200),
        row("S-25", "target of 17,000 bytes", line(17_000), 414),
        row("S-25", "endless line", "G".repeat(200_000), 414),
        row("S-25", "endless field", fields(&"x".repeat(200_000)), 414),
    ]
}
