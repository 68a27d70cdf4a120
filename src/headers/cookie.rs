//! Cookies by name: taken out of a request's `Cookie` and a pod's `Set-Cookie` [STICK-6].
//!
//! Called by `proxy::sticky` for the stickiness cookie of a route. What is left of a field is byte for
//! byte what HAProxy leaves, which reads cookies as servers did before RFC 6265: a comma separates as
//! a semicolon does, quotes protect both, blanks around `=` are taken out wherever there are some, and
//! a `$Path` belongs to the cookie before it. A field that has nothing of this is only looked through.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

/// Takes every cookie `name` out of the Cookie fields. Tells `seen` their values, in order.
pub fn take(headers: &mut HeaderMap, name: &[u8], mut seen: impl FnMut(&[u8])) {
    let fields = headers.get_all(COOKIE);
    if !fields.iter().any(|field| concerns(field.as_bytes(), name)) {
        return;
    }
    let kept = fields.iter().filter_map(|field| edit(field.as_bytes(), name, &mut seen).of(field));
    let kept: Vec<HeaderValue> = kept.collect();
    replace(headers, &COOKIE, kept);
}

/// Takes every cookie `name` out of the Set-Cookie fields; true when there was one.
pub fn take_set(headers: &mut HeaderMap, name: &[u8]) -> bool {
    let fields = headers.get_all(SET_COOKIE);
    let is_same = |field: &HeaderValue| matches!(edit_set(field.as_bytes(), name), Edit::Same);
    if fields.iter().all(is_same) {
        return false;
    }
    let before = fields.iter().count();
    let kept = fields.iter().filter_map(|field| edit_set(field.as_bytes(), name).of(field));
    let kept: Vec<HeaderValue> = kept.collect();
    let taken = kept.len() < before;
    replace(headers, &SET_COOKIE, kept);
    taken
}

/// What becomes of a field.
#[derive(Debug, PartialEq, Eq)]
enum Edit {
    Same,
    Gone,
    New(Vec<u8>),
}

impl Edit {
    /// The field as it is now, if it is still there.
    fn of(self, field: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Same => Some(field.clone()),
            Self::Gone => None,
            // Parts of a value are a value.
            Self::New(text) => HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok(),
        }
    }
}

/// Puts `values` where the fields `name` stood.
fn replace(headers: &mut HeaderMap, name: &HeaderName, values: Vec<HeaderValue>) {
    let mut values = values.into_iter();
    match values.next() {
        Some(first) => _ = headers.insert(name, first),
        None => _ = headers.remove(name),
    }
    for value in values {
        headers.append(name, value);
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// False when [`edit`] would leave the field as it is, at a glance: no `=` has the name before it or a
/// blank beside it. Eight bytes at a time, as most cookies are somebody else's, and long.
fn concerns(field: &[u8], name: &[u8]) -> bool {
    let here = |at: usize| {
        field[at] == b'='
            && (field[..at].ends_with(name)
                || field[..at].last().is_some_and(is_blank)
                || field.get(at + 1).is_some_and(is_blank))
    };
    let (words, rest) = field.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        // A zero where there is a `=`; a borrow may mark a byte too many, which `here` looks at.
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'='));
        let mut marks = word.wrapping_sub(ONES) & !word & (ONES << 7);
        while marks != 0 {
            if here(nth * 8 + (marks.trailing_zeros() / 8) as usize) {
                return true;
            }
            marks &= marks - 1;
        }
    }
    (field.len() - rest.len()..field.len()).any(here)
}

