//! The value of a `Set` action, compiled [HDR-5].
//!
//! Text and samples are told apart once; a value without samples is a field value that is only copied.
//! What HAProxy does with a sample is measured: of a header the last value counts, commas separating
//! values unless they are in quotes, and an absent one is empty; control characters become `%XX`.

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Overflow;
use crate::{
    headers::certificate::{CertificateFields, push_safe},
    model::grammar::action::{Converter, Piece, Sample, Side, Source, parse_value},
};

/// A compiled value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The same for each message.
    Ready(HeaderValue),
    /// The client's certificate in base64 and nothing else, which every mTLS connection has ready.
    Certificate,
    /// Put together for each message.
    Parts(Box<[Part]>),
}

/// A part of a value.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Box<[u8]>),
    Sample { source: From, converters: Box<[Converter]>, escaped: bool },
}

/// Where a sample comes from.
#[derive(Clone, Debug)]
pub(super) enum From {
    Header(HeaderName),
    Certificate,
}

impl Value {
    /// Compiles `text`; `None` when it is not of the grammar.
    pub(super) fn compile(text: &str, side: Side) -> Option<Self> {
        let mut parts: Vec<Part> = Vec::new();
        for piece in parse_value(text, side).ok()? {
            match (piece, parts.last_mut()) {
                (Piece::Text(more), Some(Part::Text(text))) => {
                    *text = [&**text, more.as_bytes()].concat().into();
                },
                (Piece::Text(text), _) => parts.push(Part::Text(text.as_bytes().into())),
                (Piece::Sample(sample), _) => parts.push(Part::of(sample)?),
            }
        }
        Some(match &parts[..] {
            [Part::Text(text)] => Self::Ready(field_value(text.to_vec())),
            [Part::Sample { source: From::Certificate, converters, escaped: false }]
                if **converters == [Converter::Base64] =>
            {
                Self::Certificate
            },
            _ => Self::Parts(parts.into()),
        })
    }

    /// The value for a message with `fields`, of at most `limit` bytes.
    pub(super) fn evaluate(
        &self,
        fields: &HeaderMap,
        client: Option<&CertificateFields>,
        limit: usize,
    ) -> Result<HeaderValue, Overflow> {
        match self {
            Self::Ready(value) => Ok(value.clone()),
            Self::Certificate => Ok(client
                .map_or(const { HeaderValue::from_static("") }, |client| client.base64().clone())),
            Self::Parts(parts) => {
                let mut value = Vec::new();
                for part in parts {
                    part.write(&mut value, fields, client, limit);
                    if value.len() > limit {
                        return Err(Overflow);
                    }
                }
                Ok(field_value(value))
            },
        }
    }
}

impl Part {
    fn of(sample: Sample<'_>) -> Option<Self> {
        let source = match sample.source {
            Source::Header(name) => From::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            Source::Certificate => From::Certificate,
        };
        let converters = sample.converters.into();
        Some(Self::Sample { source, converters, escaped: sample.escaped })
    }

    fn write(
        &self,
        value: &mut Vec<u8>,
        fields: &HeaderMap,
        client: Option<&CertificateFields>,
        limit: usize,
    ) {
        match self {
            Self::Text(text) => value.extend_from_slice(text),
            Self::Sample { source, converters, escaped } => {
                for byte in convert(source.fetch(fields, client), converters, limit) {
                    if *escaped && matches!(byte, b'"' | b'\\' | b']') {
                        value.push(b'\\');
                    }
                    push_safe(value, byte);
                }
            },
        }
    }
}

impl From {
    fn fetch(&self, fields: &HeaderMap, client: Option<&CertificateFields>) -> Bits {
        match self {
            Self::Header(name) => {
                let last = fields.get_all(name).iter().next_back();
                let bytes = last.map_or(&[][..], |line| last_member(line.as_bytes())).to_vec();
                Bits { bytes, binary: false }
            },
            Self::Certificate => {
                let base64 = client.map_or(&[][..], |client| client.base64().as_bytes());
                Bits { bytes: BASE64.decode(base64).unwrap_or_default(), binary: true }
            },
        }
    }
}

/// A sample on its way through the converters.
struct Bits {
    bytes: Vec<u8>,
    binary: bool,
}

impl Bits {
    /// As text: a NUL ends it, as in HAProxy.
    fn text(mut self) -> Vec<u8> {
        if self.binary {
            let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
            self.bytes.truncate(end);
        }
        self.bytes
    }
}

/// Applies `converters`. What outgrows `limit` on the way is empty, as in HAProxy: otherwise a long
/// row of `base64` grew without a bound.
fn convert(sample: Bits, converters: &[Converter], limit: usize) -> Vec<u8> {
    let converted = converters.iter().fold(sample, |sample, converter| match converter {
        Converter::Lower => Bits { bytes: sample.text().to_ascii_lowercase(), binary: false },
        Converter::Base64 => {
            let fits = BASE64.encode_len(sample.bytes.len()) < limit;
            let bytes = if fits { BASE64.encode(&sample.bytes).into_bytes() } else { Vec::new() };
            Bits { bytes, binary: false }
        },
    });
    converted.text()
}

/// The last member of a list: commas separate, unless they are in quotes; blanks around it go.
fn last_member(line: &[u8]) -> &[u8] {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => start = at + 1,
            _ => {},
        }
    }
    trim(line.get(start..).unwrap_or_default())
}

/// `text` without the blanks around it, which are not of a field's value (RFC 9110 5.5).
fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// `text` as a field value; HTTP/2 allows no blanks around it (RFC 9113 8.2.1). Text of the grammar has
/// no control characters and samples have lost theirs, so this is one; were it none, it would be empty.
fn field_value(text: Vec<u8>) -> HeaderValue {
    let text = Bytes::from(text);
    let text = text.slice_ref(trim(&text));
    HeaderValue::from_maybe_shared(text).unwrap_or(const { HeaderValue::from_static("") })
}
