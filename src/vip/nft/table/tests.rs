//! Scripts from one content to another, to the letter.

use super::*;

fn set(kind: Kind, elements: &[(&str, &str)]) -> Set {
    let elements =
        elements.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Set { kind, header: "type ipv4_addr".to_owned(), elements }
}

fn chain(rules: &[&str]) -> Chain {
    Chain { base: None, rules: rules.iter().map(|rule| (*rule).to_owned()).collect() }
}

fn table(chains: &[(&str, Chain)], sets: &[(&str, Set)]) -> Table {
    let named = |name: &&str| (**name).to_owned();
    Table {
        chains: chains.iter().map(|(name, chain)| (named(name), chain.clone())).collect(),
        sets: sets.iter().map(|(name, set)| (named(name), set.clone())).collect(),
    }
}

#[test]
fn a_replacement_begins_with_nothing() {
    let base = Some("type nat hook output priority -100");
    let first = Chain { base, rules: vec!["jump b".to_owned()] };
    let new = table(
        &[("a", first), ("b", chain(&["drop"]))],
        &[("m", set(Kind::Map, &[("10.0.0.1", "goto b")])), ("s", set(Kind::Dynamic, &[]))],
    );
    assert_eq!(
        new.replacement(Family::V4),
        "add table ip wharf-proxy\n\
         delete table ip wharf-proxy\n\
         add table ip wharf-proxy\n\
         add chain ip wharf-proxy a { type nat hook output priority -100 ; policy accept ; }\n\
         add chain ip wharf-proxy b\n\
         add map ip wharf-proxy m { type ipv4_addr ; }\n\
         add set ip wharf-proxy s { type ipv4_addr ; }\n\
         add rule ip wharf-proxy a jump b\n\
         add rule ip wharf-proxy b drop\n\
         add element ip wharf-proxy m { 10.0.0.1 : goto b }\n"
    );
}

/// Nothing is said of what stays, and what goes is let go of before it is deleted.
#[test]
fn an_update_says_what_changes() {
    let dynamic = set(Kind::Dynamic, &[]);
    let old = table(
        &[("stays", chain(&["drop"])), ("changes", chain(&["drop"])), ("goes", chain(&["drop"]))],
        &[
            ("m", set(Kind::Map, &[("1", "goto stays"), ("2", "goto goes"), ("3", "drop")])),
            ("clients", dynamic.clone()),
            ("old-clients", dynamic.clone()),
        ],
    );
    let new = table(
        &[
            ("stays", chain(&["drop"])),
            ("changes", chain(&["accept"])),
            ("comes", chain(&["drop"])),
        ],
        &[
            ("m", set(Kind::Map, &[("1", "goto stays"), ("3", "goto comes"), ("4", "drop")])),
            ("clients", dynamic),
        ],
    );
    assert_eq!(new.update(Family::V6, &new), "");
    assert_eq!(
        new.update(Family::V6, &old),
        "add table ip6 wharf-proxy\n\
         add chain ip6 wharf-proxy comes\n\
         flush chain ip6 wharf-proxy changes\n\
         flush chain ip6 wharf-proxy goes\n\
         delete element ip6 wharf-proxy m { 2, 3 }\n\
         add rule ip6 wharf-proxy changes accept\n\
         add rule ip6 wharf-proxy comes drop\n\
         add element ip6 wharf-proxy m { 3 : goto comes, 4 : drop }\n\
         delete chain ip6 wharf-proxy goes\n\
         delete set ip6 wharf-proxy old-clients\n"
    );
}

/// Whatever is there: all rules and elements are made anew, but clients stay [SVC-04].
#[test]
fn a_repair_keeps_the_clients() {
    let listing = "table ip wharf-proxy {\n\tset clients {\n\t\ttype ipv4_addr\n\t}\n\n\
                   \tmap m {\n\t\ttype ipv4_addr\n\t}\n\n\tset stray {\n\t}\n\n\
                   \tchain a {\n\t\tdrop\n\t}\n\n\tchain goes {\n\t}\n}\n";
    let new = table(
        &[("a", chain(&["accept"]))],
        &[("m", set(Kind::Map, &[("1", "drop")])), ("clients", set(Kind::Dynamic, &[]))],
    );
    assert_eq!(
        new.repair(Family::V4, &Names::read(listing)),
        "add table ip wharf-proxy\n\
         add chain ip wharf-proxy a\n\
         add set ip wharf-proxy clients { type ipv4_addr ; }\n\
         add map ip wharf-proxy m { type ipv4_addr ; }\n\
         flush chain ip wharf-proxy a\n\
         flush chain ip wharf-proxy goes\n\
         flush map ip wharf-proxy m\n\
         flush set ip wharf-proxy stray\n\
         add rule ip wharf-proxy a accept\n\
         add element ip wharf-proxy m { 1 : drop }\n\
         delete chain ip wharf-proxy goes\n\
         delete set ip wharf-proxy stray\n"
    );
}
