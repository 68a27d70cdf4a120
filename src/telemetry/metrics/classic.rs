//! The text format of Prometheus 0.0.4, out of OpenMetrics.
//!
//! The two differ in the lines about families alone: OpenMetrics names a counter without its `_total`,
//! has other words for two types, and marks the end.

use std::fmt::Write as _;

/// `open`, a whole text in OpenMetrics, in the older format.
pub(super) fn of(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Its name depends on the type, which comes next.
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // What OpenMetrics has no name for is a counter all the same; see `Scrape::general`.
            let kind = if kind == "unknown" { "counter" } else { kind };
            let help = help.take().unwrap_or_default();
            // Writing into a String does not fail.
            let _ = write!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_about_families_differ() {
        let open = "# HELP a_b Help me.\n# TYPE a_b counter\na_b_total{x=\"# HELP\"} 1\n# HELP c See.\n\
                    # TYPE c gauge\nc 2\n# HELP d_total Old.\n# TYPE d_total unknown\nd_total 3\n# EOF\n";
        let classic = "# HELP a_b_total Help me.\n# TYPE a_b_total counter\na_b_total{x=\"# HELP\"} 1\n\
                       # HELP c See.\n# TYPE c gauge\nc 2\n# HELP d_total Old.\n# TYPE d_total \
                       counter\nd_total 3\n";
        assert_eq!(of(open), classic);
    }
}
