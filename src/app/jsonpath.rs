//! The JSONPath templates of `kubectl get -o jsonpath=...`, as far as people use them for Routes.
//!
//! Text and `{...}` with `.name`, `['name']`, `..name`, `[*]`, `[0]`, `[-1]`, `[0:2]`, `[0,2]`,
//! `[?(@.type=="Admitted")]`, `"text"`, and `{range ...}...{end}`. What is not there is empty, as
//! with kubectl. Pure; parsed once, before anything is asked.

mod parse;

use std::{fmt, str::FromStr};

use serde_json::Value;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Part>);

/// Why a template cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at} of the template")]
pub struct TemplateError {
    problem: &'static str,
    at: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Self>),
}

type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `$`
    Root,
    /// `.name`
    Member(String),
    /// `..name`: this member of everything below.
    Descend(String),
    /// `[*]` and `.*`
    All,
    /// `[0,-1]`
    Indexes(Vec<i64>),
    /// `[0:2]`
    Slice(Option<i64>, Option<i64>),
    /// `[?(...)]`
    Filter(Box<Filter>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    compare: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl FromStr for Template {
    type Err = TemplateError;

    /// A text without any brace is one expression, as kubectl takes it.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let wrapped;
        let text = if text.contains('{') {
            text
        } else {
            wrapped = format!("{{{text}}}");
            &wrapped
        };
        parse::template(text).map(Self)
    }
}

impl Template {
    /// The text for `root`.
    #[must_use]
    pub fn render(&self, root: &Value) -> String {
        let mut out = String::new();
        write_parts(&self.0, root, root, &mut out);
        out
    }
}

/// Paths begin at `here`, or with a `$` at `root`, whatever range a part stands in.
fn write_parts(parts: &[Part], root: &Value, here: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = select(path, here, root).into_iter().map(text).collect();
                out.push_str(&found.join(" "));
            },
            Part::Range(path, body) => {
                for item in select(path, here, root) {
                    write_parts(body, root, item, out);
                }
            },
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Everything that `path` leads to from `from`.
fn select<'v>(path: &[Step], from: &'v Value, root: &'v Value) -> Vec<&'v Value> {
    path.iter().fold(vec![from], |found, step| {
        found.into_iter().flat_map(|value| take(step, value, root)).collect()
    })
}

fn take<'v>(step: &Step, value: &'v Value, root: &'v Value) -> Vec<&'v Value> {
    match step {
        Step::Root => vec![root],
        Step::Member(name) => value.get(name).into_iter().collect(),
        Step::Descend(name) => {
            let mut found = Vec::new();
            descend(name, value, &mut found);
            found
        },
        Step::All => children(value),
        Step::Indexes(indexes) => {
            let items = value.as_array().map_or(&[][..], Vec::as_slice);
            indexes.iter().filter_map(|index| items.get(position(*index, items.len())?)).collect()
        },
        Step::Slice(from, to) => {
            let items = value.as_array().map_or(&[][..], Vec::as_slice);
            let bound = |at: Option<i64>, otherwise| match at {
                None => otherwise,
                Some(at) if at < 0 => position(at, items.len()).unwrap_or(0),
                Some(at) => usize::try_from(at).map_or(items.len(), |at| at.min(items.len())),
            };
            let (from, to) = (bound(*from, 0), bound(*to, items.len()));
            items.get(from..to).unwrap_or_default().iter().collect()
        },
        Step::Filter(filter) => {
            children(value).into_iter().filter(|item| filter.holds(item, root)).collect()
        },
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'v>(name: &str, value: &'v Value, found: &mut Vec<&'v Value>) {
    found.extend(value.get(name));
    for child in children(value) {
        descend(name, child, found);
    }
}

/// Negative indexes count from the end.
fn position(index: i64, len: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(index.checked_neg()?).ok()?),
    }
}

impl Filter {
    fn holds(&self, item: &Value, root: &Value) -> bool {
        let left = self.left.values(item, root);
        let Some((comparison, right)) = &self.compare else { return !left.is_empty() };
        let right = right.values(item, root);
        // What is not there passes no comparison, as with kubectl.
        match (left.first(), right.first()) {
            (Some(left), Some(right)) => comparison.holds(left, right),
            _ => false,
        }
    }
}

impl Operand {
    fn values<'v>(&'v self, item: &'v Value, root: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Path(path) => select(path, item, root),
            Self::Literal(value) => vec![value],
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => {
                a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
            },
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::Different => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSONPath template")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str) -> String {
        let root = json!({
            "kind": "List",
            "items": [
                {
                    "metadata": {"name": "web", "annotations": {"a.b/timeout": "5s"}},
                    "spec": {"host": "a.b", "to": {"weight": 90}},
                    "status": {"ingress": [{"conditions": [
                        {"type": "Other", "status": "False"},
                        {"type": "Admitted", "status": "True"},
                    ]}]},
                },
                {"metadata": {"name": "api"}, "spec": {"host": "c.d", "to": {"weight": 10}}},
            ],
        });
        template.parse::<Template>().unwrap_or_else(|e| panic!("{template}: {e}")).render(&root)
    }

    /// As `kubectl get -o jsonpath` prints it.
    #[test]
    fn templates_give_what_kubectl_gives() {
        for (template, wanted) in [
            ("{.kind}", "List"),
            (".kind", "List"),
            ("kind", "List"),
            ("{$.kind}", "List"),
            ("{.items[*].metadata.name}", "web api"),
            ("{.items[0].spec.host}", "a.b"),
            ("{.items[-1].spec.host}", "c.d"),
            ("{.items[5].spec.host}", ""),
            ("{.items[0:1].spec.host}{.items[1:].spec.host}", "a.bc.d"),
            ("{.items[1,0].spec.host}", "c.d a.b"),
            ("{.items[0]['metadata'].name}", "web"),
            ("{.items[*].metadata.annotations.a\\.b/timeout}", "5s"),
            ("{.items[0].metadata.annotations['a.b/timeout']}", "5s"),
            ("{..host}", "a.b c.d"),
            ("{.items[*].spec.to.weight}", "90 10"),
            ("{.items[1].spec.to}", "{\"weight\":10}"),
            ("{.items[*].status.ingress[*].conditions[?(@.type==\"Admitted\")].status}", "True"),
            ("{.items[?(@.spec.to.weight>=50)].metadata.name}", "web"),
            ("{.items[?(@.spec.to.weight < 50)].metadata.name}", "api"),
            ("{.items[?(@.metadata.name!='web')].metadata.name}", "api"),
            ("{.items[?(@.status)].metadata.name}", "web"),
            ("{.items[?(@.status.phase!='x')].metadata.name}", ""),
            (
                "{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.host}{'\\n'}{end}done",
                "web\ta.b\napi\tc.d\ndone",
            ),
            ("{range .items[*]}{.spec.host} of {$.kind} {end}", "a.b of List c.d of List "),
            ("a {.nothing.at.all}b", "a b"),
        ] {
            assert_eq!(render(template), wanted, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        for (template, at) in [
            ("{.a", 4),
            ("{.items[}", 9),
            ("{.items[x]}", 9),
            ("{range .items[*]}{.a}", 22),
            ("{end}", 5),
            ("{.items[?(@.a==)]}", 16),
            ("{'a}", 5),
            ("{.a..}", 6),
        ] {
            let error = template.parse::<Template>().unwrap_err();
            assert_eq!(error.at, at, "{template}: {error}");
        }
        let deep = "{range .a}".repeat(100);
        assert!(deep.parse::<Template>().is_err());
    }
}
