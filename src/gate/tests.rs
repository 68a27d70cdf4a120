//! The scanner against a slow reading of the same rules, against hyper, and against itself.

use std::{cell::RefCell, rc::Rc};

use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample};

use super::*;

/// Heads of 24 KiB in a buffer of 32 KiB.
const LIMITS: Limits = Limits { head: 24_576, buffer: 32_768, line: 16_384 };

/// What a whole stream of bytes came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Ends of the messages that passed.
    ends: Vec<usize>,
    passed: usize,
    fault: Option<Fault>,
}

/// Shows `bytes` in pieces that end at `cuts`, as a connection would; upgrades are not granted.
fn feed(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Outcome {
    let mut scanner = Scanner::new(Limits::default());
    let mut outcome = Outcome::default();
    for cut in cuts {
        loop {
            let verdict = scanner.scan(&bytes[outcome.passed..cut]);
            outcome.passed += verdict.passed;
            outcome.fault = verdict.fault;
            let held = scanner.is_held();
            scanner.proceed();
            if !held {
                break;
            }
        }
        if outcome.fault.is_some() {
            break;
        }
    }
    outcome
}

fn whole(bytes: &[u8]) -> Outcome {
    feed(bytes, [bytes.len()])
}

/// Byte by byte, noting where messages end.
fn slowly(bytes: &[u8]) -> Outcome {
    let mut scanner = Scanner::new(Limits::default());
    let mut outcome = Outcome::default();
    for cut in 1..=bytes.len() {
        let before = outcome.passed;
        let verdict = scanner.scan(&bytes[before..cut]);
        outcome.passed += verdict.passed;
        outcome.fault = verdict.fault;
        if outcome.fault.is_some() {
            break;
        }
        if verdict.passed > 0 && scanner.is_at_boundary() {
            outcome.ends.push(outcome.passed);
        }
        scanner.proceed();
    }
    outcome
}

/// The same rules read the plain way: on whole text, line by line, without a state. Gives the end of
/// the first message of `bytes` if it is there as a whole and sound.
fn oracle(bytes: &[u8]) -> Option<usize> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let len = start + bytes[start..].windows(4).position(|window| window == b"\r\n\r\n")?;
    let text: String = bytes[start..len].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next()?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let is_token = |text: &str| {
        let signs = "!#$%&'*+-.^_`|~";
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
    };
    let plain = |text: &str| text.chars().all(|c| c == '\t' || !c.is_ascii_control());
    let sound_target = match target {
        "*" => method == "OPTIONS",
        "" => false,
        _ => {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            target.chars().all(|c| c.is_ascii_graphic() && c != '#')
                && !path.contains('\\')
                && (target.starts_with('/') || target.contains("://"))
                && (target.starts_with('/') || !query.contains('\\'))
                && target.parse::<http::Uri>().is_ok()
        },
    };
    let wide = line.len() > LIMITS.line || len + 4 > LIMITS.head;
    if !is_token(method) || method == "CONNECT" || !sound_target || wide {
        return None;
    }
    let old = match version {
        "HTTP/1.0" => true,
        "HTTP/1.1" => false,
        _ => return None,
    };
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || !plain(value) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value));
    }
    let all = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect()
    };
    let hosts = all("host").len();
    let expects = all("expect");
    if fields.len() > MAX_FIELDS || hosts > 1 || (hosts == 0 && !old) || expects.len() > 1 {
        return None;
    }
    if expects.iter().any(|value| !value.trim().eq_ignore_ascii_case("100-continue")) {
        return None;
    }
    let body = &bytes[len + 4..];
    let blanks = [' ', '\t'];
    let end = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => 0,
        ([length], []) => {
            let length = length.trim_start_matches(blanks);
            let digits = length.chars().all(|c| c.is_ascii_digit());
            let length: u64 = digits.then(|| length.parse().ok())??;
            usize::try_from(length).ok().filter(|length| *length <= body.len())?
        },
        ([], [coding]) if !old => {
            let coding = coding.trim_start_matches(blanks);
            coding.eq_ignore_ascii_case("chunked").then(|| chunked(body))??
        },
        _ => return None,
    };
    Some(len + 4 + end)
}

