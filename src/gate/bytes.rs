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

/// The highest bit of every byte of `word` that is a control byte. A byte above a marked one, or above
/// 0xff, may be marked as well and not be one.
const fn marks(word: u64) -> u64 {
    (word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES)) & !word & HIGHS
}

/// Index of the first control byte of `bytes` at or behind `from`; a tab is none.
pub(super) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let (words, _rest) = bytes[at..].as_chunks::<8>();
        for word in words {
            let marks = marks(u64::from_le_bytes(*word));
            if marks != 0 {
                at += (marks.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        // The marked byte, which may be a false one, or the first of the few at the end.
        let byte = *bytes.get(at)?;
        if byte.is_ascii_control() && byte != b'\t' {
            return Some(at);
        }
        at += 1;
    }
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
            mut bytes in proptest::collection::vec(
                prop_oneof![20 => 0x20..=0x7e_u8, 1 => any::<u8>()],
                0..80,
            ),
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
