//! The formats of `-o`, and JSON and YAML as `oc` prints them: keys sorted, JSON indented by four.

use std::str::FromStr;

use serde::Serialize as _;
use serde_json::{Value, ser::PrettyFormatter};

use super::jsonpath::{Template, TemplateError};

/// How something is printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Output {
    /// A table.
    #[default]
    Table,
    /// A table with more columns, where there are more.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `kind/name`, a line each.
    Name,
    /// What a template picks.
    JsonPath(Template),
}

/// Why a word behind `-o` means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// No such format.
    #[error("expected table, wide, json, yaml, name or jsonpath=TEMPLATE")]
    Unknown,
    /// The template cannot be parsed.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl FromStr for Output {
    type Err = OutputError;

    fn from_str(text: &str) -> Result<Self, OutputError> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            _ => {
                let template = text.strip_prefix("jsonpath=").ok_or(OutputError::Unknown)?;
                Self::JsonPath(template.parse()?)
            },
        })
    }
}

/// Pretty JSON. The control characters that JSON may hold raw stand only inside strings, where an
/// escape means the same (S-94).
pub fn json(value: &Value) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    let text = String::from_utf8_lossy(&text);
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\u{7f}'..='\u{9f}' => {
                out.push_str("\\u00");
                out.extend(char::from_digit(u32::from(character) >> 4, 16));
                out.extend(char::from_digit(u32::from(character) & 15, 16));
            },
            _ => out.push(character),
        }
    }
    out.push('\n');
    Ok(out)
}

/// YAML without control characters (S-94).
pub fn yaml(value: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let text = serde_saphyr::to_string(value)?;
    Ok(text.chars().filter(|character| *character == '\n' || !character.is_control()).collect())
}

/// What a template asked for: line ends and tabs are part of it, other control characters are not.
#[must_use]
pub fn picked(template: &Template, value: &Value) -> String {
    let text = template.render(value);
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_those_of_oc() {
        assert_eq!("wide".parse(), Ok(Output::Wide));
        assert_eq!("name".parse(), Ok(Output::Name));
        assert!(matches!("jsonpath={.a}".parse(), Ok(Output::JsonPath(_))));
        assert_eq!("xml".parse::<Output>(), Err(OutputError::Unknown));
        assert!(matches!("jsonpath={".parse::<Output>(), Err(OutputError::Template(_))));
    }

    #[test]
    fn escapes_do_not_reach_the_terminal_s_94() {
        let value = json!("a\u{1b}b\u{7f}\u{9b}c");
        let text = json(&value).unwrap();
        assert_eq!(text, "\"a\\u001bb\\u007f\\u009bc\"\n");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let template = "{.a}{\"\\n\"}".parse().unwrap();
        assert_eq!(picked(&template, &json!({"a": "x\u{1b}[2J"})), "x[2J\n");
    }

    #[test]
    fn json_is_indented_as_oc_does_it() {
        let text = json(&json!({"b": [1], "a": {}})).unwrap();
        assert_eq!(text, "{\n    \"a\": {},\n    \"b\": [\n        1\n    ]\n}\n");
    }
}
