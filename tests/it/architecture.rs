//! Holds the source tree to the layer table of `src/lib.rs` and to the house rules that a reader
//! can check by eye: a head on every file, its length, where `unsafe` and the environment may be.
//!
//! The table is read from `src/lib.rs` itself, so the page and the check cannot drift apart. Code
//! below a `#[cfg(test)]` may use any layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const MAX_LINES: usize = 600;

/// A file of `src/`.
struct Source {
    /// Path below `src/`, such as `routing/table.rs`.
    path: String,
    text: String,
}

impl Source {
    /// Names of the modules from the crate's root: `["routing", "table"]`.
    fn modules(&self) -> Vec<&str> {
        self.path.trim_end_matches(".rs").split('/').collect()
    }

    fn is_root(&self) -> bool {
        self.path == "lib.rs" || self.path == "main.rs"
    }

    fn is_test(&self) -> bool {
        self.modules().contains(&"tests")
    }

    /// The text without line comments.
    fn code(&self) -> String {
        self.text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
            String::new(),
            |mut code, line| {
                code.push_str(line.split(" // ").next().unwrap_or(line));
                code.push('\n');
                code
            },
        )
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                let below = path.strip_prefix(root()).expect("the walk began there");
                found.push(Source { path: below.to_str().expect("ASCII names").to_owned(), text });
            }
        }
    }
    assert!(found.len() > 20, "only {} files found", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What the table says of one layer.
struct Layer {
    modules: Vec<String>,
    may_use: BTreeSet<usize>,
}

/// Layers by number, from the rows `//! | L2 engines | [`a`], [`b`] | L1, L0 |`.
fn layers(lib: &str) -> BTreeMap<usize, Layer> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | L"));
    let layers: BTreeMap<usize, Layer> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let number = leading_number(cells[0]).expect("a layer has a number");
            let modules = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (number, Layer { modules, may_use: allowed(cells[2], number) })
        })
        .collect();
    assert_eq!(layers.len(), 8, "L0 to L7");
    layers
}

/// Layers that a cell such as `L1, L0` or `L3 to L0` or `all` names, and the layer itself.
fn allowed(cell: &str, own: usize) -> BTreeSet<usize> {
    let named: Vec<usize> = cell.split('L').skip(1).filter_map(leading_number).collect();
    let mut set: BTreeSet<usize> = match named[..] {
        [high, low] if cell.contains(" to ") => (low..=high).collect(),
        _ if cell.trim() == "all" => (0..=own).collect(),
        _ => named.into_iter().collect(),
    };
    set.insert(own);
    set
}

fn leading_number(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn leading_word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// Ends of every `needle` in `code` that no word runs into.
fn ends_of<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle)
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(|(at, found)| at + found.len())
}

/// First names behind a path prefix that ends at `rest`: one name, or each of a `{..}` group.
fn names(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else { return vec![leading_word(rest)] };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(leading_word(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            },
            _ => {},
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Top modules that `source` names, by `crate::` or by enough `super::`.
fn uses(source: &Source) -> BTreeSet<String> {
    let code = source.code();
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let supers = "super::".repeat(source.modules().len());
    ["crate::", &supers]
        .into_iter()
        .flat_map(|prefix| ends_of(code, prefix).flat_map(|at| names(&code[at..])))
        .map(str::to_owned)
        .collect()
}

fn layer_of(layers: &BTreeMap<usize, Layer>, module: &str) -> Option<usize> {
    let mut found = layers.iter().filter(|(_, layer)| layer.modules.iter().any(|m| m == module));
    found.next().map(|(number, _)| *number)
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

#[test]
fn every_module_stands_in_one_row_of_the_layer_table() {
    let lib = fs::read_to_string(root().join("lib.rs")).expect("lib.rs is readable");
    let layers = layers(&lib);
    let mut listed: Vec<&str> =
        layers.values().flat_map(|layer| layer.modules.iter().map(String::as_str)).collect();
    let mut declared: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .map(|rest| rest.trim_end_matches(';'))
        .collect();
    listed.sort_unstable();
    declared.sort_unstable();
    assert_eq!(listed, declared);
}

#[test]
fn modules_use_only_what_the_layer_table_allows() {
    let lib = fs::read_to_string(root().join("lib.rs")).expect("lib.rs is readable");
    let layers = layers(&lib);
    let mut faults = Vec::new();
    let mut edges = 0;
    for source in sources().iter().filter(|source| !source.is_root() && !source.is_test()) {
        let module = source.modules()[0];
        let from = layer_of(&layers, module).expect("the table is complete");
        for used in uses(source).iter().filter(|used| *used != module) {
            let Some(to) = layer_of(&layers, used) else { continue };
            edges += 1;
            if !layers[&from].may_use.contains(&to) {
                faults.push(format!("src/{}: L{from} uses {used}, which is L{to}", source.path));
            }
        }
    }
    assert!(edges > 10, "only {edges} edges found: the search is broken");
    assert_none(&faults, "dependencies point down (src/lib.rs)");
}

#[test]
fn every_file_has_a_head_and_a_bounded_length() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            faults.push(format!("src/{}: does not begin with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("src/{}: {lines} lines, {MAX_LINES} at most", source.path));
        }
    }
    assert_none(&faults, "each file says what it is and fits the eye");
}

#[test]
fn unsafe_code_stays_in_net() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.modules()[0] != "net") {
        let code = source.code();
        if ends_of(&code, "unsafe").any(|at| !code[at..].starts_with(is_word)) {
            faults.push(format!("src/{}: has unsafe code", source.path));
        }
    }
    assert_none(&faults, "only src/net may hold unsafe code");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("settings/env")) {
        let code = source.code();
        if ends_of(&code, "std::").flat_map(|at| names(&code[at..])).any(|name| name == "env") {
            faults.push(format!("src/{}: uses std::env", source.path));
        }
    }
    assert_none(&faults, "only src/settings/env.rs reads the environment");
}

#[test]
fn the_search_sees_groups_supers_and_the_table_as_written() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let source = file(
        "zone/build.rs",
        "//! Uses crate::nothing.\nuse crate::{\n    model::{a, b},\n    stats, tls::X,\n};\n\
         use super::super::proxy;\nuse super::near;\nfn f() { my_crate::no(); crate::cli::run() }\n\
         #[cfg(test)]\nmod tests { use crate::app; }\n",
    );
    let expected = ["cli", "model", "proxy", "stats", "tls"].map(str::to_owned);
    assert_eq!(uses(&source), BTreeSet::from(expected));
    assert_eq!(allowed(" L3 to L0 ", 5), BTreeSet::from([0, 1, 2, 3, 5]));
    assert_eq!(allowed(" L1, L0 ", 2), BTreeSet::from([0, 1, 2]));
    assert_eq!(allowed(" all ", 2), BTreeSet::from([0, 1, 2]));
}
