//! What cannot be made, with the codes of AWS (spec/l4-dns.md A.13).

use super::*;

#[test]
fn load_balancers_that_are_refused() {
    let mut bed = Bed::new();
    let with = |change: fn(&mut NewBalancer)| {
        let mut wanted = balancer("web");
        change(&mut wanted);
        wanted
    };
    for (wanted, code) in [
        (with(|it| it.kind = None), Code::InvalidConfigurationRequest),
        (with(|it| it.kind = some("application")), Code::InvalidConfigurationRequest),
        (with(|it| it.kind = some("classic")), Code::ValidationError),
        (with(|it| it.name = String::new()), Code::ValidationError),
        (with(|it| it.name = "-a".to_owned()), Code::ValidationError),
        (with(|it| it.name = "a_b".to_owned()), Code::ValidationError),
        (with(|it| it.name = "a".repeat(33)), Code::ValidationError),
        (with(|it| it.name = "internal-a".to_owned()), Code::ValidationError),
        (with(|it| it.scheme = some("public")), Code::InvalidScheme),
        (with(|it| it.ip_address_type = some("dualstack")), Code::InvalidConfigurationRequest),
        (with(|it| it.ip_address_type = some("ipv5")), Code::ValidationError),
        (with(|it| it.security_groups = vec!["sg-1".to_owned()]), Code::InvalidSecurityGroup),
        (with(|it| it.subnets.clear()), Code::ValidationError),
        (with(|it| it.subnets[0].subnet = "subnet-1".to_owned()), Code::SubnetNotFound),
        (with(|it| it.subnets[0] = subnet("b")), Code::InvalidConfigurationRequest),
        (with(|it| it.subnets[0].allocation = some("eipalloc-1")), Code::AllocationIdNotFound),
        (with(|it| it.subnets[0].address = some("::1")), Code::ValidationError),
        (with(|it| it.subnets[0].address = some("127.0.1.2")), Code::InvalidConfigurationRequest),
        (with(|it| it.tags = vec![pair("a", "1"), pair("a", "2")]), Code::DuplicateTagKeys),
    ] {
        refused(bed.balancer(wanted), code);
    }
    for number in 0..limits::BALANCERS {
        bed.balancer(balancer(&format!("b{number}"))).unwrap();
    }
    refused(bed.balancer(balancer("more")), Code::TooManyLoadBalancers);
}

#[test]
fn target_groups_that_are_refused() {
    let mut bed = Bed::new();
    let with = |change: fn(&mut NewGroup)| {
        let mut wanted = group("web");
        change(&mut wanted);
        wanted
    };
    for (wanted, code) in [
        (with(|it| it.name = "a.b".to_owned()), Code::ValidationError),
        (with(|it| it.protocol = None), Code::ValidationError),
        (with(|it| it.protocol = some("SCTP")), Code::ValidationError),
        (with(|it| it.protocol = some("HTTP")), Code::InvalidConfigurationRequest),
        (with(|it| it.protocol = some("QUIC")), Code::InvalidConfigurationRequest),
        (with(|it| it.port = None), Code::ValidationError),
        (with(|it| it.port = Some(0)), Code::ValidationError),
        (with(|it| it.port = Some(65536)), Code::ValidationError),
        (with(|it| it.vpc = None), Code::ValidationError),
        (with(|it| it.target_type = some("alb")), Code::InvalidConfigurationRequest),
        (with(|it| it.target_type = some("pod")), Code::ValidationError),
        (with(|it| it.ip_address_type = some("dual")), Code::ValidationError),
        (with(|it| it.check.enabled = Some(false)), Code::InvalidConfigurationRequest),
        (with(|it| it.check.protocol = some("UDP")), Code::InvalidConfigurationRequest),
        (with(|it| it.check.path = some("/")), Code::InvalidConfigurationRequest),
        (with(|it| it.check.interval = Some(4)), Code::ValidationError),
        (with(|it| it.check.timeout = Some(121)), Code::ValidationError),
        (with(|it| it.check.timeout = Some(31)), Code::ValidationError),
        (with(|it| it.check.healthy = Some(1)), Code::ValidationError),
        (with(|it| it.check.unhealthy = Some(11)), Code::ValidationError),
        (with(|it| it.check.port = some("0")), Code::ValidationError),
        (
            with(|it| {
                it.check.protocol = some("HTTP");
                it.check.path = some("x");
            }),
            Code::InvalidConfigurationRequest,
        ),
        (
            with(|it| {
                it.check.protocol = some("HTTP");
                it.check.matcher = some("199");
            }),
            Code::InvalidConfigurationRequest,
        ),
    ] {
        refused(bed.group(wanted), code);
    }
}

