//! One table of the packet filter as data, and the scripts that make the kernel's table the same.
//!
//! Filled by `render`, run by the parent module. Pure. Always holds: the same content gives the same
//! text; a script is right for every state that it was made for, as one transaction; sets that the
//! kernel itself fills are never emptied, so clients stay where they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
};

/// Name of the table, in each family.
pub const NAME: &str = "wharf-proxy";

/// IPv4 or IPv6: a table of its own for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// As `nft` names the family, and the header in its rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The type of its addresses.
    #[must_use]
    pub const fn address(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }

    /// True when `address` is of this family.
    #[must_use]
    pub const fn has(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

/// The rules of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Type, hook and priority, when packets come to it by themselves.
    pub base: Option<&'static str>,
    /// Its rules, in order.
    pub rules: Vec<String>,
}

/// Whether a set has values, and who fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys, from here.
    Set,
    /// Keys with verdicts, from here.
    Map,
    /// Keys that the kernel adds when packets come and takes away with time.
    Dynamic,
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Who fills it with what.
    pub kind: Kind,
    /// Its type and properties.
    pub header: String,
    /// Values by key; values of a set are empty.
    pub elements: BTreeMap<String, String>,
}

impl Set {
    const fn keyword(kind: Kind) -> &'static str {
        match kind {
            Kind::Set | Kind::Dynamic => "set",
            Kind::Map => "map",
        }
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
}

/// What a table that is in the kernel has, by name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    chains: BTreeSet<String>,
    /// True for maps.
    sets: BTreeMap<String, bool>,
}

impl Names {
    /// Reads what `nft -t list table` prints.
    #[must_use]
    pub fn read(listing: &str) -> Self {
        let mut names = Self::default();
        for line in listing.lines() {
            let mut words = line.strip_prefix('\t').unwrap_or_default().split(' ');
            let (Some(kind), Some(name), Some("{")) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            match kind {
                "chain" => drop(names.chains.insert(name.to_owned())),
                "set" => drop(names.sets.insert(name.to_owned(), false)),
                "map" => drop(names.sets.insert(name.to_owned(), true)),
                _ => {},
            }
        }
        names
    }
}

/// What is known of the kernel's table; an object without content may have any.
struct Known<'a> {
    chains: BTreeMap<&'a str, Option<&'a Chain>>,
    sets: BTreeMap<&'a str, (&'static str, Option<&'a Set>)>,
}

/// A script that grows.
struct Script {
    family: &'static str,
    text: String,
}

impl Script {
    fn say(&mut self, verb: &str, object: &str, rest: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{verb} {object} {} {NAME} {rest}", self.family);
    }

