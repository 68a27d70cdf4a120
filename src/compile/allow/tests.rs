//! Both readings of an allow list, and what is said of it.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;
use crate::model::objects::ObjectKey;

/// What a route with these annotations (`a` for ip_allowlist, `w` for ip_whitelist) has, and the codes
/// of what is said.
fn of(annotations: &[(&str, &str)], fails_open: bool) -> (Option<Vec<String>>, Vec<u16>) {
    let name = |short: &str| NAMES[usize::from(short == "w")].to_owned();
    let all = annotations.iter().map(|(short, text)| (name(short), (*text).to_owned()));
    let metadata = ObjectMeta { annotations: Some(all.collect()), ..ObjectMeta::default() };
    let route = Route { metadata, ..Route::default() };
    let stored = Stored::in_memory(ObjectKey::new("app", "web"), route, "test.yaml");
    let mut findings = Vec::new();
    let list = read(&stored, fails_open, &mut findings);
    let list = list.map(|list| list.networks().iter().map(ToString::to_string).collect());
    (list, findings.iter().map(|finding| finding.code.number).collect())
}

fn nets(all: &[&str]) -> Option<Vec<String>> {
    Some(all.iter().map(ToString::to_string).collect())
}

#[test]
fn decision_6_allow_lists_trim_blanks_and_fail_closed() {
    let rows = [
        ("", None, vec![]),
        ("  ", None, vec![]),
        ("10.0.0.1", nets(&["10.0.0.1/32"]), vec![]),
        (
            " 10.0.0.0/8, 192.168.1.10/24\t::1 ",
            nets(&["10.0.0.0/8", "192.168.1.0/24", "::1/128"]),
            vec![],
        ),
        ("10.0.0.1\n10.0.0.2\n", nets(&["10.0.0.1/32", "10.0.0.2/32"]), vec![]),
        ("10.9.0.1/33", nets(&[]), vec![2005, 1050]),
        ("nonsense 10.0.0.1", nets(&["10.0.0.1/32"]), vec![2005]),
    ];
    for (text, list, codes) in rows {
        assert_eq!(of(&[("a", text)], false), (list, codes), "{text:?}");
    }
}

/// [IPL-2, IPL-3] as OpenShift has them, with `--compat-allowlist-fail-open`.
#[test]
fn ipl_2_ipl_3_the_switch_fails_open_exactly_as_openshift() {
    let rows = [
        ("10.0.0.1 10.0.0.2", nets(&["10.0.0.1/32", "10.0.0.2/32"]), vec![]),
        ("10.0.0.1\t10.0.0.2", nets(&["10.0.0.1/32", "10.0.0.2/32"]), vec![]),
        (" 10.0.0.1", None, vec![1110]),
        ("10.0.0.1 ", None, vec![1110]),
        ("10.0.0.1\t", None, vec![1110]),
        ("  ", None, vec![1110]),
        ("10.0.0.1,10.0.0.2", None, vec![2005, 1110]),
        ("10.0.0.1, 10.0.0.2", nets(&["10.0.0.2/32"]), vec![2005]),
        ("10.9.0.1/33", None, vec![2005, 1110]),
        ("10.9.0.1/33 10.0.0.1", nets(&["10.0.0.1/32"]), vec![2005]),
        ("", None, vec![]),
        ("10.0.0.1\n", None, vec![]),
    ];
    for (text, list, codes) in rows {
        assert_eq!(of(&[("a", text)], true), (list, codes), "{text:?}");
    }
}

/// [IPL-1]
#[test]
fn ipl_1_the_first_that_says_something_counts_and_nothing_is_merged() {
    let (one, two) = ("10.0.0.1", "10.0.0.2");
    let (first, second) = (nets(&["10.0.0.1/32"]), nets(&["10.0.0.2/32"]));
    for fails_open in [false, true] {
        assert_eq!(of(&[("a", one), ("w", two)], fails_open).0, first);
        assert_eq!(of(&[("a", ""), ("w", two)], fails_open).0, second);
        assert_eq!(of(&[("w", two)], fails_open).0, second);
    }
    // OpenShift passes over what has a line feed, and stops at what only has blanks.
    assert_eq!(of(&[("a", "10.0.0.1\n"), ("w", two)], true).0, second);
    assert_eq!(of(&[("a", "10.0.0.1\n"), ("w", two)], false).0, first);
    assert_eq!(of(&[("a", " "), ("w", two)], true).0, None);
    assert_eq!(of(&[("a", " "), ("w", two)], false).0, second);
}

/// [IPL-5]: any number of entries, and a bounded number of complaints.
#[test]
fn ipl_5_long_lists_are_lists() {
    let text: Vec<String> = (0..5000_u32).map(|n| format!("10.{}.{}.1", n >> 8, n & 255)).collect();
    let (list, codes) = of(&[("a", &text.join(" "))], true);
    assert_eq!((list.unwrap().len(), codes.len()), (5000, 0));
    let list: AllowList = text.iter().filter_map(|net| grammar::parse_network(net)).collect();
    assert!(list.allows(IpAddr::from([10, 19, 135, 1])) && !list.allows([10, 19, 136, 1].into()));
    let (list, codes) = of(&[("a", &["bad"; 5000].join(" "))], false);
    assert_eq!((list, codes.len()), (nets(&[]), COMPLAINTS + 2));
}
