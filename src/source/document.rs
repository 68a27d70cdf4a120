//! From the text of one file to objects: splits it into documents and reads each on its own, so
//! that one bad document loses only itself.
//!
//! Called by `source::directory` and `wharf check`. Always holds: a document that is refused has a
//! finding with its place, and, whenever its text allows, the identity of the object it stands for.

mod identify;

use std::sync::Arc;

use k8s_openapi::{
    Metadata,
    api::{
        core::v1::{self as core, Endpoints, Namespace, Secret},
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::DeserializeOwned;

use self::identify::{Guess, guess, identity, misspelled};
use super::{
    defaults,
    object::{AnyObject, KINDS, Kind, ObjectId},
    schema::{self, Issue, IssueKind},
    validate,
};
use crate::model::{
    finding::{
        Finding, Place,
        codes::{self, invalidates},
    },
    interner::Interner,
    objects::{ObjectKey, Stored},
    own_text::OwnText,
    route::Route,
    service::Service,
    slice::EndpointSlice,
    yaml::{self, Mark, Node, Value, YamlError, YamlErrorKind},
};

/// What became of one document or list item of our kinds.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Not usable; the object it stands for, if that could be told.
    Invalid(Option<ObjectId>),
    /// Usable.
    Valid(AnyObject),
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Its documents of our kinds, in order.
    pub outcomes: Vec<Outcome>,
    /// What was found, the kinds' own validation included.
    pub findings: Vec<Finding>,
}

/// Reads the text of a file. `path` is only shown; `host_suffix` is for [APISRV-1].
#[must_use]
pub fn read(path: &str, text: &str, host_suffix: &str) -> Content {
    let mut reader = Reader {
        path: path.into(),
        host_suffix,
        texts: Interner::default(),
        content: Content::default(),
    };
    for (line, chunk) in split(text) {
        reader.chunk(line, chunk);
    }
    reader.content
}

/// The documents of a text, each with the number of its first line. A line that starts with `---`
/// and a blank begins a document wherever it stands (YAML allows it nowhere else), so this needs no
/// parser and survives any error.
#[must_use]
pub fn split(text: &str) -> Vec<(u32, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if is_marker(line, "---") && offset > start {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
        if is_marker(line, "...") {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number + 1);
        }
    }
    chunks.push((start_line, &text[start..]));
    chunks.retain(|(_, chunk)| !is_blank(chunk));
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty())
}

/// True when a chunk holds comments, directives and markers only.
fn is_blank(chunk: &str) -> bool {
    chunk.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
    })
}

struct Reader<'a> {
    path: Arc<str>,
    host_suffix: &'a str,
    texts: Interner,
    content: Content,
}

