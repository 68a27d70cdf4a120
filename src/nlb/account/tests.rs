//! What the API makes, what it gives twice, and what it refuses (spec/l4-dns.md A.1 to A.6b, A.13).

mod refused;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::{health, nlb::config::parse, nlb::stats::TargetState};

const CERTIFICATE: &str = "arn:aws:acm:us-east-1:000000000000:certificate/a";

/// An account with a clock that stands and numbers in a row.
struct Bed {
    account: Account,
    number: u64,
}

impl Bed {
    fn new() -> Self {
        let mut environment = Environment::default();
        let machine = Instance { address: [10, 0, 0, 9].into(), zone: Some("us-east-1b".into()) };
        environment.instances.insert("i-9".to_owned(), machine);
        environment.certificates.insert(CERTIFICATE.to_owned(), "missing.pem".into());
        Self { account: Account::new(environment), number: 0 }
    }

    fn make<T>(&mut self, call: impl FnOnce(&mut Account, &mut Maker<'_>) -> T) -> T {
        let mut ids = || {
            self.number += 1;
            self.number
        };
        let now = UNIX_EPOCH + Duration::from_millis(1500);
        call(&mut self.account, &mut Maker { now, ids: &mut ids })
    }

    fn balancer(&mut self, wanted: NewBalancer) -> Result<LoadBalancer, Refusal> {
        self.make(|account, maker| account.create_balancer(wanted, maker))
    }

    fn group(&mut self, wanted: NewGroup) -> Result<TargetGroup, Refusal> {
        self.make(|account, maker| account.create_group(wanted, maker))
    }

    fn listener(&mut self, wanted: NewListener) -> Result<Listener, Refusal> {
        self.make(|account, maker| account.create_listener(wanted, maker))
    }

    /// A load balancer `web` with a group `web` and a listener on port 80; their ARNs.
    fn web() -> (Self, [String; 3]) {
        let mut bed = Self::new();
        let balancer = bed.balancer(balancer("web")).unwrap().arn;
        let group = bed.group(group("web")).unwrap().arn;
        let listener = bed.listener(listener(&balancer, 80, &group)).unwrap().arn;
        (bed, [balancer, group, listener])
    }
}

fn subnet(zone: &str) -> SubnetMapping {
    SubnetMapping { subnet: format!("subnet-us-east-1{zone}"), ..SubnetMapping::default() }
}

fn balancer(name: &str) -> NewBalancer {
    NewBalancer {
        name: name.to_owned(),
        kind: Some("network".to_owned()),
        subnets: vec![subnet("a"), subnet("b")],
        ..NewBalancer::default()
    }
}

fn group(name: &str) -> NewGroup {
    NewGroup {
        name: name.to_owned(),
        protocol: Some("TCP".to_owned()),
        port: Some(8080),
        vpc: Some(VPC.to_owned()),
        target_type: Some("ip".to_owned()),
        ..NewGroup::default()
    }
}

fn forward(group: &str) -> Vec<Action> {
    let kind = "forward".to_owned();
    vec![Action { kind, group: Some(group.to_owned()), ..Action::default() }]
}

fn listener(balancer: &str, port: u32, group: &str) -> NewListener {
    NewListener {
        load_balancer: balancer.to_owned(),
        listener: ListenerChange {
            port: Some(port),
            protocol: Some("TCP".to_owned()),
            actions: forward(group),
            ..ListenerChange::default()
        },
        tags: Vec::new(),
    }
}

fn target(id: &str, port: Option<u32>) -> TargetKey {
    TargetKey { id: id.to_owned(), port, ..TargetKey::default() }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, code: Code) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.code, code, "{}", refusal.message);
    assert!(!refusal.message.is_empty());
}

/// A.13: ARNs, the DNS name, and that the same call gives the same load balancer.
#[test]
fn a_load_balancer_is_made_once() {
    let mut bed = Bed::new();
    let made = bed.balancer(balancer("web")).unwrap();
    let prefix = "arn:aws:elasticloadbalancing:us-east-1:000000000000";
    assert_eq!(made.arn, format!("{prefix}:loadbalancer/net/web/0000000000000001"));
    assert_eq!(made.dns_name, "web-0000000000000001.elb.us-east-1.amazonaws.com");
    assert_eq!((made.created, made.scheme.as_str()), (1500, "internet-facing"));
    let nodes: Vec<_> = made.nodes.iter().map(|it| it.address.unwrap().to_string()).collect();
    assert_eq!(nodes, ["127.0.1.1", "127.0.1.2"]);
    assert_eq!(bed.balancer(balancer("web")).unwrap(), made);
    let wider =
        NewBalancer { subnets: vec![subnet("a"), subnet("b"), subnet("c")], ..balancer("web") };
    refused(bed.balancer(wider), Code::DuplicateLoadBalancerName);
    let internal = NewBalancer { scheme: some("internal"), ..balancer("web") };
    refused(bed.balancer(internal), Code::DuplicateLoadBalancerName);
}

