//! `rewrite-target`: which path a pod sees in place of the one that was asked for [REW-1..7].
//!
//! Made by compile from the annotation, asked by `proxy` for each request of such a route. What the
//! annotation's text means is settled when it is read, so that a request costs one copy of its
//! target. `spec.path` is a literal prefix here, never a pattern [REW-5]. The query is not touched.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};

use crate::model::grammar;

/// What becomes of the path of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What the path begins with, and what is taken away.
    prefix: Box<str>,
    /// What is put in its place. Every byte of it may stand in a request target.
    target: Box<str>,
    /// What follows the prefix.
    tail: Tail,
}

/// What becomes of the path behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// It follows the target [REW-3].
    Kept,
    /// It follows the target without the slash that it begins with, if it does [REW-2].
    WithoutSlash,
    /// It is lost: the target had a comment [REW-6].
    Lost,
}

/// What becomes of the slash that ends `spec.path` (row 24 of the quirk register).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastSlash {
    /// It is part of the prefix, and no slash takes its place: with the path `/` and the target
    /// `/x`, `/a` becomes `/xa`. What OpenShift does.
    #[default]
    Taken,
    /// It stays, so that `/a` becomes `/x/a`.
    Kept,
}

/// The rewritten target is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rewritten target is too long")]
pub struct Overflow;

impl Rewrite {
    /// What `text`, the annotation's value, makes of the requests of a route with `path`; `None` when
    /// it does not begin with a slash or holds a line feed [REW-1].
    #[must_use]
    pub fn parse(path: &str, text: &str, last_slash: LastSlash) -> Option<Self> {
        if !grammar::is_rewrite_target(text) {
            return None;
        }
        if text == "/" {
            let (prefix, target) = (path.into(), "/".into());
            return Some(Self { prefix, target, tail: Tail::WithoutSlash });
        }
        let Read { text, comment } = read(text);
        let prefix = match last_slash {
            LastSlash::Kept if !text.ends_with('/') => path.strip_suffix('/').unwrap_or(path),
            LastSlash::Kept | LastSlash::Taken => path,
        };
        let tail = if comment { Tail::Lost } else { Tail::Kept };
        let target = encode(&text).into_owned().into();
        Some(Self { prefix: prefix.into(), target, tail })
    }

    /// What takes the place of the path, as it is understood.
    #[must_use]
    pub const fn target(&self) -> &str {
        &self.target
    }

    /// The target that the pod sees, of at most `limit` bytes. One whose path does not begin with the prefix, such as `*`, is
    /// left as it is.
    ///
    /// # Errors
    /// When it became too long.
    pub fn apply(&self, asked: &Uri, limit: usize) -> Result<Uri, Overflow> {
        let Some(whole) = asked.path_and_query().map(PathAndQuery::as_str) else {
            return Ok(asked.clone());
        };
        let path = asked.path();
        let Some(tail) = path.strip_prefix(&*self.prefix).filter(|_| path.starts_with('/')) else {
            return Ok(asked.clone());
        };
        let rest = match self.tail {
            Tail::WithoutSlash if tail.starts_with('/') => &whole[self.prefix.len() + 1..],
            Tail::Kept | Tail::WithoutSlash => &whole[self.prefix.len()..],
            Tail::Lost => &whole[path.len()..],
        };
        let length = self.target.len() + rest.len();
        if length > limit {
            return Err(Overflow);
        }
        let mut new = String::with_capacity(length);
        new.push_str(&self.target);
        new.push_str(rest);
        // Each byte of the target may stand there, and the rest stood there before.
        PathAndQuery::from_maybe_shared(bytes::Bytes::from(new)).map_or(Err(Overflow), |target| {
            let mut parts = http::uri::Parts::default();
            parts.path_and_query = Some(target);
            Uri::from_parts(parts).map_err(|_invalid| Overflow)
        })
    }
}

/// True when `written` says something else than it looks like: a comment cuts it, quotes, backslashes or
/// signs of percent are taken out, or it holds bytes that no request target may hold and that are sent
/// percent-encoded.
#[must_use]
pub fn is_surprising(written: &str) -> bool {
    let Read { text, comment } = read(written);
    comment || encode(&text) != written
}

/// What a value of the annotation is understood as, to be shown.
#[must_use]
pub fn shown(text: &str) -> String {
    let Read { text, comment } = read(text);
    let tail = if comment { ", whatever follows spec.path," } else { "" };
    format!("\"{}\"{tail}", encode(&text))
}

/// A target as its text is understood.
struct Read {
    text: String,
    /// There was a comment, which is not part of `text`.
    comment: bool,
}

/// Reads a target as OpenShift does, where it once stood in a configuration without quotes (REW-6 and
/// spec/route.md 26.1). A backslash protects the character behind it, and of a run of them every
/// fourth stays; unprotected quotes vanish; an unprotected `#` begins a comment; of an even run of
/// `%` one half stays, an odd one stays whole.
fn read(text: &str) -> Read {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let run = |first: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut length = 1;
        while rest.next_if_eq(&first).is_some() {
            length += 1;
        }
        length
    };
    // The character behind an odd run of backslashes is protected.
    let mut protected = false;
    while let Some(next) = rest.next() {
        let is_protected = std::mem::take(&mut protected);
        match next {
            '\\' => {
                let length: usize = run(next, &mut rest);
                out.extend(std::iter::repeat_n('\\', (length + 1) / 4));
                protected = length % 2 == 1;
            },
            '%' => {
                let length: usize = run(next, &mut rest);
                let kept = if length.is_multiple_of(2) { length / 2 } else { length };
                out.extend(std::iter::repeat_n('%', kept));
            },
            '#' if !is_protected => return Read { text: out, comment: true },
            '\'' | '"' if !is_protected => {},
            _ => out.push(next),
        }
    }
    Read { text: out, comment: false }
}

/// `text` with every byte percent-encoded that no request target holds (RFC 9112 3.2).
fn encode(text: &str) -> Cow<'_, str> {
    let may_stand = |byte: u8| byte.is_ascii_graphic() && !b"#<>\"`^{|}".contains(&byte);
    if text.bytes().all(may_stand) {
        return Cow::Borrowed(text);
    }
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if may_stand(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
