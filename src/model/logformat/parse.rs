//! From the text of a format to its parts.

use super::{Empty, FIELDS, Field, FormatError, Item, SAMPLES, Style};

/// A character of the format, and the column it was written at.
type At = (char, usize);

/// The parts of `text`.
pub(super) fn items(text: &str, empty: Empty) -> Result<Vec<Item>, FormatError> {
    let characters = unquoted(text)?;
    let mut parser = Parser {
        rest: &characters,
        style: Style { dash: empty == Empty::Dash, ..Style::default() },
        items: Vec::new(),
        end: text.chars().count() + 1,
    };
    while let Some((character, column)) = parser.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => parser.space(),
            '%' => parser.value(column)?,
            other => parser.text(other),
        }
    }
    Ok(parser.items)
}

/// `text` without the quotes and backslashes of HAProxy's configuration (its documentation 2.2). White
/// space outside of quotes, which would end the word there, belongs to the format here.
fn unquoted(text: &str) -> Result<Vec<At>, FormatError> {
    let mut out = Vec::new();
    let mut quote: Option<At> = None;
    let mut characters = text.chars().zip(1..).peekable();
    while let Some((character, column)) = characters.next() {
        let inside = quote.map(|(mark, _)| mark);
        match character {
            '"' | '\'' if inside.is_none() => quote = Some((character, column)),
            mark if inside == Some(mark) => quote = None,
            '\\' if inside != Some('\'') => match characters.next() {
                Some(('n', _)) => out.push(('\n', column)),
                Some(('r', _)) => out.push(('\r', column)),
                Some(('t', _)) => out.push(('\t', column)),
                Some((other @ (' ' | '"' | '\'' | '\\' | '#' | '$'), _)) => {
                    out.push((other, column));
                },
                Some((other, next)) => out.extend([('\\', column), (other, next)]),
                None => out.push(('\\', column)),
            },
            other => out.push((other, column)),
        }
    }
    match quote {
        Some((mark, column)) => {
            Err(FormatError { column, problem: format!("the quote {mark} is never closed") })
        },
        None => Ok(out),
    }
}

struct Parser<'a> {
    rest: &'a [At],
    /// The style of what follows, as `%o` left it.
    style: Style,
    items: Vec<Item>,
    /// The column behind the last character.
    end: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<At> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn space(&mut self) {
        if self.items.last() != Some(&Item::Space) {
            self.items.push(Item::Space);
        }
    }

    fn text(&mut self, character: char) {
        if let Some(Item::Text(text)) = self.items.last_mut() {
            let mut longer = String::from(std::mem::take(text));
            longer.push(character);
            *text = longer.into();
        } else {
            self.items.push(Item::Text(character.to_string().into()));
        }
    }

    /// Takes everything up to `last`, which is taken as well.
    fn until(&mut self, last: char, from: usize) -> Result<String, FormatError> {
        let Some(len) = self.rest.iter().position(|(character, _)| *character == last) else {
            return Err(FormatError { column: from, problem: format!("{last} is missing") });
        };
        let taken = self.rest[..len].iter().map(|(character, _)| *character).collect();
        self.rest = &self.rest[len + 1..];
        Ok(taken)
    }

    /// What follows a per cent sign at `column`.
    fn value(&mut self, column: usize) -> Result<(), FormatError> {
        let mut style = self.style;
        if let [('{', at), rest @ ..] = self.rest {
            self.rest = rest;
            let flags = self.until('}', *at)?;
            style = flagged(style, &flags, *at)?;
        }
        match self.rest.first() {
            Some(('%', _)) => {
                self.rest = &self.rest[1..];
                self.text('%');
            },
            Some(('[', at)) => {
                self.rest = &self.rest[1..];
                let sample = self.until(']', *at)?;
                let field = sampled(sample.trim()).ok_or_else(|| FormatError {
                    column: *at,
                    problem: format!("%[{sample}] is not a sample of this router"),
                })?;
                self.items.push(Item::Value(field, style));
            },
            Some((first, _)) if first.is_ascii_alphabetic() => self.variable(column, style)?,
            Some((other, at)) => {
                let problem = format!("{other} cannot follow %; %% stands for a per cent sign");
                return Err(FormatError { column: *at, problem });
            },
            None => {
                let problem = "nothing follows %; %% stands for a per cent sign".to_owned();
                return Err(FormatError { column: self.end, problem });
            },
        }
        Ok(())
    }

    fn variable(&mut self, column: usize, style: Style) -> Result<(), FormatError> {
        let is_letter = |(character, _): &&At| character.is_ascii_alphabetic();
        let len = self.rest.iter().take_while(is_letter).count();
        let name: String = self.rest[..len].iter().map(|(character, _)| *character).collect();
        self.rest = &self.rest[len..];
        if name == "o" {
            self.style = style;
            return Ok(());
        }
        match FIELDS.iter().find(|(known, _)| *known == name) {
            Some((_, field)) => {
                self.items.push(Item::Value(*field, style));
                Ok(())
            },
            None => {
                let problem = format!("%{name} is not a variable of this router");
                Err(FormatError { column, problem })
            },
        }
    }
}

/// `style` with flags such as `+Q,-X`.
fn flagged(mut style: Style, flags: &str, column: usize) -> Result<Style, FormatError> {
    for flag in flags.split(',').map(str::trim).filter(|flag| !flag.is_empty()) {
        let (on, name) = match flag.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, flag.strip_prefix('+').unwrap_or(flag)),
        };
        match name {
            "Q" => style.quote = on,
            "X" => style.hex = on,
            "E" => style.escape = on,
            "M" => style.dash = on,
            _ => {
                let problem = format!("{flag} is none of the flags Q, X, E and M with + or -");
                return Err(FormatError { column, problem });
            },
        }
    }
    Ok(style)
}

/// The value that a sample expression stands for.
fn sampled(text: &str) -> Option<Field> {
    let (name, argument) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?.trim()),
        None => (text, ""),
    };
    match (name, argument) {
        ("capture.req.hdr", index) => index.parse().ok().map(Field::RequestCapture),
        ("capture.res.hdr", index) => index.parse().ok().map(Field::ResponseCapture),
        ("uuid", "" | "4") => Some(Field::Uuid),
        (name, "") => SAMPLES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field),
        _ => None,
    }
}
