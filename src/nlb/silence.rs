//! Rules for the kernel's packet filter that make a load balancer silent where it does not listen
//! (spec/l4-dns.md A.1): at AWS such packets are dropped without an answer.
//!
//! Pure. Applied by `app::nlb::silence`. Always holds: addresses of loopback and "all addresses" are left
//! alone, so that nobody locks himself out of a machine; what answers this machine's own questions comes
//! in; the rules are a table of their own, which is made anew as a whole.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

/// Name of the table, of the family `inet`.
pub const TABLE: &str = "wharf_nlb";

/// Where something listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Addresses that are silent but for what follows: those of nodes and of listeners.
    pub silent: BTreeSet<IpAddr>,
    /// Listeners of TCP.
    pub tcp: BTreeSet<SocketAddr>,
    /// Listeners of UDP.
    pub udp: BTreeSet<SocketAddr>,
}

/// The transaction that takes the table away.
#[must_use]
pub fn removal() -> String {
    // Made first, so that it can be deleted where it is not there.
    format!("table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")
}

/// The transaction that puts the table in the place of what there is.
#[must_use]
pub fn script(open: &Open) -> String {
    let mut script = removal();
    let silent = open.silent.iter().map(IpAddr::to_canonical);
    let silent = silent.filter(|address| !address.is_loopback() && !address.is_unspecified());
    let mut rules = String::new();
    for address in silent {
        rules_of(&mut rules, address, open);
    }
    if !rules.is_empty() {
        let hook = "type filter hook input priority filter; policy accept;";
        // Writing to a string does not fail.
        let _ = write!(
            script,
            "table inet {TABLE} {{\n\tchain input {{\n\t\t{hook}\n\t\tiif \"lo\" accept\n{rules}\t}}\n}}\n"
        );
    }
    script
}

/// What comes to `address`.
fn rules_of(rules: &mut String, address: IpAddr, open: &Open) {
    let (family, echo) = match address {
        IpAddr::V4(_) => ("ip", "icmp type != destination-unreachable"),
        // Neighbours are found by other types.
        IpAddr::V6(_) => ("ip6", "icmpv6 type echo-request"),
    };
    let to = format!("{family} daddr {address}");
    // Segments of connections that this machine has made, or has refused, are none of these.
    let new = "tcp flags & (fin | syn | rst | ack) == syn";
    let tcp = unless(address, &open.tcp, "tcp");
    let _ = writeln!(rules, "\t\t{to} {new}{tcp} drop");
    let udp = unless(address, &open.udp, "udp");
    let _ = writeln!(rules, "\t\t{to} meta l4proto udp ct state new{udp} drop");
    let _ = writeln!(rules, "\t\t{to} {echo} drop");
}

/// A match for all ports of `address` but those that are open.
fn unless(address: IpAddr, open: &BTreeSet<SocketAddr>, transport: &str) -> String {
    let here = |at: &&SocketAddr| at.ip() == address || at.ip().is_unspecified();
    let ports: BTreeSet<u16> = open.iter().filter(here).map(SocketAddr::port).collect();
    if ports.is_empty() {
        return String::new();
    }
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    format!(" {transport} dport != {{ {} }}", ports.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses<T: std::str::FromStr + Ord>(all: &[&str]) -> BTreeSet<T> {
        all.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// [NLB-18] Each address has its own open ports; loopback and "all addresses" stay as they are.
    #[test]
    fn nlb_18_ports_without_a_listener_are_dropped() {
        let open = Open {
            silent: addresses(&["192.0.2.1", "127.0.1.1", "0.0.0.0", "2001:db8::1"]),
            tcp: addresses(&["192.0.2.1:80", "192.0.2.1:443", "0.0.0.0:9090", "192.0.2.2:25"]),
            udp: addresses(&["192.0.2.1:53"]),
        };
        let script = script(&open);
        let rules: Vec<_> = script.lines().skip(5).map(str::trim).collect();
        assert_eq!(
            rules,
            [
                "iif \"lo\" accept",
                "ip daddr 192.0.2.1 tcp flags & (fin | syn | rst | ack) == syn \
                 tcp dport != { 80, 443, 9090 } drop",
                "ip daddr 192.0.2.1 meta l4proto udp ct state new udp dport != { 53 } drop",
                "ip daddr 192.0.2.1 icmp type != destination-unreachable drop",
                "ip6 daddr 2001:db8::1 tcp flags & (fin | syn | rst | ack) == syn \
                 tcp dport != { 9090 } drop",
                "ip6 daddr 2001:db8::1 meta l4proto udp ct state new drop",
                "ip6 daddr 2001:db8::1 icmpv6 type echo-request drop",
                "}",
                "}",
            ]
        );
    }

    #[test]
    fn without_an_address_there_is_no_table() {
        let open = Open { silent: addresses(&["0.0.0.0", "::1"]), ..Open::default() };
        assert_eq!(script(&open), removal());
    }
}