/// End of a chunked body.
fn chunked(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut extensions = 0;
    let line = |at: usize| {
        let len = body[at..].windows(2).position(|window| window == b"\r\n")?;
        let text: String = body[at..at + len].iter().map(|byte| char::from(*byte)).collect();
        text.chars().all(|c| c == '\t' || !c.is_ascii_control()).then_some((text, at + len + 2))
    };
    loop {
        let (text, next) = line(at)?;
        let (digits, extension) = text.split_at(text.find(';').unwrap_or(text.len()));
        let hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        extensions += extension.chars().count();
        let within = digits.len() <= 16
            && extension.chars().count() <= MAX_EXTENSION
            && extensions <= MAX_EXTENSIONS;
        if !hex || !within || !sound_extension(extension) {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size).filter(|end| *end <= body.len())?;
        if body.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    let start = at;
    for count in 0.. {
        let (text, next) = line(at)?;
        if next - start > MAX_TRAILERS || count > MAX_FIELDS {
            return None;
        }
        at = next;
        if text.is_empty() {
            return Some(at);
        }
        let (name, _) = text.split_once(':')?;
        http::HeaderName::from_bytes(name.as_bytes()).ok()?;
    }
    None
}

/// `;name`, `;name=token` or `;name="text"`, as often as one likes.
fn sound_extension(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(';') else { return text.is_empty() };
    let token = |text: &str| {
        text.find(|c: char| !u8::try_from(c).is_ok_and(|byte| bytes::is(byte, bytes::TOKEN)))
            .unwrap_or(text.len())
    };
    let name = token(rest);
    let rest = &rest[name..];
    if name == 0 {
        return false;
    }
    let Some(value) = rest.strip_prefix('=') else { return sound_extension(rest) };
    let Some(quoted) = value.strip_prefix('"') else {
        let len = token(value);
        return len > 0 && sound_extension(&value[len..]);
    };
    let mut escaped = false;
    let close = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    close.is_some_and(|close| sound_extension(&quoted[close + 1..]))
}

/// Request lines, fields and bodies, sound and not, in the order of a request.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let lines = sample::select(vec![
        "GET / HTTP/1.1",
        "GET / HTTP/1.1",
        "POST /a?b=c HTTP/1.1",
        "GET / HTTP/1.0",
        "OPTIONS * HTTP/1.1",
        "GET http://a/x HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a\\b HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2",
        "\r\n\r\nGET / HTTP/1.1",
        "",
    ]);
    let field = sample::select(vec![
        "host: a",
        "x: y",
        "content-length: 3",
        "content-length:\t11",
        "content-length: 0",
        "transfer-encoding: chunked",
        "transfer-encoding: Chunked",
        "expect: 100-continue",
        "upgrade: websocket",
        "connection: close",
        "connection: keep-alive",
        "x:",
        "content-length: +3",
        "content-length: 3 ",
        "transfer-encoding: gzip, chunked",
        "expect: x",
        "x : y",
        " x: y",
        "x: \u{1}",
        "x",
        ": y",
    ]);
    let body = sample::select(vec![
        "",
        "",
        "abc",
        "3\r\nabc\r\n0\r\n\r\n",
        "3;a=b\r\nabc\r\n00\r\nt: u\r\n\r\n",
        "3;a=\"b;\\\"c\"\r\nabc\r\n0;x\r\n\r\n",
        "0\r\n\r\n",
        "3;\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "0\r\nt: u\n\r\n",
    ]);
    let end = sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let fields = proptest::collection::vec((field, end.clone()), 0..4);
    (lines, end.clone(), any::<bool>(), fields, end, body).prop_map(
        |(line, line_end, host, fields, end, body)| {
            let mut text = format!("{line}{line_end}");
            if host {
                text.push_str("Host: a\r\n");
            }
            for (field, end) in fields {
                text.push_str(field);
                text.push_str(end);
            }
            text.push_str(end);
            text.push_str(body);
            text.into_bytes()
        },
    )
}

