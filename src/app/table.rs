//! Tables as `oc get` and `kubectl get` print them, and text that is safe for a terminal.

use std::fmt::Write;

/// Text without control characters (S-94): a name or message from a manifest or a server must not
/// move the cursor or colour the screen.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// Rows under `header`; columns are three spaces apart and at least six wide, the last is not
/// padded.
#[must_use]
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = std::iter::once(header.iter().map(|cell| clean(cell)).collect())
        .chain(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()))
        .collect();
    let mut widths = vec![0; header.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3).max(6);
        }
    }
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == row.len() { 0 } else { widths[column] };
            // Writing into a String does not fail.
            let _ = write!(out, "{cell:width$}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(render(&["X", "NAME"], &rows), "X        NAME\na        b\nlonger   \n");
    }

    #[test]
    fn escapes_do_not_reach_the_terminal_s_94() {
        assert_eq!(clean("a\u{1b}[31mb\n\u{9b}2Jc\u{7f}"), "a[31mb2Jc");
    }
}
