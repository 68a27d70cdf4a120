//! PROXY headers: nothing is decided before the header is whole, and nothing behind it matters.

use wharf::net::proxy_protocol::{Header, Parsed, parse, write_v2, write_v2_local};

/// More than any header may take.
const LONGEST: usize = 16 + 2048;

/// Checks what `data` is read as, and what its starts and continuations are.
pub(super) fn check(data: &[u8]) {
    match parse(data) {
        Parsed::Complete { header, len } => complete(data, header, len),
        Parsed::Incomplete => {
            assert!(data.len() < LONGEST, "a header without an end");
            starts(data, data.len());
        },
        Parsed::Invalid(_) => {
            let more = [data, b"\r\n\0PROXY"].concat();
            assert!(matches!(parse(&more), Parsed::Invalid(_)), "more bytes mended it");
        },
    }
}

fn complete(data: &[u8], header: Header, len: usize) {
    assert!(len > 0 && len <= data.len() && len <= LONGEST, "{len} of {}", data.len());
    let whole = Parsed::Complete { header, len };
    assert_eq!(parse(&data[..len]), whole);
    assert_eq!(parse(&[&data[..len], b"GET / HTTP/1.1"].concat()), whole);
    starts(data, len);
    written_again(header);
}

/// No start of `data` that is shorter than `len` decides anything.
fn starts(data: &[u8], len: usize) {
    for until in (0..len).step_by(len / 128 + 1).chain(len.checked_sub(1)) {
        assert_eq!(parse(&data[..until]), Parsed::Incomplete, "{until} of {len}");
    }
}

/// What was understood is understood again when wharf writes it.
fn written_again(header: Header) {
    let mut bytes = Vec::new();
    match (header.source, header.destination) {
        (Some(source), Some(destination)) => write_v2(&mut bytes, source, destination),
        (None, None) => write_v2_local(&mut bytes),
        half => unreachable!("one address without the other: {half:?}"),
    }
    assert_eq!(parse(&bytes), Parsed::Complete { header, len: 100 });
}