/// Some requests one after the other, now and then with a byte changed.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let change = proptest::option::weighted(0.3, (any::<sample::Index>(), any::<u8>()));
    (proptest::collection::vec(requests(), 1..4), change).prop_map(|(requests, change)| {
        let mut bytes = requests.concat();
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// How bytes are cut into reads changes nothing.
    #[test]
    fn the_verdict_does_not_depend_on_the_cuts(
        bytes in streams(),
        cuts in proptest::collection::vec(any::<sample::Index>(), 0..6),
    ) {
        let expected = whole(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        prop_assert_eq!(&feed(&bytes, cuts), &expected);
        let slow = slowly(&bytes);
        prop_assert_eq!((slow.passed, slow.fault), (expected.passed, expected.fault));
    }

    /// A message passes as a whole exactly when the plain reading finds it sound.
    #[test]
    fn messages_end_where_the_plain_reading_ends_them(bytes in streams()) {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some(len) = oracle(&bytes[at..]) {
            at += len;
            ends.push(at);
        }
        prop_assert_eq!(slowly(&bytes).ends, ends);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let outcome = whole(&bytes);
        prop_assert!(outcome.passed <= bytes.len());
        prop_assert!(std::panic::catch_unwind(|| about(&bytes)).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// hyper reads from what passed exactly the messages that the scanner saw in it, up to the first
    /// that ends the connection.
    #[test]
    fn hyper_finds_the_same_messages(bytes in streams()) {
        let slow = slowly(&bytes);
        let starts = std::iter::once(&0).chain(&slow.ends);
        let messages = starts.zip(&slow.ends).map(|(start, end)| &bytes[*start..*end]);
        let last = messages.clone().position(is_last).map_or(slow.ends.len(), |at| at + 1);
        let (requests, outcome) = read_by_hyper(&messages.collect::<Vec<_>>().concat());
        prop_assert_eq!((requests, outcome), (last, Ok(())));
    }
}

/// Whether nothing is read behind this message (RFC 9112 9.3).
fn is_last(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let head = text.split_once("\r\n\r\n").map_or(&*text, |(head, _)| head);
    let head = head.strip_prefix("\r\n").unwrap_or(head);
    let mut lines = head.split("\r\n");
    let is_old = lines.next().is_some_and(|line| line.ends_with(" http/1.0"));
    let options: Vec<_> = lines.filter_map(|line| line.strip_prefix("connection: ")).collect();
    options.contains(&"close") || is_old && !options.contains(&"keep-alive")
}

/// Number of requests that a hyper server reads, and how the connection ended.
fn read_by_hyper(bytes: &[u8]) -> (usize, Result<(), String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let requests = Rc::new(RefCell::new(0));
    let outcome = runtime.block_on(async {
        // The answers are never read, so there has to be room for them.
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let seen = Rc::clone(&requests);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let seen = Rc::clone(&seen);
            async move {
                request.into_body().collect().await?;
                *seen.borrow_mut() += 1;
                let mut response = hyper::Response::new(Empty::<::bytes::Bytes>::new());
                // HTTP/1.0 would end the connection otherwise.
                response.headers_mut().insert("connection", "keep-alive".parse().unwrap());
                Ok::<_, hyper::Error>(response)
            }
        });
        tokio::io::AsyncWriteExt::write_all(&mut client, bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
        hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .max_headers(MAX_FIELDS)
            .max_header_size(LIMITS.head)
            .serve_connection(TokioIo::new(server), service)
            .await
    });
    let count = *requests.borrow();
    (count, outcome.map_err(|error| error.to_string()))
}

/// Faults that have a status of their own, and limits at their last allowed byte.
#[test]
fn limits_and_faults_have_their_names() {
    let head = |line: &str, fields: &str| format!("{line}\r\nhost: a\r\n{fields}\r\n");
    let line = |len: usize| format!("GET /{} HTTP/1.1", "a".repeat(len - "GET / HTTP/1.1".len()));
    let padded = |len: usize| {
        let bare = head("GET / HTTP/1.1", "x: \r\n").len();
        head("GET / HTTP/1.1", &format!("x: {}\r\n", "y".repeat(len - bare)))
    };
    let chunked = |body: &str| head("POST / HTTP/1.1", "transfer-encoding: chunked\r\n") + body;
    let extended = |len: usize| format!("1;{}\r\na\r\n", "e".repeat(len - 1));
    let trailers = |len: usize| format!("0\r\nt:{}\r\n\r\n", "u".repeat(len - 6));
    let digits = |count: usize| format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(count - 1));
    let rows = [
        (head(&line(LIMITS.line), ""), None),
        (head(&line(LIMITS.line + 1), ""), Some(Fault::LineTooLong)),
        ("G".repeat(LIMITS.line + 1), Some(Fault::LineTooLong)),
        // Refused at once, without an end of the line.
        ("G\"".to_owned(), Some(Fault::Malformed)),
        ("G\"\r".to_owned(), Some(Fault::Malformed)),
        (" GET".to_owned(), Some(Fault::Malformed)),
        (padded(LIMITS.head), None),
        (padded(LIMITS.head + 1), Some(Fault::HeadTooLarge)),
        (padded(LIMITS.buffer), Some(Fault::HeadTooLarge)),
        (padded(LIMITS.buffer + 1), Some(Fault::BeyondBuffer)),
        (padded(LIMITS.buffer + 9)[..=LIMITS.buffer].to_owned(), Some(Fault::BeyondBuffer)),
        (head("GET / HTTP/1.1", &"x: y\r\n".repeat(MAX_FIELDS - 1)), None),
        (head("GET / HTTP/1.1", &"x: y\r\n".repeat(MAX_FIELDS)), Some(Fault::HeadTooLarge)),
        (head("CONNECT a:1 HTTP/1.1", ""), Some(Fault::Connect)),
        (head("GET / HTTP/1.1", "expect: 200-ok\r\n"), Some(Fault::Expectation)),
        (head("GET / HTTP/1.1", "transfer-encoding: gzip, chunked\r\n"), Some(Fault::Coding)),
        (
            head("GET / HTTP/1.1", "content-length: 18446744073709551614\r\n"),
            Some(Fault::Malformed),
        ),
        (head("GET / HTTP/1.1", "transfer-encoding: gzip\r\n"), Some(Fault::Malformed)),
        (chunked(&(extended(MAX_EXTENSION) + "0\r\n\r\n")), None),
        (chunked(&extended(MAX_EXTENSION + 1)), Some(Fault::Malformed)),
        (chunked(&(extended(MAX_EXTENSION).repeat(64) + "0\r\n\r\n")), None),
        (chunked(&extended(MAX_EXTENSION).repeat(65)), Some(Fault::Malformed)),
        (chunked(&trailers(MAX_TRAILERS)), None),
        (chunked(&trailers(MAX_TRAILERS + 1)), Some(Fault::Malformed)),
        (chunked(&format!("0\r\n{}\r\n", "t:u\r\n".repeat(MAX_FIELDS))), None),
        (
            chunked(&format!("0\r\n{}\r\n", "t:u\r\n".repeat(MAX_FIELDS + 1))),
            Some(Fault::Malformed),
        ),
        (chunked(&digits(16)), None),
        (chunked(&digits(17)), Some(Fault::Malformed)),
    ];
    for (text, fault) in rows {
        let outcome = whole(text.as_bytes());
        let shown = text.chars().take(60).collect::<String>();
        assert_eq!(outcome.fault, fault, "{shown}");
        if fault.is_none() {
            assert_eq!(outcome.passed, text.len(), "{shown}");
            assert_eq!(read_by_hyper(text.as_bytes()), (1, Ok(())), "{shown}");
        }
    }
}

/// S-15: nothing passes behind a request that asks for an upgrade until it is known to be refused.
#[test]
fn s_15_an_upgrade_holds_what_follows() {
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nhi";
    let bytes = format!("{ask}GET /admin HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut scanner = Scanner::new(Limits::default());
    let held = Verdict { passed: ask.len(), fault: None };
    assert_eq!(scanner.scan(bytes.as_bytes()), held);
    let rest = &bytes.as_bytes()[ask.len()..];
    assert!(scanner.is_held());
    assert_eq!(scanner.scan(rest), Verdict { passed: 0, fault: None });
    scanner.proceed();
    assert_eq!(scanner.scan(rest), Verdict { passed: rest.len(), fault: None });
    assert_eq!(scanner.heads(), 2);
}

/// The seeds of the fuzzer, which are the rows of `tests/it/gate`: cut anywhere, and as hyper reads
/// them.
#[test]
fn seeds_have_one_reading() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gate");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the seeds are there") {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let expected = whole(&bytes);
        for cut in 0..=bytes.len() {
            assert_eq!(feed(&bytes, [cut, bytes.len()]), expected, "{path:?} cut at {cut}");
        }
        let slow = slowly(&bytes);
        let sound = &bytes[..slow.ends.last().copied().unwrap_or(0)];
        assert_eq!(read_by_hyper(sound), (slow.ends.len(), Ok(())), "{path:?}");
        count += 1;
    }
    assert!(count > 100, "only {count} seeds");
}

/// [LIM-1], S-25: the limits that are set hold to the byte, and lines grow with heads.
#[test]
fn lim_1_limits_can_be_set() {
    assert_eq!(Limits::default(), LIMITS);
    let lines = [(12_288, 16_384), (24_576, 16_384), (65_536, 57_344)];
    assert!(lines.iter().all(|(head, line)| Limits::new(*head, 0).line == *line));
    for limits in [Limits::new(2048, 4096), Limits::new(61_440, 65_536), Limits::new(9000, 9000)] {
        let fault = |line: usize, len: usize| {
            let start = format!("GET /{} HTTP/1.1\r\nhost: a\r\nx: ", "a".repeat(line - 14));
            let head = format!("{start}{}\r\n\r\n", "y".repeat(len - start.len() - 4));
            assert_eq!(head.len(), len);
            Scanner::new(limits).scan(head.as_bytes()).fault
        };
        assert_eq!(fault(100, limits.head), None);
        assert_eq!(fault(100, limits.buffer + 1), Some(Fault::BeyondBuffer));
        if limits.buffer > limits.head {
            assert_eq!(fault(100, limits.head + 1), Some(Fault::HeadTooLarge));
            assert_eq!(fault(100, limits.buffer), Some(Fault::HeadTooLarge));
        }
        if limits.line + 100 < limits.head {
            assert_eq!(fault(limits.line, limits.head), None);
            assert_eq!(fault(limits.line + 1, limits.head), Some(Fault::LineTooLong));
        }
    }
}