#[test]
fn listeners_that_are_refused() {
    let (mut bed, [balancer_arn, group_arn, _]) = Bed::web();
    let two = bed.balancer(balancer("two")).unwrap().arn;
    let with = |change: &dyn Fn(&mut NewListener)| {
        let mut wanted = listener(&balancer_arn, 90, &group_arn);
        change(&mut wanted);
        wanted
    };
    let missing = group_arn.replace("/web/", "/gone/");
    let rows = [
        (with(&|it| it.load_balancer = "web".to_owned()), Code::ValidationError),
        (with(&|it| it.load_balancer.push('0')), Code::LoadBalancerNotFound),
        (with(&|it| it.load_balancer.clone_from(&two)), Code::TargetGroupAssociationLimit),
        (with(&|it| it.listener.port = None), Code::ValidationError),
        (with(&|it| it.listener.port = Some(70_000)), Code::ValidationError),
        (with(&|it| it.listener.protocol = None), Code::ValidationError),
        (with(&|it| it.listener.protocol = some("SCTP")), Code::ValidationError),
        (with(&|it| it.listener.actions.clear()), Code::ValidationError),
        (with(&|it| it.listener.actions[0].group = None), Code::ValidationError),
        (with(&|it| it.listener.actions.push(Action::default())), Code::TooManyActions),
        (
            with(&|it| it.listener.actions[0].kind = "redirect".to_owned()),
            Code::InvalidLoadBalancerAction,
        ),
        (with(&|it| it.listener.actions[0].sticky = true), Code::InvalidConfigurationRequest),
        (
            with(&|it| it.listener.actions[0].group = Some(missing.clone())),
            Code::TargetGroupNotFound,
        ),
        (
            with(&|it| it.listener.actions[0].groups = vec![(group_arn.clone(), Some(1000))]),
            Code::ValidationError,
        ),
        (
            with(&|it| {
                it.listener.actions[0].group = None;
                it.listener.actions[0].groups = vec![(group_arn.clone(), None); 2];
            }),
            Code::ValidationError,
        ),
        (
            with(&|it| it.listener.certificates = vec![CERTIFICATE.to_owned()]),
            Code::InvalidConfigurationRequest,
        ),
        (with(&|it| it.listener.ssl_policy = some("x")), Code::InvalidConfigurationRequest),
        (
            with(&|it| it.listener.mutual_authentication = some("verify")),
            Code::InvalidConfigurationRequest,
        ),
    ];
    for (wanted, code) in rows {
        refused(bed.listener(wanted), code);
    }
    for port in 1000..1049 {
        bed.listener(listener(&balancer_arn, port, &group_arn)).unwrap();
    }
    refused(bed.listener(listener(&balancer_arn, 1050, &group_arn)), Code::TooManyListeners);
}

#[test]
fn targets_that_are_refused() {
    let (mut bed, [_, arn, _]) = Bed::web();
    let six = NewGroup { ip_address_type: some("ipv6"), ..group("six") };
    let six = bed.group(six).unwrap().arn;
    let machines = NewGroup { target_type: None, ..group("machines") };
    let machines = bed.group(machines).unwrap().arn;
    let zone = TargetKey { zone: some("eu-west-1a"), ..target("10.0.0.1", None) };
    let quic = TargetKey { quic_server: some("0x1"), ..target("10.0.0.1", None) };
    for (group, key, code) in [
        (&arn, target("i-9", None), Code::InvalidTarget),
        (&arn, target("::1", None), Code::InvalidTarget),
        (&six, target("10.0.0.1", None), Code::InvalidTarget),
        (&machines, target("10.0.0.1", None), Code::InvalidTarget),
        (&machines, target("i-1", None), Code::InvalidTarget),
        (&arn, target("10.0.0.1", Some(0)), Code::ValidationError),
        (&arn, zone, Code::InvalidTarget),
        (&arn, quic, Code::InvalidTarget),
    ] {
        refused(bed.account.register(group, &[key]), code);
    }
    refused(bed.account.register(&arn, &[]), Code::ValidationError);
    refused(bed.account.register("web", &[]), Code::ValidationError);
    refused(
        bed.account.register(&arn.replace("/web/", "/no/"), &[target("::1", None)]),
        Code::TargetGroupNotFound,
    );
    let many: Vec<_> = (1..=501).map(|port| target("10.0.0.1", Some(port))).collect();
    refused(bed.account.clone().register(&arn, &many), Code::TooManyTargets);
    let free = bed.group(group("free")).unwrap().arn;
    let many: Vec<_> = (1..=1001).map(|port| target("10.0.0.1", Some(port))).collect();
    refused(bed.account.register(&free, &many), Code::TooManyTargets);
}
