//! The words and signs of a label selector. Used by the parser above it; never fails: what is no sign
//! and no blank belongs to a word.

/// A piece of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A key, a value, `in` or `notin`.
    Word(&'a str),
    /// `=` or `==`.
    Equal,
    /// `!=`.
    Unequal,
    /// `!`.
    Not,
    /// `>`.
    Above,
    /// `<`.
    Below,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
    /// Nothing is left.
    End,
}

/// Signs, longer ones first.
const SIGNS: [(&str, Token<'static>); 9] = [
    ("==", Token::Equal),
    ("!=", Token::Unequal),
    ("=", Token::Equal),
    ("!", Token::Not),
    (">", Token::Above),
    ("<", Token::Below),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Yields the tokens of a text.
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> Token<'a> {
        self.scan().0
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.scan();
        self.rest = rest;
        token
    }

    fn scan(&self) -> (Token<'a>, &'a str) {
        let text = self.rest.trim_start_matches(BLANKS);
        if text.is_empty() {
            return (Token::End, text);
        }
        for (sign, token) in SIGNS {
            if let Some(rest) = text.strip_prefix(sign) {
                return (token, rest);
            }
        }
        let end =
            text.find(|c: char| BLANKS.contains(&c) || "=!><(),".contains(c)).unwrap_or(text.len());
        (Token::Word(&text[..end]), &text[end..])
    }
}
