//! Compares a document's tree with the JSON schema of its kind: unknown fields, wrong types and
//! missing fields, each with its exact place.
//!
//! Called by `source::document`. Generic: it knows no field by name, only what the schema says, and
//! understands as much of JSON Schema as the schemas of these kinds use.

use std::sync::LazyLock;

use k8s_openapi::api::{
    core::v1::{self, Endpoints, Namespace, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value as Json;

use super::object::Kind;
use crate::model::{
    route::Route,
    yaml::{Mark, Node, Value},
};

/// Issues of one document that are reported; the rest adds nothing.
const MAX_ISSUES: usize = 100;

/// One difference between a document and its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where.
    pub mark: Mark,
    /// Path of the field.
    pub field: String,
    /// What.
    pub kind: IssueKind,
}

/// Kinds of differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueKind {
    /// A required field is not there.
    Missing,
    /// The schema has no such field; the closest name that it has.
    Unknown(Option<String>),
    /// The value has another type.
    WrongType {
        /// What the schema wants, with article.
        wanted: &'static str,
        /// What is written, with article.
        found: &'static str,
    },
}

/// The JSON schema of Route, with `apiVersion`, `kind` and `status`.
#[must_use]
pub fn route_schema() -> &'static Json {
    schema(Kind::Route)
}

/// Everything in which `node` differs from the schema of `kind`.
#[must_use]
pub fn check(node: &Node, kind: Kind) -> Vec<Issue> {
    let root = schema(kind);
    let mut walk = Walk { root, issues: Vec::new() };
    walk.value(node, root, "");
    walk.issues
}

fn schema(kind: Kind) -> &'static Json {
    static SCHEMAS: LazyLock<[Json; 9]> = LazyLock::new(|| {
        [
            with_type_meta(generate::<Route>()),
            generate::<Service>(),
            generate::<Endpoints>(),
            generate::<EndpointSlice>(),
            generate::<Secret>(),
            generate::<Namespace>(),
            generate::<Ingress>(),
            generate::<IngressClass>(),
            generate::<v1::Node>(),
        ]
    });
    &SCHEMAS[kind as usize]
}

fn generate<T: JsonSchema>() -> Json {
    SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>().to_value()
}

/// `Route` is written here without these three, which any stored object may have.
fn with_type_meta(mut schema: Json) -> Json {
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert("apiVersion".into(), serde_json::json!({"type": "string"}));
        properties.insert("kind".into(), serde_json::json!({"type": "string"}));
        properties.insert("status".into(), Json::Bool(true));
    }
    schema
}

struct Walk<'a> {
    root: &'a Json,
    issues: Vec<Issue>,
}