/// Another load balancer has nodes of its own; a mapping chooses one.
#[test]
fn every_load_balancer_has_its_own_nodes() {
    let mut bed = Bed::new();
    bed.balancer(balancer("one")).unwrap();
    let mut two = balancer("two");
    two.subnets[1].address = some("127.9.9.9");
    let two = bed.balancer(two).unwrap();
    let nodes: Vec<_> = two.nodes.iter().map(|it| it.address.unwrap().to_string()).collect();
    assert_eq!(nodes, ["127.0.2.1", "127.9.9.9"]);
    let arn = two.arn;
    let set = bed.account.set_subnets(&arn, &[subnet("c"), subnet("b")], None).unwrap();
    let nodes: Vec<_> = set.nodes.iter().map(|it| it.address.unwrap().to_string()).collect();
    assert_eq!(nodes, ["127.9.9.9", "127.0.2.3"], "what stays keeps its address");
}

/// A.6b: complete lists with defaults, and ranges.
#[test]
fn attributes_have_defaults_and_ranges() {
    let (mut bed, [balancer, group, listener]) = Bed::web();
    let of = |list: Vec<(String, String)>, key: &str| {
        list.into_iter().find(|(other, _)| other == key).unwrap().1
    };
    let account = &mut bed.account;
    assert_eq!(account.balancer_attributes(&balancer).unwrap().len(), 9);
    assert_eq!(account.group_attributes(&group).unwrap().len(), 13);
    assert_eq!(account.listener_attributes(&listener).unwrap(), [pair(attributes::IDLE, "350")]);
    let delay = "deregistration_delay.timeout_seconds";
    let set = account.modify_group_attributes(&group, &[pair(delay, "0")]).unwrap();
    assert_eq!(of(set, delay), "0");
    assert!(account.documents()[0].1.contains("\"deregistration_delay.timeout_seconds\":\"0\""));
    let set = account.modify_group_attributes(&group, &[pair(delay, "300")]).unwrap();
    assert_eq!(of(set, delay), "300");
    let set = account.modify_listener_attributes(&listener, &[pair(attributes::IDLE, "60")]);
    assert_eq!(set.unwrap(), [pair(attributes::IDLE, "60")]);

    let bad_group = [
        (delay, "3601"),
        (delay, "x"),
        ("stickiness.enabled", "yes"),
        ("stickiness.type", "lb_cookie"),
        ("load_balancing.cross_zone.enabled", "maybe"),
        ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "101"),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "off"),
        ("slow_start.duration_seconds", "30"),
    ];
    for (key, value) in bad_group {
        let set = account.modify_group_attributes(&group, &[pair(key, value)]);
        refused(set, Code::ValidationError);
    }
    let set = account.modify_group_attributes(&group, &[pair(delay, "1"), pair(delay, "2")]);
    refused(set, Code::InvalidConfigurationRequest);
    refused(account.modify_group_attributes(&group, &[]), Code::ValidationError);
    let idle = pair(attributes::IDLE, "59");
    refused(account.modify_listener_attributes(&listener, &[idle]), Code::ValidationError);
    let secondary = pair("secondary_ips.auto_assigned.per_subnet", "8");
    refused(account.modify_balancer_attributes(&balancer, &[secondary]), Code::ValidationError);
}

/// What has no effect here is not taken as if it had one.
#[test]
fn attributes_without_effect_are_refused() {
    let (mut bed, [balancer, group, _]) = Bed::web();
    let prefix = pair("ipv6.deny_all_igw_traffic", "true");
    let set = bed.account.clone().modify_balancer_attributes(&balancer, &[prefix]);
    refused(set, Code::InvalidConfigurationRequest);
    // The limit of DNS is 1, and must be at least that of routing.
    let key = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count";
    let set = bed.account.modify_group_attributes(&group, &[pair(key, "2")]);
    refused(set, Code::InvalidConfigurationRequest);
}

