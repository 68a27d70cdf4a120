//! The allow list of a route, out of its annotations [IPL-1..4].
//!
//! Called by compile for every route, admitted or not, since what it says of a list is for people. A
//! list that cannot be understood denies everybody, unless the router is told to be like OpenShift's
//! (decisions 6).

use std::sync::Arc;

use ipnet::IpNet;

use super::{finding, policy::annotation};
use crate::{
    model::{
        finding::{Code, Finding, SHOWN, codes, excerpt},
        grammar,
        objects::Stored,
        route::Route,
    },
    routing::clients::AllowList,
};

/// Both names, the one that counts first.
const NAMES: [&str; 2] =
    ["haproxy.router.openshift.io/ip_allowlist", "haproxy.router.openshift.io/ip_whitelist"];

/// Entries of one list that are complained about one by one.
const COMPLAINTS: usize = 10;

/// Who may use `route`; everybody when `None`.
pub(super) fn read(
    route: &Stored<Route>,
    fails_open: bool,
    findings: &mut Vec<Finding>,
) -> Option<Arc<AllowList>> {
    // The first that says something, never merged [IPL-1].
    let says = |text: &str| match fails_open {
        true => !text.is_empty() && !text.contains('\n'),
        false => !text.trim().is_empty(),
    };
    let mut all = NAMES.iter().filter_map(|name| Some((*name, annotation(route, name)?)));
    let (name, text) = all.find(|(_, text)| says(text))?;
    let mut report = Report { route, name, findings };
    if fails_open { open(text, &mut report) } else { closed(text, &mut report) }
}

/// As decisions 6 has it: blanks and commas separate, and a list without a valid entry lets nobody in.
fn closed(text: &str, report: &mut Report<'_>) -> Option<Arc<AllowList>> {
    let networks = report.valid(grammar::allow_list(text));
    if networks.is_empty() {
        let text = "the list has no valid entry, so every client is refused";
        let fix = "write addresses or networks such as 10.0.0.0/8, separated by blanks or commas";
        report.add(codes::ALLOW_LIST_DENIES_ALL, text, fix);
    }
    Some(Arc::new(networks.into_iter().collect()))
}

/// As OpenShift has it: only blanks separate, and a list with blanks at an end or without a valid entry
/// lets everybody in [IPL-2, IPL-3].
fn open(text: &str, report: &mut Report<'_>) -> Option<Arc<AllowList>> {
    let fix = "separate entries by single blanks, or start the router without \
               --compat-allowlist-fail-open";
    if text.trim() != text {
        let text = "the list has blanks at an end, so every client is let in";
        report.add(codes::ALLOW_LIST_IGNORED, text, fix);
        return None;
    }
    let entries = text.split_whitespace();
    let networks = report.valid(entries.map(|entry| grammar::parse_network(entry).ok_or(entry)));
    if networks.is_empty() {
        let text = "the list has no valid entry, so every client is let in";
        report.add(codes::ALLOW_LIST_IGNORED, text, fix);
        return None;
    }
    Some(Arc::new(networks.into_iter().collect()))
}

/// Says what is wrong with one annotation.
struct Report<'a> {
    route: &'a Stored<Route>,
    name: &'static str,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, code: Code, text: &str, fix: &str) {
        let field = format!("metadata.annotations[{}]", self.name);
        self.findings.push(finding(self.route, code, &field, text, fix));
    }

    /// The networks among `entries`. The others are said to be none.
    fn valid<'e>(&mut self, entries: impl Iterator<Item = Result<IpNet, &'e str>>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        let mut bad = 0;
        for entry in entries {
            match entry {
                Ok(network) => networks.push(network),
                Err(entry) => {
                    bad += 1;
                    if bad <= COMPLAINTS {
                        let entry = excerpt(entry, SHOWN);
                        let text = format!("\"{entry}\" is not an address or network");
                        self.add(codes::BAD_ALLOW_LIST_ENTRY, &text, "");
                    }
                },
            }
        }
        if bad > COMPLAINTS {
            let text = format!("{} further entries are no addresses or networks", bad - COMPLAINTS);
            self.add(codes::BAD_ALLOW_LIST_ENTRY, &text, "");
        }
        networks
    }
}

#[cfg(test)]
mod tests;