    fn elements(&mut self, verb: &str, set: &str, elements: &[(&String, &String)], values: bool) {
        if elements.is_empty() {
            return;
        }
        let shown = elements.iter().map(|(key, value)| {
            if values && !value.is_empty() { format!("{key} : {value}") } else { (*key).clone() }
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        self.say(verb, "element", format_args!("{set} {{ {shown} }}"));
    }
}

/// Removes the table, also when there is none.
#[must_use]
pub fn removal(family: Family) -> String {
    let family = family.name();
    format!("add table {family} {NAME}\ndelete table {family} {NAME}\n")
}

impl Table {
    /// Makes the table anew, whatever was there.
    #[must_use]
    pub fn replacement(&self, family: Family) -> String {
        let nothing = Known { chains: BTreeMap::new(), sets: BTreeMap::new() };
        removal(family) + &self.change(family, &nothing)
    }

    /// Makes a table with those names the same as this one. What the kernel has put into sets of this
    /// table stays.
    #[must_use]
    pub fn repair(&self, family: Family, names: &Names) -> String {
        let sets = names.sets.iter().map(|(name, is_map)| {
            let keyword = if *is_map { "map" } else { "set" };
            (name.as_str(), (keyword, None))
        });
        let chains = names.chains.iter().map(|name| (name.as_str(), None)).collect();
        self.change(family, &Known { chains, sets: sets.collect() })
    }

    /// Makes `old`, which is in the kernel, the same as this one. Empty when they are equal.
    #[must_use]
    pub fn update(&self, family: Family, old: &Self) -> String {
        if self == old {
            return String::new();
        }
        let chains = old.chains.iter().map(|(name, chain)| (name.as_str(), Some(chain))).collect();
        let sets =
            old.sets.iter().map(|(name, set)| (name.as_str(), (Set::keyword(set.kind), Some(set))));
        self.change(family, &Known { chains, sets: sets.collect() })
    }

    fn change(&self, family: Family, known: &Known<'_>) -> String {
        let mut script = Script { family: family.name(), text: String::new() };
        let _ = writeln!(script.text, "add table {} {NAME}", family.name());
        self.declare(&mut script, known);
        // Nothing refers to what goes, before anything refers to what comes.
        let stale = |name: &str, chain: &Option<&Chain>| {
            chain.is_none_or(|chain| self.chains.get(name) != Some(chain))
        };
        for (name, _) in known.chains.iter().filter(|(name, chain)| stale(name, chain)) {
            script.say("flush", "chain", format_args!("{name}"));
        }
        self.take_elements(&mut script, known);
        for (name, chain) in &self.chains {
            if known.chains.get(name.as_str()).is_none_or(|old| stale(name, old)) {
                for rule in &chain.rules {
                    script.say("add", "rule", format_args!("{name} {rule}"));
                }
            }
        }
        self.give_elements(&mut script, known);
        for name in known.chains.keys().filter(|name| !self.chains.contains_key(**name)) {
            script.say("delete", "chain", format_args!("{name}"));
        }
        for (name, (keyword, _)) in &known.sets {
            if !self.sets.contains_key(*name) {
                script.say("delete", keyword, format_args!("{name}"));
            }
        }
        script.text
    }

    /// Names what is not known to be there as it shall be.
    fn declare(&self, script: &mut Script, known: &Known<'_>) {
        for (name, chain) in &self.chains {
            if matches!(known.chains.get(name.as_str()), Some(Some(_))) {
                continue;
            }
            match chain.base {
                Some(base) => {
                    script.say(
                        "add",
                        "chain",
                        format_args!("{name} {{ {base} ; policy accept ; }}"),
                    );
                },
                None => script.say("add", "chain", format_args!("{name}")),
            }
        }
        for (name, set) in &self.sets {
            if !matches!(known.sets.get(name.as_str()), Some((_, Some(_)))) {
                let (keyword, header) = (Set::keyword(set.kind), &set.header);
                script.say("add", keyword, format_args!("{name} {{ {header} ; }}"));
            }
        }
    }

    fn take_elements(&self, script: &mut Script, known: &Known<'_>) {
        for (name, (keyword, old)) in &known.sets {
            let new = self.sets.get(*name);
            match (old, new) {
                // What the kernel has filled is the kernel's.
                (_, Some(Set { kind: Kind::Dynamic, .. })) => {},
                (None, _) => script.say("flush", keyword, format_args!("{name}")),
                (Some(old), new) => {
                    let kept = |key: &String, value: &String| {
                        new.is_some_and(|new| new.elements.get(key) == Some(value))
                    };
                    let gone: Vec<_> =
                        old.elements.iter().filter(|(key, value)| !kept(key, value)).collect();
                    script.elements("delete", name, &gone, false);
                },
            }
        }
    }

    fn give_elements(&self, script: &mut Script, known: &Known<'_>) {
        for (name, set) in &self.sets {
            let old = known.sets.get(name.as_str()).and_then(|(_, old)| *old);
            let had = |key: &String, value: &String| {
                old.is_some_and(|old| old.elements.get(key) == Some(value))
            };
            let new: Vec<_> = set.elements.iter().filter(|(key, value)| !had(key, value)).collect();
            script.elements("add", name, &new, true);
        }
    }
}

#[cfg(test)]
mod tests;
