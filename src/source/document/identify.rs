//! Which object a document stands for, as far as a damaged or misspelled one still tells.
//!
//! Called by `source::document`. When in doubt the answer is "unknown", which keeps more of the
//! last valid objects, never fewer.

use crate::{
    model::{objects::ObjectKey, yaml::Node},
    source::{
        defaults,
        object::{KINDS, Kind, ObjectId},
        schema,
    },
};

/// Kind, namespace and name as far as the tree has them.
pub(super) fn identity(node: &Node, kind: Kind) -> Option<ObjectId> {
    let metadata = node.get("metadata")?;
    let name = metadata.get("name").and_then(Node::as_str)?;
    let namespace = match kind {
        _ if !kind.is_namespaced() => "",
        _ => metadata
            .get("namespace")
            .and_then(Node::as_str)
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(defaults::DEFAULT_NAMESPACE),
    };
    Some(ObjectId { kind, key: ObjectKey::new(namespace, name) })
}

/// What a document that cannot be parsed probably stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guess {
    Object(ObjectId),
    OtherKind,
    Unknown,
}

impl Guess {
    pub(super) fn object(self) -> Option<ObjectId> {
        match self {
            Self::Object(id) => Some(id),
            Self::OtherKind | Self::Unknown => None,
        }
    }
}

/// Reads `kind`, `metadata.name` and `metadata.namespace` line by line. Only block style is
/// understood; anything else is [`Guess::Unknown`], which keeps more objects, never fewer.
pub(super) fn guess(chunk: &str) -> Guess {
    let (mut kind, mut name, mut namespace) = (None, None, None);
    let mut inside = None;
    for line in chunk.lines() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        if indent == 0 {
            inside = (trimmed.trim_end() == "metadata:").then_some(0);
            kind = scalar_of(trimmed, "kind").or(kind);
        } else if let Some(first) = &mut inside {
            if *first == 0 {
                *first = indent;
            }
            if *first == indent {
                name = scalar_of(trimmed, "name").or(name);
                namespace = scalar_of(trimmed, "namespace").or(namespace);
            }
        }
    }
    let Some(kind) = kind else { return Guess::Unknown };
    let words = KINDS.iter().map(|(_, word, _)| *word);
    let word = kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !word
        || (!words.clone().any(|known| known == kind) && schema::closest(kind, words).is_some())
    {
        return Guess::Unknown;
    }
    let known = KINDS.iter().find(|(_, word, _)| *word == kind);
    match (known, name) {
        (None, _) if kind == "List" => Guess::Unknown,
        (None, _) => Guess::OtherKind,
        (Some(_), None) => Guess::Unknown,
        (Some((kind, _, _)), Some(name)) if !kind.is_namespaced() => {
            Guess::Object(ObjectId { kind: *kind, key: ObjectKey::new("", name) })
        },
        (Some((kind, _, _)), Some(name)) => {
            let namespace = namespace.unwrap_or(defaults::DEFAULT_NAMESPACE);
            Guess::Object(ObjectId { kind: *kind, key: ObjectKey::new(namespace, name) })
        },
    }
}

fn scalar_of<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(key)?.strip_prefix(':')?;
    let rest = rest.split(" #").next()?.trim();
    let value = rest.trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

/// The field at fault, the kind that was meant, what is wrong and how to mend it; `None` for a
/// document that has nothing to do with wharf.
pub(super) fn misspelled(
    node: &Node,
    word: &str,
    version: &str,
) -> Option<(&'static str, Option<Kind>, String, String)> {
    if word.is_empty() {
        let object = node.get("metadata").is_some() && node.get("spec").is_some();
        return object.then(|| ("kind", None, "the document has no kind".into(), String::new()));
    }
    if let Some((kind, _, group)) = KINDS.iter().find(|(_, kind, _)| *kind == word) {
        let near = !version.contains('/')
            || version.split('/').next() == group.split('/').next()
            || schema::closest(version, [*group].into_iter()).is_some();
        let text = format!("{word} has no apiVersion \"{version}\", the document is ignored");
        return near
            .then(|| ("apiVersion", Some(*kind), text, format!("write apiVersion: {group}")));
    }
    let words = KINDS.iter().map(|(_, kind, _)| *kind).chain(["List"]);
    let meant = schema::closest(word, words)?;
    let kind = KINDS.iter().find(|(_, known, _)| *known == meant).map(|(kind, ..)| *kind);
    let text = format!("the kind \"{word}\" is unknown, the document is ignored");
    Some(("kind", kind, text, format!("did you mean {meant}?")))
}
