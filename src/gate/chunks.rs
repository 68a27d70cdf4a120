//! A chunked body, byte by byte but for the data (S-04 to S-06, S-23).

use super::{
    Fault, MAX_EXTENSION, MAX_EXTENSIONS, MAX_FIELDS, MAX_TRAILERS,
    bytes::{self, TOKEN},
};

/// Most digits of a chunk size.
const MAX_DIGITS: u8 = 16;

/// A chunked body on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    step: Step,
    /// Size of the chunk, and then what is left of its data.
    size: u64,
    digits: u8,
    /// Bytes of extensions: of this chunk, of the message.
    extension: u16,
    extensions: u16,
    /// Bytes and fields of the trailer section.
    trailers: u16,
    fields: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    Line,
    Name,
    Value,
    LineLf,
    EndLf,
    End,
}

/// Where in `;name=token` or `;name="text"`. Blanks have no place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    ValueStart,
    Value,
    Quoted,
    Escaped,
    Closed,
}

impl Chunks {
    /// Takes what is sound of `bytes`; says how much that is and whether the body has ended.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, Result<bool, Fault>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.step == Step::Data {
                let rest = bytes.len() - at;
                let step = usize::try_from(self.size).map_or(rest, |size| size.min(rest));
                self.size -= step as u64;
                at += step;
                if self.size == 0 {
                    self.step = Step::DataCr;
                }
                continue;
            }
            match self.next(byte) {
                Ok(step) => self.step = step,
                Err(fault) => return (at, Err(fault)),
            }
            at += 1;
            if self.step == Step::End {
                return (at, Ok(true));
            }
        }
        (at, Ok(false))
    }

    fn next(&mut self, byte: u8) -> Result<Step, Fault> {
        match (self.step, byte) {
            (Step::Size, _) => self.size(byte),
            (Step::Extension(at), _) => self.extension(at, byte),
            (Step::SizeLf, b'\n') => {
                (self.digits, self.extension) = (0, 0);
                Ok(if self.size == 0 { Step::Line } else { Step::Data })
            },
            (Step::DataCr, b'\r') => Ok(Step::DataLf),
            (Step::DataLf, b'\n') => Ok(Step::Size),
            (Step::Line | Step::Name | Step::Value | Step::LineLf | Step::EndLf, _) => {
                self.trailer(byte)
            },
            _ => Err(Fault::Malformed),
        }
    }

    fn size(&mut self, byte: u8) -> Result<Step, Fault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(Step::SizeLf),
            b';' if self.digits > 0 => return self.extended(Extension::NameStart),
            _ => return Err(Fault::Malformed),
        };
        if self.digits == MAX_DIGITS {
            return Err(Fault::Malformed);
        }
        self.digits += 1;
        // Sixteen digits fit.
        self.size = self.size << 4 | u64::from(digit);
        Ok(Step::Size)
    }

    /// One byte more of extensions, and where they stand behind it.
    fn extended(&mut self, at: Extension) -> Result<Step, Fault> {
        self.extension += 1;
        self.extensions += 1;
        let within = usize::from(self.extension) <= MAX_EXTENSION
            && usize::from(self.extensions) <= MAX_EXTENSIONS;
        if within { Ok(Step::Extension(at)) } else { Err(Fault::Malformed) }
    }

    fn extension(&mut self, at: Extension, byte: u8) -> Result<Step, Fault> {
        let token = bytes::is(byte, TOKEN);
        let text = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        let next = match (at, byte) {
            (Extension::Name | Extension::Value | Extension::Closed, b'\r') => {
                return Ok(Step::SizeLf);
            },
            (Extension::Name | Extension::Value | Extension::Closed, b';') => Extension::NameStart,
            (Extension::Name, b'=') => Extension::ValueStart,
            (Extension::NameStart | Extension::Name, _) if token => Extension::Name,
            (Extension::ValueStart, b'"') | (Extension::Escaped, _) if text => Extension::Quoted,
            (Extension::ValueStart | Extension::Value, _) if token => Extension::Value,
            (Extension::Quoted, b'"') => Extension::Closed,
            (Extension::Quoted, b'\\') => Extension::Escaped,
            (Extension::Quoted, _) if text => Extension::Quoted,
            _ => return Err(Fault::Malformed),
        };
        self.extended(next)
    }

    fn trailer(&mut self, byte: u8) -> Result<Step, Fault> {
        self.trailers += 1;
        if usize::from(self.trailers) > MAX_TRAILERS {
            return Err(Fault::Malformed);
        }
        match (self.step, byte) {
            (Step::Line, b'\r') => Ok(Step::EndLf),
            (Step::Line, _) if bytes::is(byte, TOKEN) => {
                self.fields += 1;
                let within = usize::from(self.fields) <= MAX_FIELDS;
                if within { Ok(Step::Name) } else { Err(Fault::Malformed) }
            },
            (Step::Name, b':') | (Step::Value, b'\t' | b' '..=b'~' | 0x80..) => Ok(Step::Value),
            (Step::Name, _) if bytes::is(byte, TOKEN) => Ok(Step::Name),
            (Step::Value, b'\r') => Ok(Step::LineLf),
            (Step::LineLf, b'\n') => Ok(Step::Line),
            (Step::EndLf, b'\n') => Ok(Step::End),
            _ => Err(Fault::Malformed),
        }
    }
}
