//! What can be said of a refused head, for the access record.

/// Most bytes that are kept of a target.
const MAX_TARGET: usize = 1024;

/// Most lines in which the host is looked for.
const MAX_LINES: usize = 16;

/// Parts of a head that may be broken. Nothing here was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About<'a> {
    /// First word of the request line.
    pub method: &'a [u8],
    /// Second word, cut after 1 KiB.
    pub target: &'a [u8],
    /// Value of the first `Host`, if it is among the first lines.
    pub host: Option<&'a [u8]>,
    /// The request line ends in `HTTP/1.0`.
    pub http10: bool,
}

/// Reads what there is of a head.
#[must_use]
pub fn about(head: &[u8]) -> About<'_> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut lines = head.split(|byte| matches!(byte, b'\r' | b'\n')).take(MAX_LINES);
    let line = lines.next().unwrap_or_default();
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let host = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"host:").then(|| value.trim_ascii())
    });
    About {
        method,
        target: &target[..target.len().min(MAX_TARGET)],
        host,
        http10: words.next() == Some(b"HTTP/1.0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_read() {
        let rows: [(&[u8], About<'_>); 5] = [
            (b"", About::default()),
            (b"\x16\x03", About { method: b"\x16\x03", ..About::default() }),
            (
                b"\r\nGET /a HTTP/1.0\r\nx: y\r\nHOST: a \r\n",
                About { method: b"GET", target: b"/a", host: Some(b"a"), http10: true },
            ),
            (b"GET /a b HTTP/1.0\r\n", About { method: b"GET", target: b"/a", ..About::default() }),
            (b"A\nhost:b", About { method: b"A", host: Some(b"b"), ..About::default() }),
        ];
        for (head, expected) in rows {
            assert_eq!(about(head), expected, "{:?}", head.escape_ascii());
        }
        let long = [b"GET /", &[b'a'; 9000][..]].concat();
        assert_eq!(about(&long).target.len(), MAX_TARGET);
    }
}