/// A.6b: the access log goes to a bucket that the environment has. A path is no bucket, and one that
/// is gone after a restart is none either.
#[test]
fn access_logs_go_to_known_buckets() {
    let (mut bed, [balancer, ..]) = Bed::web();
    let log = |bucket| [pair(attributes::ACCESS_LOG, "true"), pair(attributes::BUCKET, bucket)];
    for unknown in ["logs", "/tmp", ""] {
        let set = bed.account.clone().modify_balancer_attributes(&balancer, &log(unknown));
        refused(set, Code::InvalidConfigurationRequest);
    }
    let environment = Arc::make_mut(&mut bed.account.environment);
    environment.buckets.insert("logs".to_owned(), "/var/logs".into());
    bed.account.modify_balancer_attributes(&balancer, &log("logs")).unwrap();
    let config = bed.account.config(&balancer).unwrap();
    assert_eq!(config.access_log.unwrap().bucket.to_str(), Some("/var/logs"));
    Arc::make_mut(&mut bed.account.environment).buckets.clear();
    refused(bed.account.config(&balancer), Code::InvalidConfigurationRequest);
}

#[test]
fn a_protected_load_balancer_stays() {
    let (mut bed, [balancer, group, listener]) = Bed::web();
    let protect = |value| [pair(attributes::DELETION_PROTECTION, value)];
    bed.account.modify_balancer_attributes(&balancer, &protect("true")).unwrap();
    refused(bed.account.delete_balancer(&balancer), Code::OperationNotPermitted);
    bed.account.modify_balancer_attributes(&balancer, &protect("false")).unwrap();
    refused(bed.account.delete_group(&group), Code::ResourceInUse);
    bed.account.delete_balancer(&balancer).unwrap();
    // Again is no error, and its listeners are gone as well.
    bed.account.delete_balancer(&balancer).unwrap();
    refused(bed.account.delete_listener(&listener), Code::ListenerNotFound);
    bed.account.delete_group(&group).unwrap();
    bed.account.delete_group(&group).unwrap();
    assert_eq!(bed.account.stored(), Stored::default());
}

/// A.5: defaults of a check, and that a group is made once.
#[test]
fn a_target_group_is_made_once_with_the_defaults_of_aws() {
    let mut bed = Bed::new();
    let made = bed.group(group("web")).unwrap();
    let check = &made.check;
    assert_eq!((check.protocol.as_str(), check.port.as_str()), ("TCP", "traffic-port"));
    assert_eq!((check.interval, check.timeout, check.healthy, check.unhealthy), (30, 10, 5, 2));
    assert_eq!((&check.path, &check.matcher), (&None, &None));
    assert_eq!(bed.group(group("web")).unwrap(), made);
    refused(bed.group(NewGroup { port: Some(81), ..group("web") }), Code::DuplicateTargetGroupName);
    let http = CheckChange { protocol: some("HTTP"), interval: Some(5), ..CheckChange::default() };
    let made = bed.group(NewGroup { check: http, ..group("http") }).unwrap();
    assert_eq!((made.check.timeout, made.check.interval), (5, 5));
    assert_eq!(
        (made.check.path.as_deref(), made.check.matcher.as_deref()),
        (Some("/"), Some("200-399"))
    );
    let tcp = CheckChange { protocol: some("TCP"), ..CheckChange::default() };
    let changed = bed.account.modify_group(&made.arn, tcp).unwrap();
    assert_eq!((&changed.check.path, changed.check.interval), (&None, 5));
}

/// A protocol that the data plane does not serve is refused, never taken silently.
#[test]
fn protocols_are_taken_as_far_as_they_are_served() {
    let (mut bed, [balancer, group_arn, _]) = Bed::web();
    for protocol in [Protocol::Udp, Protocol::TcpUdp] {
        let name = protocol.as_str();
        let of = NewGroup { protocol: some(name), ..group(&name.replace('_', "-")) };
        let mut on = listener(&balancer, 90, &group_arn);
        on.listener.protocol = some(name);
        let own = bed.group(of).unwrap().arn;
        refused(bed.listener(on.clone()), Code::IncompatibleProtocols);
        on.listener.port = Some(90 + u32::from(protocol == Protocol::Udp));
        on.listener.actions = listener(&balancer, 90, &own).listener.actions;
        bed.listener(on).unwrap();
    }
    let mut quic = listener(&balancer, 90, &group_arn);
    quic.listener.protocol = some("QUIC");
    refused(bed.listener(quic), Code::UnsupportedProtocol);
}

