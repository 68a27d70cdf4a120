//! What the process log gets of findings.
//!
//! Called by all commands that follow manifests. Always holds: a finding is said when it is new, and
//! one publication never floods the log.

use std::collections::HashSet;

use crate::model::finding::Finding;

/// Findings that the log gets from one publication; more are counted.
const LOGGED: usize = 20;

/// Logs what was not wrong with the input before.
pub(super) fn log_new(before: &[Finding], now: &[Finding]) {
    let known: HashSet<&Finding> = before.iter().collect();
    let mut new = now.iter().filter(|finding| !known.contains(finding));
    for finding in new.by_ref().take(LOGGED) {
        tracing::warn!("{finding}");
    }
    let more = new.count();
    if more > 0 {
        tracing::warn!(more, "further findings; wharf check lists them all");
    }
}
