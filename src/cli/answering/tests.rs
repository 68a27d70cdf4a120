//! The flags of DNS servers under each command, and what they come to.

use clap::Parser as _;

use super::*;
use crate::{
    cli::{Cli, Command as Verb},
    dns::resolver::Resolver,
};

/// One of each kind: with a value, without one, repeated, of the zone and of names outside.
const FLAGS: [&str; 7] = [
    "pods=verified",
    "ttl=30",
    "namespace=shop",
    "namespace=Web",
    "no-fallthrough",
    "forward=corp.example=10.0.0.2,10.0.0.3:5353",
    "forward-max-concurrent=7",
];

fn parsed(words: impl IntoIterator<Item = String>) -> Result<Verb, clap::Error> {
    Cli::try_parse_from(["wharf".to_owned()].into_iter().chain(words)).map(|cli| cli.command)
}

fn typed(command: &str, prefix: &str, flags: &[&str]) -> Vec<String> {
    let flags = flags.iter().map(|flag| format!("--{prefix}{flag}"));
    [command.to_owned()].into_iter().chain(flags).collect()
}

fn assert_as_typed(answering: &Answering) {
    let Answering { zone, forwarding, view } = answering;
    assert_eq!((zone.pods, zone.ttl, zone.fallthrough), (PodMode::Verified, 30, false));
    assert_eq!(zone.namespaces, ["shop".into(), "web".into()]);
    assert_eq!(zone.reverse_zones, ZoneOptions::default().reverse_zones);
    assert_forwards(forwarding);
    assert!(view.is_none());
}

fn assert_forwards(forwarding: &Forwarding) {
    let resolver = Resolver::with(forwarding.servers.clone(), forwarding.asking.clone()).unwrap();
    assert_eq!(resolver.servers().len(), 2);
    assert_eq!(forwarding.servers[0].apex.to_ascii(), "corp.example.");
    assert!(!forwarding.system);
    assert_eq!(forwarding.settings.max_forwards, 7);
}

#[test]
fn the_same_flags_are_those_of_every_command_with_a_zone() {
    let Verb::Dns(_) = parsed(typed("dns", "", &FLAGS)).unwrap() else { panic!("dns") };
    let Verb::Up(up) = parsed(typed("up", "dns-", &FLAGS)).unwrap() else { panic!("up") };
    assert_as_typed(&up.dns.into_flags().into());
    let words = typed("router", "dns-", &FLAGS);
    let Verb::Router(router) = parsed(words).unwrap() else { panic!("router") };
    assert_as_typed(&router.dns.of_server(true).unwrap().into());
    for (command, prefix) in [("dns", "dns-"), ("up", ""), ("router", "")] {
        assert!(parsed(typed(command, prefix, &["pods=verified"])).is_err(), "{command}");
    }
}

/// The load balancer has no zone; only what it forwards can be said.
#[test]
fn the_load_balancer_has_the_flags_of_names_outside() {
    let Verb::Nlb(nlb) = parsed(typed("nlb", "dns-", &FLAGS[5..])).unwrap() else { panic!("nlb") };
    assert_forwards(&nlb.forward.of_server(true).unwrap().into());
    assert!(parsed(typed("nlb", "dns-", &FLAGS[..1])).is_err());
}

/// Without a flag everything is as in OpenShift's Corefile, and nothing is forwarded.
#[test]
fn defaults_are_those_of_the_zone() {
    let Verb::Up(up) = parsed(typed("up", "dns-", &[])).unwrap() else { panic!("up") };
    let Answering { zone, forwarding, .. } = up.dns.into_flags().into();
    assert_eq!(zone, ZoneOptions::default());
    assert!(forwarding.servers.is_empty() && !forwarding.system);
}

/// A flag that would do nothing is told; the router's `--namespace` is another one.
#[test]
fn flags_without_a_server_are_refused() {
    for flag in FLAGS {
        let words = typed("router", "dns-", &[flag]);
        let Verb::Router(router) = parsed(words).unwrap() else { panic!("router") };
        let error = router.dns.of_server(false).unwrap_err().to_string();
        let name = flag.split('=').next().unwrap();
        assert!(error.starts_with(&format!("--dns-{name} ")), "{error}");
    }
    let words = typed("router", "", &["namespace=shop"]);
    let Verb::Router(router) = parsed(words).unwrap() else { panic!("router") };
    assert!(router.dns.of_server(false).is_ok());
}