#[test]
fn a_listener_is_made_once() {
    let (mut bed, [balancer, group_arn, first]) = Bed::web();
    let prefix = "arn:aws:elasticloadbalancing:us-east-1:000000000000";
    assert_eq!(first, format!("{prefix}:listener/net/web/0000000000000001/0000000000000003"));
    assert_eq!(bed.listener(listener(&balancer, 80, &group_arn)).unwrap().arn, first);
    let other = bed.group(group("other")).unwrap().arn;
    refused(bed.listener(listener(&balancer, 80, &other)), Code::DuplicateListener);
    let second = bed.listener(listener(&balancer, 81, &group_arn)).unwrap().arn;
    let to = |port| ListenerChange { port: Some(port), ..ListenerChange::default() };
    refused(bed.account.modify_listener(&second, to(80)), Code::DuplicateListener);
    assert_eq!(bed.account.modify_listener(&second, to(82)).unwrap().port, 82);
    let change = ListenerChange { actions: forward(&other), ..ListenerChange::default() };
    assert_eq!(bed.account.modify_listener(&second, change).unwrap().forward[0].group, other);
    bed.account.delete_listener(&second).unwrap();
    refused(bed.account.delete_listener(&second), Code::ListenerNotFound);
}

/// A.9: what a TLS listener needs; certificates are for TLS listeners alone.
#[test]
fn certificates_are_known_by_their_arns() {
    let (mut bed, [balancer, group_arn, plain]) = Bed::web();
    let certificate = [CERTIFICATE.to_owned()];
    refused(bed.account.add_certificates(&plain, &certificate), Code::InvalidConfigurationRequest);
    bed.account.remove_certificates(&plain, &certificate).unwrap();
    let page = bed.account.describe_certificates(&plain, &PageOf::default()).unwrap();
    assert_eq!((page.items, page.next), (Vec::new(), None));
    let mut tls = listener(&balancer, 443, &group_arn);
    tls.listener.protocol = some("TLS");
    refused(bed.listener(tls.clone()), Code::ValidationError);
    tls.listener.certificates = vec!["arn:aws:acm:us-east-1:1:certificate/no".to_owned()];
    refused(bed.listener(tls.clone()), Code::CertificateNotFound);
    tls.listener.certificates = certificate.to_vec();
    tls.listener.ssl_policy = some("ELBSecurityPolicy-1");
    refused(bed.listener(tls.clone()), Code::SslPolicyNotFound);
    tls.listener.ssl_policy = None;
    tls.listener.alpn_policy = some("HTTP3Only");
    refused(bed.listener(tls.clone()), Code::AlpnPolicyNotFound);
    tls.listener.alpn_policy = None;
    // The file of the certificate is not there.
    refused(bed.listener(tls), Code::InvalidConfigurationRequest);
}

fn running(id: &str, port: u16, state: health::State) -> TargetState {
    let reason = match state {
        health::State::Draining => Some(health::Code::DeregistrationInProgress),
        _ => None,
    };
    TargetState {
        target_group: "web".into(),
        id: id.parse().unwrap(),
        port,
        availability_zone: None,
        health_check_port: port,
        state,
        reason,
        administrative_override: crate::nlb::stats::Override::default(),
        active_flows: 0,
    }
}

/// A.6: states and reasons of targets that run, that drain, that no listener uses, and that are not
/// registered.
#[test]
fn targets_have_the_health_of_the_running_load_balancer() {
    let (mut bed, [_, arn, listener]) = Bed::web();
    let account = &mut bed.account;
    account.register(&arn, &[target("10.0.0.1", None), target("10.0.0.1", Some(81))]).unwrap();
    let states = |account: &Account, wanted: &[TargetKey], running: &[TargetState]| -> Vec<_> {
        let all = account.health(&arn, wanted, running).unwrap();
        all.into_iter()
            .map(|it| (it.target.port, it.state, it.reason.unwrap_or_default()))
            .collect()
    };
    let row = |port, state: &str, reason: &str| (port, state.to_owned(), reason.to_owned());
    let live = [
        running("10.0.0.1", 8080, health::State::Healthy),
        running("10.0.0.2", 9, health::State::Draining),
    ];
    let drains = row(9, "draining", "Target.DeregistrationInProgress");
    assert_eq!(
        states(account, &[], &live),
        [
            row(8080, "healthy", ""),
            row(81, "initial", "Elb.RegistrationInProgress"),
            drains.clone(),
        ]
    );
    let named = [target("10.0.0.2", None), target("10.0.0.3", Some(5)), target("10.0.0.1", None)];
    assert_eq!(
        states(account, &named, &live),
        [
            drains,
            row(5, "unused", "Target.NotRegistered"),
            row(8080, "healthy", ""),
            row(81, "initial", "Elb.RegistrationInProgress"),
        ]
    );
    account.delete_listener(&listener).unwrap();
    assert_eq!(states(account, &[], &[])[0], row(8080, "unused", "Target.NotInUse"));
    account.deregister(&arn, &[target("10.0.0.1", Some(81)), target("10.9.9.9", None)]).unwrap();
    assert_eq!(states(account, &[], &[]).len(), 1);
}

