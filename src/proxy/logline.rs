//! A record as text in HAProxy's log-format language.
//!
//! Called by `telemetry::access` for lines, on the writer's thread, and by `unique_id`. Always holds:
//! what is written has no control character and no byte beyond ASCII unless it is printed text of the
//! configuration's own, so a record is one line whatever a client sends (S-94).

mod values;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub use self::values::date;
use self::values::value;
use super::record::AccessRecord;
use crate::model::logformat::{Item, LogFormat, Style};

/// What a line may say of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Name of the host.
    pub host: Box<str>,
    /// Number of the process.
    pub pid: u32,
}

impl Process {
    /// This process, on this host.
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Process> = OnceLock::new();
        THIS.get_or_init(|| {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let is_plain =
                |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            let host = Some(name.trim()).filter(is_plain).unwrap_or("localhost").into();
            Self { host, pid: std::process::id() }
        })
    }
}

/// What a format is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The request, or the connection.
    pub record: &'a AccessRecord,
    /// Who writes.
    pub process: &'a Process,
    /// Lines of the frontend before this one.
    pub count: u64,
    /// The format of a unique id that has not been made yet.
    pub id: Option<&'a LogFormat>,
}

/// Appends `format`, filled in.
pub fn write(format: &LogFormat, frame: &Frame<'_>, out: &mut Vec<u8>) {
    let mut spaced = true;
    for item in format.items() {
        let before = out.len();
        match item {
            Item::Space if spaced => continue,
            Item::Space => {
                out.push(b' ');
                spaced = true;
                continue;
            },
            Item::Text(text) => encode(text.as_bytes(), Map::Text, out),
            Item::Value(field, style) => value(*field, *style, frame, out),
        }
        if out.len() > before {
            spaced = false;
        }
    }
}

/// Which characters are written as `#` and two hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    /// Those that could end the line or move a cursor.
    Text,
    /// HAProxy's for targets: also `"`, `#` and what is not ASCII.
    Url,
    /// HAProxy's for captured fields: also `{`, `|` and `}`.
    Header,
}

impl Map {
    const fn encodes(self, byte: u8) -> bool {
        match byte {
            0..0x20 | 0x7f.. => true,
            b'"' | b'#' => !matches!(self, Self::Text),
            b'{' | b'|' | b'}' => matches!(self, Self::Header),
            _ => false,
        }
    }
}

fn encode(text: &[u8], map: Map, out: &mut Vec<u8>) {
    for byte in text {
        if map.encodes(*byte) {
            out.push(b'#');
            out.extend([byte >> 4, byte & 15].map(hex_digit));
        } else {
            out.push(*byte);
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble & 15)]
}

/// Appends a text in its style; `-` stands for an empty one where that is asked for.
fn text(text: &[u8], map: Map, style: Style, out: &mut Vec<u8>) {
    if style.quote {
        out.push(b'"');
    } else if text.is_empty() && style.dash {
        out.push(b'-');
    }
    if style.escape {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| b"\"\\]".contains(byte)) {
            encode(&rest[..at], map, out);
            if map.encodes(rest[at]) {
                encode(&rest[at..=at], map, out);
            } else {
                out.extend([b'\\', rest[at]]);
            }
            rest = &rest[at + 1..];
        }
        encode(rest, map, out);
    } else {
        encode(text, map, out);
    }
    if style.quote {
        out.push(b'"');
    }
}
