//! The values that header actions set [HDR-4]: literal text, `%%`, and samples such as
//! `%[req.hdr(X-Id),lower]`.
//!
//! Read by validation, which stands for the API server here, and by `headers::actions`, which makes of a
//! value what the request path copies. Pure; a value is judged byte by byte from the left, so the first
//! mistake is the one that is told.

/// Longest value, in characters.
pub const MAX_VALUE: usize = 16_384;

/// True for a field that actions do not touch: message framing, and what is between two hops. HAProxy
/// lets them be set and then sends a message that breaks; here such an action does nothing.
#[must_use]
pub fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 8] = [
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

/// The list that an action stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `actions.request`.
    Request,
    /// `actions.response`.
    Response,
}

/// Why a value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No text at all.
    #[error("set.value must not be empty")]
    Empty,
    /// More than [`MAX_VALUE`] characters.
    #[error("set.value must have at most {MAX_VALUE} characters")]
    Long,
    /// A control character.
    #[error("set.value must not hold control characters")]
    Control,
    /// A `%` that begins nothing.
    #[error("a % in set.value is written %%, or begins a sample such as %[req.hdr(X-Id)]")]
    Percent,
    /// Flags other than `Q`, `X` and `E`.
    #[error("the flags before a sample are Q, X and E with + or -, such as %{{+Q}}[...]")]
    Flags,
    /// A sample that is not known.
    #[error(
        "the samples are req.hdr(NAME) in a request, res.hdr(NAME) in a response, and ssl_c_der"
    )]
    Sample,
    /// The header of the other side [HDR-6].
    #[error("req.hdr is for request actions and res.hdr for response actions")]
    Side,
    /// A header name with other characters than letters, digits and `-`, or none.
    #[error("the header of a sample is named by letters, digits and -")]
    Name,
    /// A converter that is not known.
    #[error("the converters of a sample are lower and base64")]
    Converter,
    /// No `]`.
    #[error("a sample in set.value ends with ]")]
    Open,
}

/// A piece of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is; a `%%` is the text `%`.
    Text(&'a str),
    /// What is evaluated for each message.
    Sample(Sample<'a>),
}

/// A sample with what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// In the order in which they are applied.
    pub converters: Vec<Converter>,
    /// The flag `E` is on: `"`, `\` and `]` get a backslash in front. `Q` and `X` have no effect on the
    /// samples that there are (spec/route.md 26.1), nor has a flag without a sign.
    pub escaped: bool,
}

/// Where a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The last value of the header of this name.
    Header(&'a str),
    /// The DER bytes of the client's certificate.
    Certificate,
}

/// A function of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converter {
    /// ASCII letters in lower case.
    Lower,
    /// Base64 with padding.
    Base64,
}

/// Checks a value of an action in the list of `side` [HDR-4, HDR-6].
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_value(value: &str, side: Side) -> Result<(), ValueError> {
    parse_value(value, side).map(drop)
}