/// A machine is an address and a zone; without the option that tells them it is not used.
#[test]
fn machines_are_addresses_by_their_ids() {
    let (mut bed, [balancer, ..]) = Bed::web();
    let arn = bed.group(NewGroup { target_type: None, ..group("machines") }).unwrap().arn;
    bed.account.register(&arn, &[target("i-9", Some(81))]).unwrap();
    bed.listener(listener(&balancer, 81, &arn)).unwrap();
    let config = bed.account.config(&balancer).unwrap();
    let group = config.groups.iter().find(|group| &*group.name == "machines").unwrap();
    assert_eq!(group.targets[0].address, "10.0.0.9:81".parse().unwrap());
    assert_eq!(group.targets[0].zone.as_deref(), Some("us-east-1b"));
    let stored = bed.account.stored();
    let account = Account::restore(Environment::default(), stored).unwrap();
    let health = account.health(&arn, &[], &[]).unwrap();
    assert_eq!(health[0].reason.as_deref(), Some("Target.InvalidState"));
}

#[test]
fn tags_are_added_and_removed() {
    let (mut bed, arns) = Bed::web();
    let account = &mut bed.account;
    account.add_tags(&arns, &[pair("a", "1"), pair("b", "2")]).unwrap();
    account.add_tags(&arns[..1], &[pair("a", "3")]).unwrap();
    account.remove_tags(&arns[..2], &["b".to_owned(), "c".to_owned()]).unwrap();
    let told: Vec<_> = account.tags(&arns).unwrap().into_iter().map(|it| it.1.clone()).collect();
    let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| pair(a, b)).collect::<Tags>();
    assert_eq!(told, [tags(&[("a", "3")]), tags(&[("a", "1")]), tags(&[("a", "1"), ("b", "2")])]);
    let none = ["arn:aws:s3:::bucket".to_owned()];
    refused(account.tags(&none), Code::ValidationError);
    let twice = [pair("a", ""), pair("a", "")];
    refused(account.add_tags(&arns, &twice), Code::DuplicateTagKeys);
    for bad in [pair("", ""), pair("aws:a", ""), pair("a", "!"), pair(&"a".repeat(129), "")] {
        refused(account.add_tags(&arns, &[bad]), Code::ValidationError);
    }
    refused(account.add_tags(&arns, &[]), Code::ValidationError);
    let many: Vec<_> = (0..51).map(|number| pair(&format!("t{number}"), "")).collect();
    refused(account.add_tags(&arns[1..2], &many), Code::TooManyTags);
    refused(account.tags(&vec![arns[0].clone(); 21]), Code::ValidationError);
}

#[test]
fn describes_filter_and_turn_pages() {
    let (mut bed, [balancer_arn, group_arn, listener_arn]) = Bed::web();
    bed.balancer(balancer("two")).unwrap();
    bed.group(group("two")).unwrap();
    let account = &bed.account;
    let first = BalancerFilter {
        page: PageOf { size: Some(1), marker: None },
        ..BalancerFilter::default()
    };
    let page = account.describe_balancers(&first).unwrap();
    let marker = page.next.unwrap();
    let rest = BalancerFilter {
        page: PageOf { size: Some(1), marker: Some(marker) },
        ..BalancerFilter::default()
    };
    let names: Vec<_> = [page.items[0], account.describe_balancers(&rest).unwrap().items[0]]
        .map(|it| it.name.clone())
        .to_vec();
    assert_eq!(names, ["two", "web"]);
    let by = |names: &[&str]| BalancerFilter {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..BalancerFilter::default()
    };
    assert_eq!(account.describe_balancers(&by(&["web"])).unwrap().items.len(), 1);
    refused(account.describe_balancers(&by(&["web", "no"])), Code::LoadBalancerNotFound);
    let of = GroupFilter { load_balancer: Some(balancer_arn), ..GroupFilter::default() };
    let groups = account.describe_groups(&of).unwrap().items;
    assert_eq!(groups.iter().map(|it| &it.arn).collect::<Vec<_>>(), [&group_arn]);
    let gone = GroupFilter { names: vec!["no".to_owned()], ..GroupFilter::default() };
    refused(account.describe_groups(&gone), Code::TargetGroupNotFound);
    refused(account.describe_listeners(&ListenerFilter::default()), Code::ValidationError);
    let one = ListenerFilter { arns: vec![listener_arn], ..ListenerFilter::default() };
    assert_eq!(account.describe_listeners(&one).unwrap().items.len(), 1);
}

