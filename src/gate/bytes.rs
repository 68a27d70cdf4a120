//! Classes of bytes, by table, and the search for what ends a line.

/// May stand in a token (RFC 9110 5.6.2): methods and field names.
pub(super) const TOKEN: u8 = 1;
/// May stand in a path.
pub(super) const PATH: u8 = 2;
/// May stand in a query.
pub(super) const QUERY: u8 = 4;

static CLASSES: [u8; 256] = classes();

/// Path and query are what `http::Uri` takes, without the fragment sign and, in a path, without the
/// backslash that some take for a slash (S-24).
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = b'!';
    while byte < 0x7f {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
            || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        let path = !matches!(byte, b'#' | b'?' | b'\\' | b'<' | b'>' | b'`');
        let query = !matches!(byte, b'#' | b'"' | b'<' | b'>');
        table[byte as usize] = (if token { TOKEN } else { 0 })
            | (if path { PATH } else { 0 })
            | (if query { QUERY } else { 0 });
        byte += 1;
    }
    table
}

/// True when `byte` is of `class`.
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Length of the run of `class` at the start of `bytes`.
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| !is(*byte, class)).unwrap_or(bytes.len())
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Index of the first control byte of `bytes` at or behind `from`; a tab is none.
pub(super) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += next_control(&bytes[at..])?;
        if bytes[at] != b'\t' {
            return Some(at);
        }
        at += 1;
    }
}

/// Index of the first byte below 0x20 or equal to 0x7f, eight bytes at a time.
fn next_control(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Of each byte the highest bit: set by the subtraction if the byte is lower than what is
        // subtracted. A borrow can only mark bytes above a marked one, and the lowest counts.
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        let marks = (low | (del.wrapping_sub(ONES) & !del)) & HIGHS;
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| *byte < 0x20 || *byte == 0x7f)?;
    Some(at + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table lets a byte into a target if and only if `http::Uri` keeps it.
    #[test]
    fn targets_are_what_the_uri_type_takes() {
        for byte in 0..=255_u8 {
            for (class, before) in [(PATH, &b"/a"[..]), (QUERY, b"/a?b")] {
                let target = [before, &[byte], b"c"].concat();
                let taken = http::Uri::try_from(&target[..])
                    .is_ok_and(|uri| uri.to_string().as_bytes() == target);
                let stricter = byte >= 0x80 || (class == PATH && matches!(byte, b'\\' | b'?'));
                assert_eq!(is(byte, class), taken && !stricter, "{byte:#x} {class}");
            }
        }
    }

    #[test]
    fn tokens_are_what_the_name_types_take() {
        for byte in 0..=255_u8 {
            let taken = http::HeaderName::from_bytes(&[byte]).is_ok();
            assert_eq!(is(byte, TOKEN), taken, "{byte:#x}");
            assert_eq!(is(byte, TOKEN), http::Method::from_bytes(&[b'A', byte]).is_ok());
        }
    }

    proptest! {
        #[test]
        fn the_first_control_byte_is_found(
            mut bytes in proptest::collection::vec(0x1e..=0x82_u8, 0..80),
            tabs in proptest::collection::vec(any::<usize>(), 0..4),
            from in any::<proptest::sample::Index>(),
        ) {
            for tab in tabs {
                let len = bytes.len();
                if len > 0 {
                    bytes[tab % len] = b'\t';
                }
            }
            let from = from.index(bytes.len() + 1);
            let naive = (from..bytes.len()).find(|&at| bytes[at].is_ascii_control() && bytes[at] != b'\t');
            prop_assert_eq!(find_control(&bytes, from), naive);
        }
    }
}