/// A cookie field without the cookies `name`. What is left is written behind each other, so that the time
/// is that of the field's length, whatever a client sends.
fn edit(field: &[u8], name: &[u8], seen: &mut impl FnMut(&[u8])) -> Edit {
    if let Some(value) = alone(field, name) {
        seen(value);
        return Edit::Gone;
    }
    let mut left = Vec::with_capacity(field.len());
    // What was removed last has nothing behind it yet.
    let mut removing = false;
    let mut keeps = false;
    // All but the first begin with their separator.
    let (mut at, mut separator) = (0, 0);
    while at < field.len() {
        let pair = Pair::read(field, at + std::mem::replace(&mut separator, 1), b"=,;");
        let from = std::mem::replace(&mut at, pair.next);
        if field.get(pair.start) == Some(&b'$') {
            if !removing {
                left.extend_from_slice(&field[from..pair.next]);
            }
        } else if pair.has_value() && &field[pair.start..pair.end] == name {
            seen(&field[pair.value..pair.value_end]);
            removing = true;
        } else {
            keeps = true;
            let from = if std::mem::take(&mut removing) {
                join(&mut left, field[from]);
                pair.start
            } else {
                from
            };
            pair.write(field, from, pair.next, &mut left);
        }
    }
    if removing && !keeps {
        return Edit::Gone;
    }
    if left.len() == field.len() {
        return Edit::Same;
    }
    // HAProxy may leave a blank at the end, which HTTP/2 does not allow (RFC 9113 8.2.1).
    left.truncate(trimmed(&left));
    if left.is_empty() { Edit::Gone } else { Edit::New(left) }
}

/// Puts the separator that stood behind what was removed behind `left`, with one blank.
fn join(left: &mut Vec<u8>, separator: u8) {
    if !left.is_empty() {
        left.truncate(trimmed(left));
        left.extend_from_slice(&[separator, b' ']);
    }
}

/// The value when `field` is the cookie `name` and nothing else: the usual case, without a copy.
fn alone<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = field.strip_prefix(name)?.strip_prefix(b"=")?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    value.iter().all(plain).then_some(value)
}

/// A Set-Cookie field, unless it sets the cookie `name`. It has one cookie, in front, and commas do
/// not separate.
fn edit_set(field: &[u8], name: &[u8]) -> Edit {
    let pair = Pair::read(field, 0, b"=;");
    if !pair.has_value() || pair.is_tidy() && &field[pair.start..pair.end] != name {
        return Edit::Same;
    }
    if &field[pair.start..pair.end] == name {
        return Edit::Gone;
    }
    let mut left = Vec::with_capacity(field.len());
    pair.write(field, 0, field.len(), &mut left);
    Edit::New(left)
}

/// Where a cookie stands in its field.
struct Pair {
    /// Its name.
    start: usize,
    end: usize,
    /// The `=`; without one, the end.
    equal: usize,
    /// Its value.
    value: usize,
    value_end: usize,
    /// The separator behind it, or the end of the field.
    next: usize,
}

impl Pair {
    /// The cookie from `at`; its name ends with one of `stops`.
    fn read(text: &[u8], at: usize, stops: &[u8]) -> Self {
        let rest = |from: usize| text.get(from..).unwrap_or_default();
        let start = at.min(text.len()) + blanks(rest(at));
        let stop = rest(start).iter().position(|byte| stops.contains(byte));
        let equal = stop.map_or(text.len(), |stop| start + stop);
        let end = start + trimmed(&text[start..equal]);
        if text.get(equal) != Some(&b'=') {
            return Self { start, end, equal, value: equal, value_end: equal, next: equal };
        }
        let value = equal + 1 + blanks(rest(equal + 1));
        let next = value + value_len(rest(value));
        let value_end = value + trimmed(&text[value..next]);
        Self { start, end, equal, value, value_end, next }
    }

    /// It has a `=`.
    const fn has_value(&self) -> bool {
        self.equal < self.next
    }

    /// No blanks are around the `=`.
    const fn is_tidy(&self) -> bool {
        self.end == self.equal && self.value == self.equal + 1
    }

    /// Writes `field` between `from`, which is in front of the name, and `to`, which is behind the value,
    /// without blanks around the `=`.
    fn write(&self, field: &[u8], from: usize, to: usize, out: &mut Vec<u8>) {
        if self.has_value() {
            out.extend_from_slice(&field[from..self.end]);
            out.push(b'=');
            out.extend_from_slice(&field[self.value..to]);
        } else {
            out.extend_from_slice(&field[from..to]);
        }
    }
}

/// Up to the separator that ends a value; quotes protect separators, and a backslash the byte behind it.
fn value_len(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    text.iter()
        .position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' | b';' => return !quoted,
                _ => {},
            }
            false
        })
        .unwrap_or(text.len())
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_blank(byte)).count()
}

/// The length of `text` without blanks at its end.
fn trimmed(text: &[u8]) -> usize {
    text.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1)
}

const fn is_blank(byte: &u8) -> bool {
    matches!(*byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests;
