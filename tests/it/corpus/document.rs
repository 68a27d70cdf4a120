//! Manifest files: any text is read to its end, and what is found has its place in it.

use wharf::source::document::{read, split};

/// Checks the documents and findings of a file with `data` in it.
pub(super) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // To YAML a carriage return alone ends a line as well.
    let ends = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let lines = u32::try_from(ends).unwrap_or(u32::MAX) + 1;
    let content = read("file.yaml", &text, "apps.example.com");
    for finding in &content.findings {
        assert!(finding.place.line <= lines, "{finding:?} of {lines} lines");
        assert!(!finding.text.is_empty() && finding.text.len() < 10_000);
    }
    let chunks = split(&text);
    let mut after = 0;
    for (line, chunk) in chunks {
        assert!(line > after && text.contains(chunk), "line {line} after {after}");
        after = line;
    }
}