impl Reader<'_> {
    fn place(&self, line: u32, mark: Mark) -> Place {
        let line = line + mark.line.saturating_sub(1);
        Place { path: Arc::clone(&self.path), line, column: mark.column.max(1) }
    }

    fn chunk(&mut self, line: u32, chunk: &str) {
        match yaml::compose(chunk).or_else(|error| from_json(chunk).ok_or(error)) {
            Ok(Some(root)) => self.document(line, chunk, &root, 0),
            Ok(None) => {},
            Err(error) => self.unreadable(line, chunk, error),
        }
    }

    fn unreadable(&mut self, line: u32, chunk: &str, error: YamlError) {
        let id = guess(chunk);
        let code = match error.kind {
            YamlErrorKind::DuplicateKey(_) => codes::DUPLICATE_FIELD,
            YamlErrorKind::Limit(_) => codes::LIMIT,
            YamlErrorKind::NotScalarKey | YamlErrorKind::Syntax(_) => codes::SYNTAX,
        };
        if id == Guess::OtherKind {
            return;
        }
        let id = id.object();
        let mut finding = Finding::new(code, self.place(line, error.mark), error.to_string());
        finding.object = id.as_ref().map(ToString::to_string).unwrap_or_default();
        self.content.findings.push(finding);
        self.content.outcomes.push(Outcome::Invalid(id));
    }

    /// One object, or a list of them.
    fn document(&mut self, line: u32, chunk: &str, node: &Node, depth: usize) {
        let Value::Map(_) = node.value else {
            let place = self.place(line, node.mark);
            let text = "the document is not a mapping";
            self.content.findings.push(Finding::new(codes::WRONG_TYPE, place, text));
            self.content.outcomes.push(Outcome::Invalid(None));
            return;
        };
        let word = node.get("kind").and_then(Node::as_str).unwrap_or_default();
        let version = node.get("apiVersion").and_then(Node::as_str).unwrap_or_default();
        if word == "List" && version == "v1" && depth == 0 {
            if let Some(Node { value: Value::Seq(items), .. }) = node.get("items") {
                for item in items {
                    self.document(line, chunk, item, 1);
                }
            }
            return;
        }
        match KINDS.iter().find(|(_, kind, group)| *kind == word && *group == version) {
            Some((kind, _, _)) => self.object(line, chunk, node, *kind),
            None => self.unknown_kind(line, node, word, version),
        }
    }

    /// A document of no kind of ours. Where it was probably meant to be one, it counts as a bad
    /// version of that object, which then keeps serving.
    fn unknown_kind(&mut self, line: u32, node: &Node, word: &str, version: &str) {
        let Some((field, meant, text, fix)) = misspelled(node, word, version) else { return };
        let code = if word.is_empty() { codes::MISSING_FIELD } else { codes::UNKNOWN_KIND };
        let place = self.place(line, yaml::place_in(node, field));
        self.content.findings.push(Finding::new(code, place, text).with_field(field).with_fix(fix));
        let id = meant.and_then(|kind| identity(node, kind));
        self.content.outcomes.push(Outcome::Invalid(id));
    }

    fn object(&mut self, line: u32, chunk: &str, node: &Node, kind: Kind) {
        let id = identity(node, kind);
        let label = id.as_ref().map(ToString::to_string).unwrap_or_default();
        let before = self.content.findings.len();
        for issue in schema::check(node, kind) {
            let place = self.place(line, issue.mark);
            self.content.findings.push(issue_finding(issue, place).with_object(&label));
        }
        let mut made = None;
        if self.valid_since(before) {
            let origin = Origin {
                place: self.place(line, node.mark),
                text: own_text(chunk, node),
                host_suffix: self.host_suffix,
                texts: &mut self.texts,
            };
            match build(kind, node, origin) {
                Ok((object, findings)) => {
                    self.content.findings.extend(findings);
                    made = Some(object);
                },
                Err(error) => {
                    let text = format!("the object does not fit its kind: {error}");
                    let place = self.place(line, node.mark);
                    let finding = Finding::new(codes::WRONG_TYPE, place, text);
                    self.content.findings.push(finding.with_object(&label));
                },
            }
        }
        let outcome = match made {
            Some(object) if self.valid_since(before) => Outcome::Valid(object),
            _ => Outcome::Invalid(id),
        };
        self.content.outcomes.push(outcome);
    }

    fn valid_since(&self, before: usize) -> bool {
        !self.content.findings[before..].iter().any(|finding| invalidates(&finding.code))
    }
}

fn issue_finding(issue: Issue, place: Place) -> Finding {
    let name = &issue.field;
    let finding = match issue.kind {
        IssueKind::Missing => {
            Finding::new(codes::MISSING_FIELD, place, format!("{name} is missing"))
        },
        IssueKind::Unknown(closest) => {
            let finding =
                Finding::new(codes::UNKNOWN_FIELD, place, format!("the field {name} is unknown"));
            match closest {
                Some(closest) => finding.with_fix(format!("did you mean {closest}?")),
                None => finding,
            }
        },
        IssueKind::WrongType { wanted, found } => {
            let text = format!("{name} must be {wanted}, not {found}");
            let finding = Finding::new(codes::WRONG_TYPE, place, text);
            if wanted == "a string" && !matches!(found, "a mapping" | "a list") {
                finding.with_fix("put the value in quotes")
            } else {
                finding
            }
        },
    };
    finding.with_field(issue.field)
}

/// JSON that the YAML grammar does not cover (tabs, surrogate pairs): without places inside.
fn from_json(chunk: &str) -> Option<Option<Node>> {
    fn node(value: serde_json::Value, mark: Mark, end: usize) -> Node {
        let value = match value {
            serde_json::Value::Array(items) => {
                Value::Seq(items.into_iter().map(|item| node(item, mark, end)).collect())
            },
            serde_json::Value::Object(members) => Value::Map(
                members
                    .into_iter()
                    .map(|(key, value)| yaml::Entry { key, mark, node: node(value, mark, end) })
                    .collect(),
            ),
            scalar => Value::Scalar(scalar),
        };
        Node { value, mark, end }
    }
    if !chunk.trim_start().starts_with('{') {
        return None;
    }
    let value = serde_json::from_str(chunk).ok()?;
    Some(Some(node(value, Mark { line: 1, column: 1, byte: 0 }, chunk.len())))
}

/// The text of `node` alone, its first line padded to its column so that places stay true.
fn own_text(chunk: &str, node: &Node) -> OwnText {
    let text = chunk.get(node.mark.byte..node.end.max(node.mark.byte)).unwrap_or_default();
    let padding = " ".repeat(node.mark.column.saturating_sub(1) as usize);
    OwnText::from(&*format!("{padding}{text}"))
}

