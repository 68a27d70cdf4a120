//! `wharf check` and `wharf explain CODE`: every finding of some manifests, in one run.
//!
//! Hermetic: reads the given files and folders, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Write,
    path::Path,
};

use anyhow::Context;

use crate::{
    model::{
        finding::{Finding, Severity, codes},
        objects::Objects,
    },
    source::{directory::Directory, schema, validate::cross_check},
};

/// Largest file whose lines are shown.
const MAX_SNIPPET_BYTES: u64 = 4 << 20;
/// Characters of a line that are shown.
const MAX_SNIPPET_COLUMNS: usize = 160;

/// Prints every finding about the manifests in `directory`, which is scanned, sorted by place, then a summary; true when
/// there were errors. `compile_findings` adds what only a compile of all objects can tell.
///
/// # Errors
/// When a path does not exist or `out` cannot be written.
pub fn run(
    directory: &Directory,
    compile_findings: impl Fn(&Objects) -> Vec<Finding>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let objects = directory.objects();
    let mut findings = directory.findings();
    findings.extend(cross_check(&objects));
    findings.extend(compile_findings(&objects));
    findings.sort_by(|a, b| (&a.place, a.code, &a.field).cmp(&(&b.place, b.code, &b.field)));
    findings.dedup();
    let mut sources = Sources::default();
    for finding in &findings {
        print(finding, &mut sources, out).context("writing the findings")?;
    }
    let summary = summary(&objects, &findings, directory.file_count());
    writeln!(out, "{summary}").context("writing the summary")?;
    Ok(findings.iter().any(Finding::is_error))
}

/// Prints the JSON schema of Route.
///
/// # Errors
/// When `out` cannot be written.
pub fn print_schema(out: &mut impl Write) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(schema::route_schema())?;
    writeln!(out, "{text}").context("writing the schema")
}

/// The page about a finding code, such as `WH1001`; `None` when there is no such code.
#[must_use]
pub fn explain_code(code: &str) -> Option<String> {
    let code = codes::find(code)?;
    Some(format!("{code} ({}): {}\n\n{}\n", code.severity(), code.title, code.page))
}

/// `998 routes ok, 1 error, 1 warning in 1000 files`
fn summary(objects: &Objects, findings: &[Finding], files: usize) -> String {
    let broken: BTreeSet<&str> =
        findings.iter().filter(|f| f.is_error()).map(|f| f.object.as_str()).collect();
    let good = objects
        .routes
        .iter()
        .filter(|route| !broken.contains(format!("Route {}", route.key).as_str()))
        .count();
    let mut by_severity: BTreeMap<Severity, usize> = BTreeMap::new();
    for finding in findings {
        *by_severity.entry(finding.code.severity()).or_default() += 1;
    }
    let count = |severity| by_severity.get(&severity).copied().unwrap_or_default();
    format!(
        "{} ok, {}, {} in {}",
        plural(good, "route"),
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(files, "file"),
    )
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn print(finding: &Finding, sources: &mut Sources, out: &mut impl Write) -> std::io::Result<()> {
    let line = Finding { fix: String::new(), ..finding.clone() };
    writeln!(out, "{line}")?;
    let secret = finding.object.starts_with("Secret ");
    if let Some(text) = sources.line(&finding.place.path, finding.place.line)
        && !secret
        && !text.contains("PRIVATE KEY")
    {
        let number = finding.place.line.to_string();
        let gap = " ".repeat(number.len());
        let column = finding.place.column.max(1) as usize - 1;
        writeln!(out, "  {gap} |")?;
        writeln!(out, "  {number} | {text}")?;
        if column < MAX_SNIPPET_COLUMNS {
            writeln!(out, "  {gap} | {}{}", " ".repeat(column), "^".repeat(width(text, column)))?;
        }
    }
    if !finding.fix.is_empty() {
        writeln!(out, "  = help: {}", finding.fix)?;
    }
    Ok(())
}

/// Length of the word that starts at `column`.
fn width(line: &str, column: usize) -> usize {
    let word = line.chars().skip(column).take_while(|c| !c.is_whitespace() && *c != ':');
    word.count().max(1)
}

/// Lines of the files that findings name.
#[derive(Default)]
struct Sources(HashMap<String, Vec<String>>);

impl Sources {
    fn line(&mut self, path: &str, line: u32) -> Option<&str> {
        let index = (line as usize).checked_sub(1)?;
        let lines = self.0.entry(path.to_owned()).or_insert_with(|| read_lines(Path::new(path)));
        lines.get(index).map(String::as_str)
    }
}

/// The lines of a file as they are shown: cut, and without control characters, which could change
/// what a terminal shows.
fn read_lines(path: &Path) -> Vec<String> {
    let readable = fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_SNIPPET_BYTES);
    let text = if readable { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.chars().take(MAX_SNIPPET_COLUMNS).map(shown).collect())
        .collect()
}

#[cfg(test)]
mod tests;
