//! Header actions of a route, as the API server reads them [HDR-1..4, HDR-6].

use super::Report;
use crate::model::{
    finding::codes,
    grammar::{
        action::{self, Side},
        is_token,
    },
    route::{HeaderActions, HeaderChange, Route},
};

/// Header names that no action may change [HDR-2].
const FIXED_HEADERS: [&str; 4] = ["strict-transport-security", "proxy", "cookie", "set-cookie"];

/// Longest name of a header [HDR-1].
const MAX_NAME: usize = 255;

/// Longest list of actions.
const MAX_ACTIONS: usize = 20;

/// Reports every action that the API server would refuse.
pub(super) fn check(report: &mut Report<'_, Route>, actions: &HeaderActions) {
    list(report, &actions.request, Side::Request, "spec.httpHeaders.actions.request");
    list(report, &actions.response, Side::Response, "spec.httpHeaders.actions.response");
}

fn list(report: &mut Report<'_, Route>, changes: &[HeaderChange], side: Side, field: &str) {
    if changes.len() > MAX_ACTIONS {
        let text = format!("{} header actions, {MAX_ACTIONS} are allowed", changes.len());
        return report.add(codes::BAD_HEADER_ACTION, &format!("{field}[{MAX_ACTIONS}]"), text);
    }
    for (index, change) in changes.iter().enumerate() {
        let (name, at) = (&change.name, format!("{field}[{index}]"));
        // Letter by letter, as the API server compares.
        let twice = changes[..index].iter().any(|other| other.name == *name);
        let problem = if twice {
            Some(format!("the header {name} is listed twice"))
        } else {
            name_problem(name)
        };
        match problem {
            Some(problem) => report.add(codes::BAD_HEADER_ACTION, &format!("{at}.name"), problem),
            None if action::is_framing(name) => {
                let text = format!("the router itself says {name}, so this action does nothing");
                report.add(codes::FRAMING_ACTION, &format!("{at}.name"), text);
            },
            None => {},
        }
        if let Some((inner, problem)) = action_problem(change, side) {
            report.add(codes::BAD_HEADER_ACTION, &format!("{at}.action{inner}"), problem);
        }
    }
}

fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("the header has no name".to_owned())
    } else if name.len() > MAX_NAME {
        let length = name.len();
        Some(format!("the header's name has {length} characters, {MAX_NAME} are allowed"))
    } else if !is_token(name) {
        Some(format!("\"{name}\" is not a header name"))
    } else if FIXED_HEADERS.iter().any(|fixed| fixed.eq_ignore_ascii_case(name)) {
        Some(format!("the header {name} cannot be changed"))
    } else {
        None
    }
}

/// The field below `action` that is wrong, and why.
fn action_problem(change: &HeaderChange, side: Side) -> Option<(&'static str, String)> {
    match (change.action.kind.as_str(), &change.action.set) {
        ("Set", Some(set)) => {
            let error = action::check_value(&set.value, side).err()?;
            Some((".set.value", error.to_string()))
        },
        ("Set", None) => Some((".set", "an action of type Set needs set.value".to_owned())),
        ("Delete", Some(_)) => Some((".set", "an action of type Delete has no set".to_owned())),
        ("Delete", None) => None,
        (other, _) => Some((".type", format!("the action type \"{other}\" is not Set or Delete"))),
    }
}