/// What a file or a Service made is shown, and is not changed by the API.
#[test]
fn load_balancers_of_others_are_shown_and_not_changed() {
    let mut bed = Bed::new();
    let config = parse(
        "name: file\nzones: [a]\nlisteners: [{ port: 80, targetGroup: web }]\n\
         targetGroups: [{ name: web, port: 1, healthCheck: { protocol: HTTP, matcher: '200,202' },\
         attributes: { stickiness.enabled: true }, targets: [{ id: 10.0.0.1 }] }]",
    )
    .unwrap();
    let foreign = Foreign { owner: Owner::File, config };
    bed.account.set_foreign(std::slice::from_ref(&foreign));
    let all = bed.account.describe_balancers(&BalancerFilter::default()).unwrap().items;
    let (arn, name) = (all[0].arn.clone(), all[0].dns_name.clone());
    assert!(name.starts_with("file-"), "{name}");
    assert!(arn.contains("/net/file/"), "{arn}");
    let groups = bed.account.describe_groups(&GroupFilter::default()).unwrap().items;
    let group_arn = groups[0].arn.clone();
    assert_eq!(groups[0].check.matcher.as_deref(), Some("200,202"));
    let attributes = bed.account.group_attributes(&group_arn).unwrap();
    assert!(attributes.contains(&pair("stickiness.enabled", "true")));
    let states = [running("10.0.0.1", 1, health::State::Healthy)];
    assert_eq!(bed.account.health(&group_arn, &[], &states).unwrap()[0].state, "healthy");

    refused(bed.account.delete_balancer(&arn), Code::OperationNotPermitted);
    refused(bed.account.delete_group(&group_arn), Code::OperationNotPermitted);
    refused(
        bed.account.register(&group_arn, &[target("10.0.0.2", None)]),
        Code::OperationNotPermitted,
    );
    refused(bed.account.add_tags(&[arn], &[pair("a", "b")]), Code::OperationNotPermitted);
    refused(bed.balancer(balancer("file")), Code::DuplicateLoadBalancerName);
    let own = bed.balancer(balancer("own")).unwrap().arn;
    refused(bed.listener(listener(&own, 80, &group_arn)), Code::OperationNotPermitted);
    assert_eq!(bed.account.stored().load_balancers.len(), 1);
    bed.account.set_foreign(&[]);
    assert_eq!(bed.account.describe_groups(&GroupFilter::default()).unwrap().items.len(), 0);
}

/// What is stored is the account again; what is broken says so.
#[test]
fn an_account_is_restored() {
    let (mut bed, [balancer, group, _]) = Bed::web();
    bed.account.register(&group, &[target("10.0.0.1", None)]).unwrap();
    let stored = bed.account.stored();
    let text = serde_json::to_string(&stored).unwrap();
    let read: Stored = serde_json::from_str(&text).unwrap();
    let account = Account::restore(Environment::default(), read).unwrap();
    assert_eq!(account.stored(), stored);
    assert_eq!(account.config(&balancer), bed.account.config(&balancer));
    let mut broken = stored.clone();
    broken.target_groups.clear();
    let error = Account::restore(Environment::default(), broken).unwrap_err();
    assert!(error.contains("which is not there"), "{error}");
    let mut twice = stored;
    twice.load_balancers.extend(twice.load_balancers.clone());
    assert!(Account::restore(Environment::default(), twice).is_err());
}

/// A.5, A.14: what the options say of checkers and of late changes holds for what the API makes.
#[test]
fn load_balancers_check_and_change_as_the_environment_says() {
    let (mut bed, [arn, ..]) = Bed::web();
    let mut environment = Environment::clone(&bed.account.environment);
    environment.realism = Realism { check_from_each_zone: true, propagation_delay: 90 };
    bed.account.environment = Arc::new(environment);
    let config = bed.account.config(&arn).unwrap();
    let group = &config.groups[0];
    assert_eq!((group.check.checkers, group.propagation_delay.as_secs()), (2, 90));
}
