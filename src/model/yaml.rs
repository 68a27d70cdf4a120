//! YAML and JSON text as a tree with places: the generic reading that gives every finding its line.
//!
//! Used by `source` for whole documents and by `Stored::field_place` for one field. Always holds:
//! depth, alias expansion and node count are bounded (S-90), so hostile text costs little.

use std::collections::HashMap;

use serde_json::{Map, Number};
use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Options, ParseResult, Parser, ScalarStyle, Span, StrInput,
};

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;
/// What [`MAX_DEPTH`] limits, in a message.
const NESTING: &str = "64 levels of nesting";
/// Nodes that aliases may add to one document.
pub const MAX_ALIASED_NODES: usize = 10_000;
/// Nodes of one document.
pub const MAX_NODES: usize = 2_000_000;

/// A position in a text. Lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
    /// Byte offset.
    pub byte: usize,
}

impl Mark {
    fn of(marker: Marker) -> Self {
        Self {
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
            byte: marker.byte_offset().unwrap_or_default(),
        }
    }
}

/// A node and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Its first character.
    pub mark: Mark,
    /// Byte offset behind its last character.
    pub end: usize,
}

/// Content of a node.
#[derive(Clone, Debug)]
pub enum Value {
    /// A mapping, in the order of the text.
    Map(Vec<Entry>),
    /// A scalar, already resolved.
    Scalar(serde_json::Value),
    /// A sequence.
    Seq(Vec<Node>),
}

/// One key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub mark: Mark,
    /// The value.
    pub node: Node,
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct YamlError {
    /// Where.
    pub mark: Mark,
    /// What.
    pub kind: YamlErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlErrorKind {
    /// A key stands twice in one mapping.
    #[error("the key \"{0}\" stands twice in one mapping")]
    DuplicateKey(String),
    /// A limit of this module.
    #[error("more than {0}")]
    Limit(&'static str),
    /// A mapping key that is not a scalar.
    #[error("a mapping key must be a scalar")]
    NotScalarKey,
    /// Not YAML.
    #[error("{0}")]
    Syntax(String),
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            },
            Value::Scalar(_) | Value::Seq(_) => None,
        }
    }

    /// The text of a string scalar.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(serde_json::Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// True for null, which counts as absent (as in the Kubernetes API).
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(serde_json::Value::Null))
    }

    /// The tree without places; null members of mappings are left out.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .filter(|entry| !entry.node.is_null())
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
            Value::Scalar(value) => value.clone(),
            Value::Seq(items) => items.iter().map(Self::to_json).collect(),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
            Value::Scalar(_) => 0,
            Value::Seq(items) => items.iter().map(Self::size).sum(),
        }
    }
}

/// Reads one document; `None` when the text holds no node.
///
/// # Errors
/// The first thing that is wrong, with its place in `text`.
pub fn compose(text: &str) -> Result<Option<Node>, YamlError> {
    let mut composer = Composer::new(text);
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd | Event::DocumentEnd => return Ok(None),
            Event::StreamStart | Event::DocumentStart(..) => {},
            other => {
                let node = composer.node(other, span, 0)?;
                composer.finish()?;
                return Ok(Some(node));
            },
        }
    }
}

/// Where `field` (such as `spec.alternateBackends[1].name` or `metadata.annotations[a.b/c]`) stands
/// in `text`: its key, or that of the nearest enclosing field that is written.
#[must_use]
pub fn locate(text: &str, field: &str) -> Option<Mark> {
    let root = compose(text).ok().flatten()?;
    Some(place_in(&root, field))
}

/// As [`locate`], in a tree that is already there.
#[must_use]
pub fn place_in(root: &Node, field: &str) -> Mark {
    let mut node = root;
    let mut mark = root.mark;
    for segment in segments(field) {
        let next = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == segment)
                .map(|entry| (entry.mark, &entry.node)),
            Value::Seq(items) => segment
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index))
                .map(|item| (item.mark, item)),
            Value::Scalar(_) => None,
        };
        let Some((found, child)) = next else { break };
        mark = found;
        node = child;
    }
    mark
}

fn segments(field: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']').unwrap_or(inner.len());
            parts.push(&inner[..end]);
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 {
                parts.push(&rest[..end]);
            }
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    parts
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    nodes: usize,
    last: Mark,
}