impl<'a> Walk<'a> {
    fn report(&mut self, mark: Mark, field: &str, kind: IssueKind) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue { mark, field: field.to_owned(), kind });
        }
    }

    /// Follows references and picks the member of a choice that is not null.
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        for _ in 0..16 {
            let next = if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
                self.root.pointer(target.trim_start_matches('#'))
            } else {
                ["anyOf", "oneOf", "allOf"]
                    .iter()
                    .find_map(|word| schema.get(word).and_then(Json::as_array))
                    .and_then(|choices| {
                        choices.iter().find(|choice| choice.get("type") != Some(&"null".into()))
                    })
            };
            match next {
                Some(next) => schema = next,
                None => return schema,
            }
        }
        schema
    }

    fn value(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let schema = self.resolve(schema);
        if node.is_null() && !path.is_empty() {
            return;
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            if !is_integer(node) && node.as_str().is_none() {
                self.wrong(node, path, "a number or a string");
            }
            return;
        }
        match type_of(schema) {
            Some("object") => self.object(node, schema, path),
            Some("array") => self.array(node, schema, path),
            Some("string") if node.as_str().is_none() => self.wrong(node, path, "a string"),
            Some("integer") if !is_integer(node) => self.wrong(node, path, "a whole number"),
            Some("number") if !matches!(&node.value, Value::Scalar(Json::Number(_))) => {
                self.wrong(node, path, "a number");
            },
            Some("boolean") if !matches!(&node.value, Value::Scalar(Json::Bool(_))) => {
                self.wrong(node, path, "true or false");
            },
            _ => {},
        }
    }

    fn wrong(&mut self, node: &Node, path: &str, wanted: &'static str) {
        let found = match &node.value {
            Value::Map(_) => "a mapping",
            Value::Seq(_) => "a list",
            Value::Scalar(Json::Bool(_)) => "a bare true or false",
            Value::Scalar(Json::Number(_)) => "a number",
            Value::Scalar(Json::String(_)) => "a string",
            Value::Scalar(_) => "nothing",
        };
        self.report(node.mark, path, IssueKind::WrongType { wanted, found });
    }

    fn array(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let Value::Seq(items) = &node.value else {
            return self.wrong(node, path, "a list");
        };
        let Some(schema) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.value(item, schema, &format!("{path}[{index}]"));
        }
    }

    fn object(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let Value::Map(entries) = &node.value else {
            return self.wrong(node, path, "a mapping");
        };
        let properties = schema.get("properties").and_then(Json::as_object);
        let free = schema.get("additionalProperties");
        for entry in entries {
            if let Some(schema) = properties.and_then(|known| known.get(&entry.key)) {
                self.value(&entry.node, schema, &join(path, &entry.key));
            } else if let Some(schema) = free.filter(|free| **free != Json::Bool(false)) {
                self.value(&entry.node, schema, &format!("{path}[{}]", entry.key));
            } else if let Some(known) = properties {
                let closest = closest(&entry.key, known.keys().map(String::as_str));
                let kind = IssueKind::Unknown(closest.map(str::to_owned));
                self.report(entry.mark, &join(path, &entry.key), kind);
            }
        }
        self.required(node, schema, path);
    }

    /// Lists that are required may be left out: the API server stores them empty.
    fn required(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let names = schema.get("required").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        for name in names.iter().filter_map(Json::as_str) {
            let list = schema
                .get("properties")
                .and_then(|known| known.get(name))
                .is_some_and(|field| type_of(self.resolve(field)) == Some("array"));
            if !list && node.get(name).is_none_or(Node::is_null) {
                self.report(node.mark, &join(path, name), IssueKind::Missing);
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn type_of(schema: &Json) -> Option<&str> {
    match schema.get("type")? {
        Json::String(name) => Some(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn is_integer(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(Json::Number(number)) if number.is_i64() || number.is_u64())
}

/// The candidate that `word` was probably meant to be: the same but for case, or few edits away.
#[must_use]
pub fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| {
            let same = candidate.eq_ignore_ascii_case(word);
            (if same { 0 } else { distance(word, candidate) }, candidate)
        })
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance where swapping two neighbours counts as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let swap = usize::from(a[i] != b[j]);
            let mut best = (last[j] + swap).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::yaml::compose;

    fn issues(kind: Kind, text: &str) -> Vec<(u32, u32, String, IssueKind)> {
        let node = compose(text).expect("yaml").expect("a node");
        check(&node, kind)
            .into_iter()
            .map(|issue| (issue.mark.line, issue.mark.column, issue.field, issue.kind))
            .collect()
    }

    #[test]
    fn a_full_route_has_no_issue() {
        let text = "apiVersion: route.openshift.io/v1\nkind: Route\n\
            metadata: {name: a, labels: {x: y}, creationTimestamp: null}\n\
            spec:\n  to: {kind: Service, name: s, weight: 3}\n  port: {targetPort: 8080}\n  \
            tls: {termination: edge, insecureEdgeTerminationPolicy: Allow}\n\
            status: {ingress: [{anything: true}]}\n";
        assert_eq!(issues(Kind::Route, text), []);
    }

    #[test]
    fn differences_have_place_and_path() {
        let text = "metadata: {name: a, annotations: {x: true}}\nspec:\n  to:\n    nmae: s\n    \
            weight: \"3\"\n  pathh: /a\n  alternateBackends:\n  - name: [b]\n";
        let bare = "a bare true or false";
        let wrong = |wanted, found| IssueKind::WrongType { wanted, found };
        assert_eq!(
            issues(Kind::Route, text),
            [
                (1, 38, "metadata.annotations[x]".into(), wrong("a string", bare)),
                (4, 5, "spec.to.nmae".into(), IssueKind::Unknown(Some("name".into()))),
                (5, 13, "spec.to.weight".into(), wrong("a whole number", "a string")),
                (4, 5, "spec.to.name".into(), IssueKind::Missing),
                (6, 3, "spec.pathh".into(), IssueKind::Unknown(Some("path".into()))),
                (8, 11, "spec.alternateBackends[0].name".into(), wrong("a string", "a list")),
            ]
        );
    }

    #[test]
    fn library_kinds_are_checked_the_same_way() {
        let text =
            "metadata: {name: a}\nspec: {ports: [{port: 80, targetPrt: 1}], clusterIP: None}\n";
        let found = issues(Kind::Service, text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].2, "spec.ports[0].targetPrt");
        let slice = "metadata: {name: a}\naddressType: IPv4\n";
        assert_eq!(issues(Kind::EndpointSlice, slice), []);
    }

    #[test]
    fn the_closest_name_is_near_or_none() {
        let names = ["timeout", "timeout-tunnel", "balance"];
        let of = |word| closest(word, names.into_iter());
        assert_eq!(of("timeut"), Some("timeout"));
        assert_eq!(of("tiemout"), Some("timeout"));
        assert_eq!(of("BALANCE"), Some("balance"));
        assert_eq!(of("weight"), None);
    }
}
