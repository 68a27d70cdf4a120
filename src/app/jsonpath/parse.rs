//! From the text of a template to its parts.

use serde_json::Value;

use super::{Comparison, Filter, Operand, Part, Path, Step, TemplateError};

/// Ranges inside ranges.
const MAX_DEPTH: usize = 16;

/// What a member's name ends at; a backslash takes any of them in.
const NAME_END: &[char] = &['.', '[', ']', '{', '}', '(', ')', '=', '!', '<', '>', ',', ' '];

pub(super) fn template(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parser = Parser { text: text.chars().collect(), at: 0 };
    let (parts, ended) = parser.parts(0)?;
    if ended { Err(parser.error("an end without a range")) } else { Ok(parts) }
}

struct Parser {
    text: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Steps over `wanted` if it comes next.
    fn eat(&mut self, wanted: &str) -> bool {
        let rest = &self.text[self.at..];
        let length = wanted.chars().count();
        let comes = rest.len() >= length && wanted.chars().zip(rest).all(|(a, b)| a == *b);
        if comes {
            self.at += length;
        }
        comes
    }

    fn spaces(&mut self) {
        while self.eat(" ") {}
    }

    fn expect(&mut self, wanted: &str, problem: &'static str) -> Result<(), TemplateError> {
        self.spaces();
        if self.eat(wanted) { Ok(()) } else { Err(self.error(problem)) }
    }

    const fn error(&self, problem: &'static str) -> TemplateError {
        TemplateError { problem, at: self.at + 1 }
    }

    /// Parts up to the end of the text, or of the range; true when an `{end}` was found.
    fn parts(&mut self, depth: usize) -> Result<(Vec<Part>, bool), TemplateError> {
        if depth > MAX_DEPTH {
            return Err(self.error("too many ranges inside each other"));
        }
        let mut parts = Vec::new();
        while let Some(next) = self.peek() {
            if next != '{' {
                let start = self.at;
                while self.peek().is_some_and(|c| c != '{') {
                    self.at += 1;
                }
                parts.push(Part::Text(self.text[start..self.at].iter().collect()));
                continue;
            }
            self.at += 1;
            self.spaces();
            if self.eat("end}") {
                self.at -= usize::from(depth == 0);
                return Ok((parts, true));
            }
            if self.eat("range ") {
                self.spaces();
                let path = self.path()?;
                self.expect("}", "expected }")?;
                let (body, ended) = self.parts(depth + 1)?;
                if !ended {
                    return Err(self.error("a range without an end"));
                }
                parts.push(Part::Range(path, body));
                continue;
            }
            parts.push(match self.peek() {
                Some('"' | '\'') => Part::Text(self.quoted()?),
                _ => Part::Path(self.path()?),
            });
            self.expect("}", "expected }")?;
        }
        Ok((parts, false))
    }

    fn path(&mut self) -> Result<Path, TemplateError> {
        let mut steps = Vec::new();
        if self.eat("$") {
            steps.push(Step::Root);
        } else if !self.eat("@") && self.peek().is_some_and(|c| !NAME_END.contains(&c)) {
            // The leading dot may be missing, as in `{kind}`.
            steps.push(Step::Member(self.name()?));
        }
        loop {
            if self.eat("..") {
                steps.push(Step::Descend(self.name()?));
            } else if self.eat(".*") {
                steps.push(Step::All);
            } else if self.eat(".") {
                // A lone dot is the whole.
                if self.peek().is_some_and(|c| !NAME_END.contains(&c)) {
                    steps.push(Step::Member(self.name()?));
                }
            } else if self.eat("[") {
                steps.push(self.subscript()?);
            } else {
                return Ok(steps);
            }
        }
    }

    fn name(&mut self) -> Result<String, TemplateError> {
        let mut name = String::new();
        while let Some(next) = self.peek() {
            if next == '\\' {
                self.at += 1;
                name.extend(self.peek());
            } else if NAME_END.contains(&next) {
                break;
            } else {
                name.push(next);
            }
            self.at = (self.at + 1).min(self.text.len());
        }
        if name.is_empty() { Err(self.error("expected a name")) } else { Ok(name) }
    }

    /// A text in quotes, with `\n`, `\t` and escaped quotes.
    fn quoted(&mut self) -> Result<String, TemplateError> {
        let quote = self.peek();
        self.at += 1;
        let mut text = String::new();
        loop {
            let next = self.peek();
            self.at = (self.at + 1).min(self.text.len());
            match next {
                None => return Err(self.error("the quote does not end")),
                Some('\\') => {
                    text.extend(match self.peek() {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        other => other,
                    });
                    self.at = (self.at + 1).min(self.text.len());
                },
                closing if closing == quote => return Ok(text),
                Some(other) => text.push(other),
            }
        }
    }

    /// What stands between brackets, and the closing one.
    fn subscript(&mut self) -> Result<Step, TemplateError> {
        self.spaces();
        let step = match self.peek() {
            Some('*') => {
                self.at += 1;
                Step::All
            },
            Some('\'' | '"') => Step::Member(self.quoted()?),
            Some('?') => {
                self.at += 1;
                self.expect("(", "expected ( behind ?")?;
                let filter = self.filter()?;
                self.expect(")", "expected )")?;
                Step::Filter(Box::new(filter))
            },
            _ => self.indexes()?,
        };
        self.expect("]", "expected ]")?;
        Ok(step)
    }

    fn indexes(&mut self) -> Result<Step, TemplateError> {
        let first = self.integer();
        if self.eat(":") {
            return Ok(Step::Slice(first, self.integer()));
        }
        let mut indexes = vec![first.ok_or_else(|| self.error("expected an index"))?];
        while self.eat(",") {
            self.spaces();
            indexes.push(self.integer().ok_or_else(|| self.error("expected an index"))?);
        }
        Ok(Step::Indexes(indexes))
    }

    fn integer(&mut self) -> Option<i64> {
        let start = self.at;
        self.eat("-");
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let number = self.text[start..self.at].iter().collect::<String>().parse().ok();
        if number.is_none() {
            self.at = start;
        }
        number
    }

    fn filter(&mut self) -> Result<Filter, TemplateError> {
        use Comparison::{Different, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let left = self.operand()?;
        self.spaces();
        let signs = [
            ("==", Equal),
            ("!=", Different),
            ("<=", LessOrEqual),
            (">=", GreaterOrEqual),
            ("<", Less),
            (">", Greater),
        ];
        let comparison = signs.into_iter().find(|(sign, _)| self.eat(sign));
        let compare = match comparison {
            Some((_, comparison)) => Some((comparison, self.operand()?)),
            None => None,
        };
        Ok(Filter { left, compare })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        self.spaces();
        match self.peek() {
            Some('@' | '.' | '$') => Ok(Operand::Path(self.path()?)),
            Some('\'' | '"') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|c| !") =!<>".contains(c)) {
                    self.at += 1;
                }
                let word: String = self.text[start..self.at].iter().collect();
                let value = serde_json::from_str(&word).ok();
                value.map(Operand::Literal).ok_or_else(|| {
                    self.at = start;
                    self.error("expected a path, a text in quotes, or a number")
                })
            },
        }
    }
}
