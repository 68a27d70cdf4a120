//! Compression of responses, as data [COMP-1].
//!
//! Filled by `settings::env`; `headers::compression` decides by it, `proxy::compress` does it.

/// Which responses are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionSettings {
    /// Any at all. ROUTER_ENABLE_COMPRESSION.
    pub enabled: bool,
    /// What the `Content-Type` begins with, lower case. ROUTER_COMPRESSION_MIME.
    pub types: Vec<String>,
    /// Responses that one worker compresses at once, each with some 300 KiB of memory; more are sent
    /// as they are. WHARF_COMPRESSION_STREAMS.
    pub streams: usize,
}

impl Default for CompressionSettings {
    fn default() -> Self {
        let types = ["text/html", "text/plain", "text/css"].map(str::to_owned).to_vec();
        Self { enabled: false, types, streams: 256 }
    }
}

impl CompressionSettings {
    /// The types as [`mime_types`] reads them.
    #[must_use]
    pub fn words(&self) -> String {
        let word = |entry: &String| match entry.contains([' ', '\t', '"', '\'', '\\']) {
            true => format!("\"{}\"", entry.replace('\\', "\\\\").replace('"', "\\\"")),
            false => entry.clone(),
        };
        self.types.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

/// The entries of ROUTER_COMPRESSION_MIME in lower case: words as HAProxy's configuration has them,
/// separated by blanks. Inside double quotes a backslash protects the character behind it, inside
/// single quotes nothing is special, outside of both a backslash protects as well. `None` when a quote
/// is not closed.
#[must_use]
pub fn mime_types(text: &str) -> Option<Vec<String>> {
    let mut types = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (None, ' ' | '\t') => types.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(next);
                word.get_or_insert_default();
            },
            (Some(open), _) if next == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(rest.next()),
            _ => word.get_or_insert_default().push(next.to_ascii_lowercase()),
        }
    }
    types.extend(word);
    types.retain(|entry| !entry.is_empty());
    quote.is_none().then_some(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [COMP-1]: the grammar with quoted entries.
    #[test]
    fn comp_1_entries_are_words_and_may_be_quoted() {
        let rows: [(&str, Option<&[&str]>); 9] = [
            ("", Some(&[])),
            ("text/html  Application/JSON\t", Some(&["text/html", "application/json"])),
            (r#""text/html; charset=utf-8" a/b"#, Some(&["text/html; charset=utf-8", "a/b"])),
            (r#""a/b;x=\"y z\"""#, Some(&["a/b;x=\"y z\""])),
            (r"'a/b;x=\'", Some(&[r"a/b;x=\"])),
            (r"a/b;\ c", Some(&["a/b; c"])),
            (r#"te"xt/h"'tml'"#, Some(&["text/html"])),
            ("\"\" a", Some(&["a"])),
            ("\"text/html", None),
        ];
        for (text, types) in rows {
            let types = types.map(|all| all.iter().map(ToString::to_string).collect());
            let found = mime_types(text);
            assert_eq!(found, types, "{text}");
            if let Some(types) = found {
                let settings = CompressionSettings { types, ..CompressionSettings::default() };
                assert_eq!(mime_types(&settings.words()), Some(settings.types), "{text}");
            }
        }
    }
}