impl<'a> Composer<'a> {
    fn new(text: &'a str) -> Self {
        let mut options = Options::default();
        options.emit_comments = false;
        options.emit_unresolved_aliases = true;
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            aliased: 0,
            nodes: 0,
            last: Mark::default(),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        let next: Option<ParseResult<'a>> = self.parser.next_event();
        match next {
            Some(Ok((event, span))) => {
                self.last = Mark::of(span.start);
                Ok((event, span))
            },
            Some(Err(error)) => {
                let kind = match error.kind() {
                    ErrorKind::RecursionLimitExceeded => YamlErrorKind::Limit(NESTING),
                    _ => YamlErrorKind::Syntax(error.info().trim_end_matches('.').to_owned()),
                };
                Err(YamlError { mark: Mark::of(*error.marker()), kind })
            },
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Content behind the document's end is an error: half of it would be lost in silence.
    fn finish(&mut self) -> Result<(), YamlError> {
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd => {},
                _ => {
                    let kind = YamlErrorKind::Syntax("content behind the document's end".into());
                    return Err(YamlError { mark: self.last, kind });
                },
            }
        }
    }

    fn fail<T>(mark: Mark, kind: YamlErrorKind) -> Result<T, YamlError> {
        Err(YamlError { mark, kind })
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let mark = Mark::of(span.start);
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Self::fail(mark, YamlErrorKind::Limit(NESTING));
        }
        if self.nodes > MAX_NODES {
            return Self::fail(mark, YamlErrorKind::Limit("2000000 nodes in a document"));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let string = tag.is_some_and(|tag| tag.suffix() == "str");
                let value = if style == ScalarStyle::Plain && !string {
                    resolve(&text)
                } else {
                    serde_json::Value::String(text.into_owned())
                };
                let end = Mark::of(span.end).byte;
                (anchor, Node { value: Value::Scalar(value), mark, end })
            },
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(mark, depth)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(mark, depth)?),
            Event::Alias(id) => (0, self.alias(id, mark, Mark::of(span.end).byte)?),
            Event::UnresolvedAlias(name) => {
                let text = format!("the alias *{name} has no anchor in this document");
                return Self::fail(mark, YamlErrorKind::Syntax(text));
            },
            _ => return Self::fail(mark, YamlErrorKind::Syntax("a value is missing".into())),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, mark: Mark, end: usize) -> Result<Node, YamlError> {
        let Some(target) = self.anchors.get(&id) else {
            let kind = YamlErrorKind::Syntax("an alias inside its own anchor".into());
            return Self::fail(mark, kind);
        };
        self.aliased += target.size();
        if self.aliased > MAX_ALIASED_NODES {
            return Self::fail(mark, YamlErrorKind::Limit("10000 nodes made by aliases"));
        }
        Ok(Node { value: target.value.clone(), mark, end })
    }

    fn sequence(&mut self, mark: Mark, depth: usize) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                let end = Mark::of(span.end).byte;
                return Ok(Node { value: Value::Seq(items), mark, end });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, mark: Mark, depth: usize) -> Result<Node, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut merges = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let at = Mark::of(span.start);
            let key = match event {
                Event::MappingEnd => {
                    merge(&mut entries, merges);
                    let end = Mark::of(span.end).byte;
                    return Ok(Node { value: Value::Map(entries), mark, end });
                },
                Event::Scalar(text, _, _, _) => text.into_owned(),
                _ => return Self::fail(at, YamlErrorKind::NotScalarKey),
            };
            if !seen.insert(key.clone()) {
                return Self::fail(at, YamlErrorKind::DuplicateKey(key));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if key == "<<" {
                merges.push(node);
            } else {
                entries.push(Entry { key, mark: at, node });
            }
        }
    }
}

/// `<<: *anchor`: keys that the mapping does not have itself.
fn merge(entries: &mut Vec<Entry>, merges: Vec<Node>) {
    for node in merges {
        match node.value {
            Value::Map(more) => {
                for entry in more {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry);
                    }
                }
            },
            Value::Seq(items) => merge(entries, items),
            Value::Scalar(_) => {},
        }
    }
}

/// A plain scalar by the core schema of YAML 1.2.
fn resolve(text: &str) -> serde_json::Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => serde_json::Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => resolve_number(text).map_or_else(|| text.into(), serde_json::Value::Number),
    }
}

fn resolve_number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Into::into);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Into::into);
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let first = body.bytes().next()?;
    if !(first.is_ascii_digit() || first == b'.' && body.len() > 1) {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    let numeric = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    if !body.bytes().all(numeric) {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests;
