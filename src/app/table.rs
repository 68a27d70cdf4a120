//! Columns as `oc` and `kubectl` print them, and text that is safe for a terminal.
//!
//! [`align`] is the rule of Go's text/tabwriter, which both use: cells end with a tab, and a column is
//! as wide as its widest cell among lines that follow each other and have that cell.

use std::fmt::Write;

/// Text without control characters (S-94): a name or message from a manifest or a server must not
/// move the cursor or colour the screen.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// What stands between columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    /// Spaces.
    Spaces,
    /// Tabs, to the next multiple of eight.
    Tabs,
}

/// How columns are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Least width of a column.
    pub min: usize,
    /// Added to the widest cell.
    pub padding: usize,
    /// What is added.
    pub pad: Pad,
}

/// Tables of `get`.
pub const GET: Layout = Layout { min: 6, padding: 3, pad: Pad::Spaces };
/// `oc describe` of a Route.
pub const OC_DESCRIBE: Layout = Layout { min: 0, padding: 1, pad: Pad::Tabs };
/// `kubectl describe`.
pub const KUBECTL_DESCRIBE: Layout = Layout { min: 0, padding: 2, pad: Pad::Spaces };

/// Width of a tab.
const TAB: usize = 8;

/// Rows under `header`, if there is one; the last column is not padded.
#[must_use]
pub fn render(header: Option<&[&str]>, rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(clean).collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    };
    if let Some(header) = header {
        line(&mut header.iter().copied());
    }
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    align(&text, GET)
}

/// Lines whose cells end with tabs, in columns.
#[must_use]
pub fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    block(&lines, &mut Vec::new(), layout, &mut out);
    out
}

/// Writes `lines`, the first columns of which have `widths`. It calls itself once for each column.
fn block(lines: &[Vec<&str>], widths: &mut Vec<usize>, layout: Layout, out: &mut String) {
    let column = widths.len();
    // The last cell of a line is not ended by a tab and belongs to no column.
    let has_cell = |line: &&Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while let Some(begin) = rest.iter().position(|line| has_cell(&line)) {
        let (before, from) = rest.split_at(begin);
        write_lines(before, widths, layout, out);
        let length = from.iter().take_while(has_cell).count();
        let (inside, behind) = from.split_at(length);
        let cells = inside.iter().map(|line| line[column].chars().count() + layout.padding);
        widths.push(cells.max().unwrap_or(0).max(layout.min));
        block(inside, widths, layout, out);
        widths.pop();
        rest = behind;
    }
    write_lines(rest, widths, layout, out);
}

fn write_lines(lines: &[Vec<&str>], widths: &[usize], layout: Layout, out: &mut String) {
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            let Some(width) = widths.get(column) else { continue };
            let text = cell.chars().count();
            match layout.pad {
                Pad::Spaces => {
                    // Writing into a String does not fail.
                    let _ = write!(out, "{:1$}", "", width.saturating_sub(text));
                },
                Pad::Tabs => {
                    let missing = width.next_multiple_of(TAB).saturating_sub(text);
                    out.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB)));
                },
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["longer".to_owned(), String::new()]];
        let table = render(Some(&["X", "NAME"]), &rows);
        assert_eq!(table, "X        NAME\na        b\nlonger   \n");
        assert_eq!(render(None, &rows[..1]), "a     b\n");
    }

    /// The figures of Go's text/tabwriter for the same lines.
    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        let text = "Name:\tweb\nRequested Host:\ta.b\n\t  exposed\n\nService:\tx\nWeight:\t1\n";
        assert_eq!(
            align(text, OC_DESCRIBE),
            "Name:\t\tweb\nRequested Host:\ta.b\n\t\t  exposed\n\nService:\tx\nWeight:\t\t1\n"
        );
        assert_eq!(
            align("Name:\tweb\nLongest:\ta\tb\nc:\tdd\te\n", KUBECTL_DESCRIBE),
            "Name:     web\nLongest:  a   b\nc:        dd  e\n"
        );
        assert_eq!(align("12345678\tx\n", OC_DESCRIBE), "12345678\tx\n");
        assert_eq!(align("1234567\tx\n", OC_DESCRIBE), "1234567\tx\n");
    }

    #[test]
    fn escapes_do_not_reach_the_terminal_s_94() {
        assert_eq!(clean("a\u{1b}[31mb\n\u{9b}2Jc\u{7f}"), "a[31mb2Jc");
    }
}
