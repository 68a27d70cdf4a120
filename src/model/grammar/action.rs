//! The values that header actions set [HDR-4]: literal text, `%%`, and samples such as
//! `%[req.hdr(X-Id),lower]`.
//!
//! Read by validation, which stands for the API server here. Pure; a value is judged byte by byte from
//! the left, so the first mistake is the one that is told.

/// Longest value, in characters.
pub const MAX_VALUE: usize = 16_384;

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

/// Checks a value of an action in the list of `side` [HDR-4, HDR-6].
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_value(value: &str, side: Side) -> Result<(), ValueError> {
    if value.is_empty() {
        return Err(ValueError::Empty);
    }
    if value.chars().count() > MAX_VALUE {
        return Err(ValueError::Long);
    }
    if value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(ValueError::Control);
    }
    let mut rest = value;
    while let Some((_, tail)) = rest.split_once('%') {
        rest = match tail.strip_prefix('%') {
            Some(tail) => tail,
            None => sample(tail, side)?,
        };
    }
    Ok(())
}

/// Reads a sample behind its `%`; returns what follows it.
fn sample(text: &str, side: Side) -> Result<&str, ValueError> {
    let text = match text.strip_prefix('{') {
        Some(braced) => {
            let (flags, tail) = braced.split_once('}').ok_or(ValueError::Flags)?;
            if !flags.split(',').all(is_flag) {
                return Err(ValueError::Flags);
            }
            tail
        },
        None => text,
    };
    let text = text.strip_prefix('[').ok_or(ValueError::Percent)?;
    let (inner, rest) = text.split_once(']').ok_or(ValueError::Open)?;
    let converters = source(inner, side)?;
    for converter in converters.split(',').skip(1) {
        if !matches!(converter, "lower" | "base64") {
            return Err(ValueError::Converter);
        }
    }
    Ok(rest)
}

/// Reads where a sample comes from; returns its converters, each with a comma before it.
fn source(text: &str, side: Side) -> Result<&str, ValueError> {
    let (fetch, converters) = match text.strip_prefix("ssl_c_der") {
        Some(converters) => (None, converters),
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
            (Some(name), converters)
        },
    };
    let letters = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !fetch.is_none_or(letters) {
        return Err(ValueError::Name);
    }
    match converters.is_empty() || converters.starts_with(',') {
        true => Ok(converters),
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