/// Reads a value of an action in the list of `side` [HDR-4, HDR-6]; its pieces in their order.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_value(value: &str, side: Side) -> Result<Vec<Piece<'_>>, ValueError> {
    if value.is_empty() {
        return Err(ValueError::Empty);
    }
    if value.chars().count() > MAX_VALUE {
        return Err(ValueError::Long);
    }
    if value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(ValueError::Control);
    }
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some((text, tail)) = rest.split_once('%') {
        pieces.push(Piece::Text(text));
        let piece;
        (piece, rest) = match tail.strip_prefix('%') {
            Some(tail) => (Piece::Text("%"), tail),
            None => sample(tail, side).map(|(sample, tail)| (Piece::Sample(sample), tail))?,
        };
        pieces.push(piece);
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

/// Reads a sample behind its `%`; returns what follows it as well.
fn sample(text: &str, side: Side) -> Result<(Sample<'_>, &str), ValueError> {
    let (flags, text) = match text.strip_prefix('{') {
        Some(braced) => {
            let (flags, tail) = braced.split_once('}').ok_or(ValueError::Flags)?;
            if !flags.split(',').all(is_flag) {
                return Err(ValueError::Flags);
            }
            (flags, tail)
        },
        None => ("", text),
    };
    let escaped = flags.split(',').fold(false, |escaped, flag| match flag {
        "+E" => true,
        "-E" => false,
        _ => escaped,
    });
    let text = text.strip_prefix('[').ok_or(ValueError::Percent)?;
    let (inner, rest) = text.split_once(']').ok_or(ValueError::Open)?;
    let (source, converters) = source(inner, side)?;
    let converters = converters
        .split(',')
        .skip(1)
        .map(|converter| match converter {
            "lower" => Ok(Converter::Lower),
            "base64" => Ok(Converter::Base64),
            _ => Err(ValueError::Converter),
        })
        .collect::<Result<_, _>>()?;
    Ok((Sample { source, converters, escaped }, rest))
}

/// Reads where a sample comes from; returns its converters as well, each with a comma before it.
fn source(text: &str, side: Side) -> Result<(Source<'_>, &str), ValueError> {
    let (source, converters) = match text.strip_prefix("ssl_c_der") {
        Some(converters) => (Source::Certificate, converters),
        None => {
            let (own, other) = match side {
                Side::Request => ("req.hdr(", "res.hdr("),
                Side::Response => ("res.hdr(", "req.hdr("),
            };
            if text.starts_with(other) {
                return Err(ValueError::Side);
            }
            let text = text.strip_prefix(own).ok_or(ValueError::Sample)?;
            let (name, converters) = text.split_once(')').ok_or(ValueError::Name)?;
            (Source::Header(name), converters)
        },
    };
    let letters = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if matches!(source, Source::Header(name) if !letters(name)) {
        return Err(ValueError::Name);
    }
    match converters.is_empty() || converters.starts_with(',') {
        true => Ok((source, converters)),
        false => Err(ValueError::Sample),
    }
}

fn is_flag(text: &str) -> bool {
    let letter = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(letter, "Q" | "X" | "E")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [HDR-4]
    #[test]
    fn hdr_4_values_of_the_grammar_are_accepted() {
        for value in [
            "x",
            "two words",
            "foo if bar",
            "\"shouldn't break\"\\",
            "100%%",
            "%%%%",
            "\u{fc}mlaut",
            "%[req.hdr(X-Id)]",
            "%[req.hdr(x)]%[req.hdr(y),lower]",
            "a%[req.hdr(1-2),lower,base64,lower]b",
            "%[ssl_c_der]",
            "%{+Q}[ssl_c_der,base64]",
            "%{Q,-X,+E}[req.hdr(a)]",
            "]",
            "[]{}",
            "%%[req.nothing]",
        ] {
            assert_eq!(check_value(value, Side::Request), Ok(()), "{value}");
        }
        assert_eq!(check_value("%[res.hdr(X)]%[ssl_c_der]", Side::Response), Ok(()));
        assert_eq!(check_value(&"\u{fc}".repeat(MAX_VALUE), Side::Request), Ok(()));
    }

    /// [HDR-4]
    #[test]
    fn hdr_4_a_value_is_read_into_its_pieces() {
        let value = "a%%b%{Q,-X,+E}[req.hdr(X-Id),lower,base64]%[ssl_c_der]";
        let id = Sample {
            source: Source::Header("X-Id"),
            converters: vec![Converter::Lower, Converter::Base64],
            escaped: true,
        };
        let der = Sample { source: Source::Certificate, converters: vec![], escaped: false };
        let pieces = [
            Piece::Text("a"),
            Piece::Text("%"),
            Piece::Text("b"),
            Piece::Sample(id),
            Piece::Sample(der),
        ];
        assert_eq!(parse_value(value, Side::Request).unwrap(), pieces);
        for (flags, escaped) in [("{E}", false), ("{+E,-E}", false), ("{-E,+E}", true)] {
            let value = format!("%{flags}[ssl_c_der]");
            let pieces = parse_value(&value, Side::Response).unwrap();
            assert!(matches!(&pieces[..], [Piece::Sample(it)] if it.escaped == escaped), "{flags}");
        }
    }

    /// [HDR-4, HDR-6]
    #[test]
    fn hdr_4_everything_else_is_refused() {
        use ValueError as E;
        for (value, error) in [
            ("", E::Empty),
            ("a\nb", E::Control),
            ("a\tb", E::Control),
            ("\u{7f}", E::Control),
            ("%", E::Percent),
            ("100%", E::Percent),
            ("%%%", E::Percent),
            ("% [req.hdr(a)]", E::Percent),
            ("%{+Q}", E::Percent),
            ("%{+Q}req.hdr(a)", E::Percent),
            ("%{", E::Flags),
            ("%{}[req.hdr(a)]", E::Flags),
            ("%{+Z}[req.hdr(a)]", E::Flags),
            ("%{+Q,}[req.hdr(a)]", E::Flags),
            ("%{++Q}[req.hdr(a)]", E::Flags),
            ("%{q}[req.hdr(a)]", E::Flags),
            ("%[]", E::Sample),
            ("%[req.fhdr(a)]", E::Sample),
            ("%[src]", E::Sample),
            ("%[ssl_c_serial]", E::Sample),
            ("%[ssl_c_derx]", E::Sample),
            ("%[ req.hdr(a)]", E::Sample),
            ("%[req.hdr(a) ]", E::Sample),
            ("%[REQ.HDR(a)]", E::Sample),
            ("%[req.hdr(a)lower]", E::Sample),
            ("%[res.hdr(a)]", E::Side),
            ("%[req.hdr()]", E::Name),
            ("%[req.hdr(a_b)]", E::Name),
            ("%[req.hdr(a b)]", E::Name),
            ("%[req.hdr(a,1)]", E::Name),
            ("%[req.hdr(a]", E::Name),
            ("%[req.hdr(a),upper]", E::Converter),
            ("%[req.hdr(a),]", E::Converter),
            ("%[req.hdr(a),Lower]", E::Converter),
            ("%[req.hdr(a), lower]", E::Converter),
            ("%[req.hdr(a)", E::Open),
            ("%[req.hdr(a)]%", E::Percent),
            (&"x".repeat(MAX_VALUE + 1), E::Long),
        ] {
            assert_eq!(check_value(value, Side::Request), Err(error), "{value:.40}");
        }
        assert_eq!(check_value("%[req.hdr(a)]", Side::Response), Err(E::Side));
    }
}