struct Origin<'a> {
    place: Place,
    text: OwnText,
    host_suffix: &'a str,
    texts: &'a mut Interner,
}

fn build(
    kind: Kind,
    node: &Node,
    origin: Origin<'_>,
) -> Result<(AnyObject, Vec<Finding>), serde_json::Error> {
    let suffix = origin.host_suffix;
    Ok(match kind {
        Kind::Route => {
            let stored = stored::<Route>(node, origin, |made| {
                defaults::namespace(&mut made.metadata);
                defaults::route(made, suffix);
                &made.metadata
            })?;
            let findings = validate::validate_route(&stored);
            (AnyObject::Route(stored), findings)
        },
        Kind::Service => {
            let stored = namespaced(node, origin, Service::new)?;
            let findings = validate::validate_service(&stored);
            (AnyObject::Service(stored), findings)
        },
        Kind::Endpoints => namespaced(node, origin, as_it_is::<Endpoints>)
            .map(|stored| (validate::validate_name(&stored, kind), stored))
            .map(|(findings, stored)| (AnyObject::Endpoints(stored), findings))?,
        Kind::EndpointSlice => {
            let stored = namespaced(node, origin, EndpointSlice::new)?;
            (AnyObject::EndpointSlice(Arc::clone(&stored)), validate::validate_name(&stored, kind))
        },
        Kind::Secret => {
            let stored = stored::<Secret>(node, origin, |made| {
                defaults::namespace(&mut made.metadata);
                defaults::secret(made);
                &made.metadata
            })?;
            (AnyObject::Secret(Arc::clone(&stored)), validate::validate_name(&stored, kind))
        },
        Kind::Namespace => {
            let stored = stored::<Namespace>(node, origin, |made| {
                made.metadata.namespace = None;
                defaults::namespace_name(&mut made.metadata);
                &made.metadata
            })?;
            (AnyObject::Namespace(Arc::clone(&stored)), validate::validate_name(&stored, kind))
        },
        Kind::Ingress => namespaced(node, origin, as_it_is::<Ingress>)
            .map(|stored| (validate::validate_ingress(&stored), stored))
            .map(|(findings, stored)| (AnyObject::Ingress(stored), findings))?,
        Kind::IngressClass => {
            let stored = stored::<IngressClass>(node, origin, |made| {
                made.metadata.namespace = None;
                &made.metadata
            })?;
            (AnyObject::IngressClass(Arc::clone(&stored)), validate::validate_name(&stored, kind))
        },
        Kind::Node => {
            let stored = stored::<core::Node>(node, origin, |made| {
                made.metadata.namespace = None;
                &made.metadata
            })?;
            (AnyObject::Node(Arc::clone(&stored)), validate::validate_name(&stored, kind))
        },
    })
}

/// The object of a kind of namespaces; `keep` makes what is stored of it.
fn namespaced<T: DeserializeOwned + Metadata<Ty = ObjectMeta>, U>(
    node: &Node,
    origin: Origin<'_>,
    keep: impl FnOnce(T, &mut Interner) -> U,
) -> Result<Arc<Stored<U>>, serde_json::Error> {
    let prepare = |made: &mut T| {
        defaults::namespace(made.metadata_mut());
        key(made.metadata())
    };
    kept(node, origin, prepare, keep)
}

fn stored<T: DeserializeOwned>(
    node: &Node,
    origin: Origin<'_>,
    prepare: impl FnOnce(&mut T) -> &ObjectMeta,
) -> Result<Arc<Stored<T>>, serde_json::Error> {
    kept(node, origin, |made| key(prepare(made)), as_it_is)
}

fn kept<T: DeserializeOwned, U>(
    node: &Node,
    origin: Origin<'_>,
    prepare: impl FnOnce(&mut T) -> (String, String),
    keep: impl FnOnce(T, &mut Interner) -> U,
) -> Result<Arc<Stored<U>>, serde_json::Error> {
    let Origin { place, text, texts, .. } = origin;
    let mut object: T = serde_json::from_value(node.to_json())?;
    let (namespace, name) = prepare(&mut object);
    let key = ObjectKey { namespace: texts.share(&namespace), name: name.into() };
    Ok(Arc::new(Stored { key, object: keep(object, texts), place, order: 0, text }))
}

/// Namespace and name.
fn key(metadata: &ObjectMeta) -> (String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&metadata.namespace), text(&metadata.name))
}

/// For kinds that are stored whole.
fn as_it_is<T>(object: T, _texts: &mut Interner) -> T {
    object
}

#[cfg(test)]
mod tests;
