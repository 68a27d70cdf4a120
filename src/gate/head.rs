//! The request head: request line and fields (S-01 to S-03, S-06 to S-09, S-11, S-13, S-17, S-18,
//! S-24, S-25).

use super::{
    Fault, Limits, MAX_FIELDS,
    bytes::{self, PATH, QUERY, TOKEN},
};

/// So many bytes of a partial request line are looked at, each time that more comes.
const MAX_START: usize = 32;

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Partial,
    /// It has so many bytes.
    Complete(usize),
}

/// How the body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    #[default]
    None,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    /// The request line is still to come.
    #[default]
    Unknown,
    Http10,
    Http11,
}

/// A head on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// Start of the present line.
    line: usize,
    /// So many bytes hold no control byte that was not looked at.
    seen: usize,
    fields: usize,
    version: Version,
    has_host: bool,
    has_expect: bool,
    pub(super) framing: Framing,
    /// Asks for another protocol behind this message.
    pub(super) upgrade: bool,
}

impl Head {
    /// Looks at `bytes`, which begin where the head begins.
    pub(super) fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Fault> {
        loop {
            let found = bytes::find_control(bytes, self.seen);
            let end = found.unwrap_or(bytes.len());
            let is_whole = bytes[end..].starts_with(b"\r\n");
            let size = self.check_size(end, limits);
            if size.is_err() || !is_whole {
                self.check_start(&bytes[self.line..end])?;
            }
            size?;
            if !is_whole {
                self.seen = end;
                // Nothing but CR LF ends a line, and no other control byte may be in one.
                let may_be = matches!(bytes[end..], [] | [b'\r']);
                return if may_be { Ok(Progress::Partial) } else { Err(Fault::Malformed) };
            }
            let start = self.line;
            let line = &bytes[start..end];
            self.line = end + 2;
            self.seen = self.line;
            if self.line > limits.buffer {
                return Err(Fault::BeyondBuffer);
            }
            if self.version != Version::Unknown {
                if line.is_empty() {
                    if self.line > limits.head {
                        return Err(Fault::HeadTooLarge);
                    }
                    self.complete()?;
                    return Ok(Progress::Complete(self.line));
                }
                self.field(line)?;
            } else if !line.is_empty() {
                self.version = request_line(line)?;
            } else if start > 0 {
                // RFC 9112 2.2: one empty line in front of the request line is let pass.
                return Err(Fault::Malformed);
            }
        }
    }

    /// Limits, with no control byte in front of `end` but line ends.
    const fn check_size(&self, end: usize, limits: &Limits) -> Result<(), Fault> {
        if matches!(self.version, Version::Unknown) && end - self.line > limits.line {
            Err(Fault::LineTooLong)
        } else if end > limits.buffer {
            Err(Fault::BeyondBuffer)
        } else {
            Ok(())
        }
    }

    /// Bytes that begin no request line need not be waited out; frames of a WebSocket, say. A line that
    /// is there as a whole is looked at as a whole.
    fn check_start(&self, line: &[u8]) -> Result<(), Fault> {
        let start = &line[..line.len().min(MAX_START)];
        let method = bytes::run(start, TOKEN);
        let sound = match start.get(method) {
            None => true,
            Some(byte) => *byte == b' ' && method > 0,
        };
        if self.version == Version::Unknown && !sound { Err(Fault::Malformed) } else { Ok(()) }
    }

    fn complete(&self) -> Result<(), Fault> {
        if self.version == Version::Http11 && !self.has_host {
            return Err(Fault::Malformed);
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        let len = bytes::run(line, TOKEN);
        if len == 0 || line.get(len) != Some(&b':') {
            return Err(Fault::Malformed);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Fault::HeadTooLarge);
        }
        let (name, value) = (&line[..len], &line[len + 1..]);
        match len {
            4 if name.eq_ignore_ascii_case(b"host") => once(&mut self.has_host, Fault::Malformed)?,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                once(&mut self.has_expect, Fault::Expectation)?;
                if !value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
            },
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = self.version == Version::Http11;
            },
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.frame(Framing::Length(length(value)?))?;
            },
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.version == Version::Http10 {
                    return Err(Fault::Malformed);
                }
                self.frame(coding(value)?)?;
            },
            _ => {},
        }
        Ok(())
    }

    /// One field says how the body ends, and says it once.
    const fn frame(&mut self, framing: Framing) -> Result<(), Fault> {
        if !matches!(self.framing, Framing::None) {
            return Err(Fault::Malformed);
        }
        self.framing = framing;
        Ok(())
    }
}

/// The second of its kind is a fault.
const fn once(seen: &mut bool, fault: Fault) -> Result<(), Fault> {
    if std::mem::replace(seen, true) { Err(fault) } else { Ok(()) }
}

/// Method, target, version, each one blank apart (RFC 9112 3).
fn request_line(line: &[u8]) -> Result<Version, Fault> {
    let method = bytes::run(line, TOKEN);
    let Some((start, version)) = line.split_last_chunk::<9>() else {
        return Err(Fault::Malformed);
    };
    let version = match version {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        _ => return Err(Fault::Malformed),
    };
    let (Some((method, [b' ', target @ ..])), true) = (start.split_at_checked(method), method > 0)
    else {
        return Err(Fault::Malformed);
    };
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    let sound = match target {
        [b'/', ..] => is_origin_form(target),
        b"*" => method == b"OPTIONS",
        _ => is_absolute_form(target),
    };
    if sound { Ok(version) } else { Err(Fault::Malformed) }
}

fn is_origin_form(target: &[u8]) -> bool {
    let path = bytes::run(target, PATH);
    match &target[path..] {
        [] => true,
        [b'?', query @ ..] => bytes::run(query, QUERY) == query.len(),
        _ => false,
    }
}

/// Rare, so the type itself is asked. A fragment sign, which it drops, and bytes that are not ASCII,
/// which it keeps, have no place here.
fn is_absolute_form(target: &[u8]) -> bool {
    target.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\'))
        && http::Uri::try_from(target).is_ok_and(|uri| uri.scheme().is_some())
}

/// The value without the blanks in front of it. Blanks behind it are left: the two fields that say
/// where a message ends are to be exact (S-02, S-03).
fn exact(value: &[u8]) -> &[u8] {
    let blanks = value.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    &value[blanks.unwrap_or(value.len())..]
}

/// Decimal digits and nothing else, in range for hyper.
fn length(value: &[u8]) -> Result<u64, Fault> {
    let digits = exact(value);
    let mut length: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Fault::Malformed);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit)))
            .ok_or(Fault::Malformed)?;
    }
    // The two highest numbers have another meaning in hyper.
    if digits.is_empty() || length > u64::MAX - 2 { Err(Fault::Malformed) } else { Ok(length) }
}

/// `chunked` and nothing else.
fn coding(value: &[u8]) -> Result<Framing, Fault> {
    let is_chunked = |coding: &&[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if exact(value).eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let chunked = value.split(|byte| *byte == b',').filter(is_chunked).count();
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    let in_front = value.len() > last.len();
    if chunked == 1 && in_front && is_chunked(&last) {
        Err(Fault::Coding)
    } else {
        Err(Fault::Malformed)
    }
}
