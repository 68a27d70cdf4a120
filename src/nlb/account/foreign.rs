//! Load balancers that the API did not make, as the API shows them: one model for all (A.1).

use std::time::Duration;

use super::{
    Account, Check, Forward, Listener, LoadBalancer, NUMBER, Node, Owner, Tags, Target,
    TargetGroup, VPC,
    attributes::{self, Attributes},
};
use crate::{
    health::OnUnhealthy,
    nlb::{
        config::{CheckConfig, CheckProtocol, GroupConfig, NlbConfig},
        flow::Minimum,
        names::Names,
    },
};

/// A load balancer that runs and is not of the API.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Who made it.
    pub owner: Owner,
    /// As it runs.
    pub config: NlbConfig,
}

impl Account {
    /// Shows these load balancers beside those of the API, and no others.
    pub fn set_foreign(&mut self, all: &[Foreign]) {
        self.balancers.retain(|_, balancer| balancer.owner == Owner::Api);
        self.groups.retain(|_, group| group.owner == Owner::Api);
        self.listeners.retain(|_, listener| listener.owner == Owner::Api);
        for foreign in all {
            self.show(foreign);
        }
    }

    fn show(&mut self, Foreign { owner, config }: &Foreign) {
        let names = Names::new(&config.name, &config.names);
        let region = &config.names.region;
        let arn =
            |resource: String| format!("arn:aws:elasticloadbalancing:{region}:{NUMBER}:{resource}");
        // `net/NAME/ID`.
        let label = &names.label;
        let balancer = arn(format!("loadbalancer/{label}"));
        let group_arn = |name: &str| {
            let id = crate::nlb::names::stable(&format!("{label}/{name}"));
            arn(format!("targetgroup/{name}/{id:016x}"))
        };
        for group in &config.groups {
            let shown = of_group(group, group_arn(&group.name), owner);
            self.groups.insert(shown.arn.clone(), shown);
        }
        for listener in &config.listeners {
            let id = crate::nlb::names::stable(&format!("{label}/{}", listener.name));
            let idle = listener.idle_timeout.as_secs().to_string();
            let given = (idle != "350").then(|| (attributes::IDLE.to_owned(), idle));
            let forward = listener.forward.iter();
            let shown = Listener {
                arn: arn(format!("listener/{label}/{id:016x}")),
                load_balancer: balancer.clone(),
                protocol: listener.protocol,
                port: listener.address.port(),
                forward: forward
                    .map(|it| Forward { group: group_arn(&it.group), weight: it.weight })
                    .collect(),
                certificates: Vec::new(),
                ssl_policy: None,
                alpn_policy: None,
                attributes: given.into_iter().collect(),
                tags: Tags::new(),
                owner: owner.clone(),
            };
            self.listeners.insert(shown.arn.clone(), shown);
        }
        let nodes = config.zones.iter();
        let shown = LoadBalancer {
            arn: balancer.clone(),
            name: config.name.to_string(),
            created: 0,
            scheme: "internet-facing".to_owned(),
            nodes: nodes
                .map(|zone| Node { zone: zone.name.to_string(), address: zone.address })
                .collect(),
            attributes: Attributes::new(),
            tags: Tags::new(),
            dns_name: names.regional.clone(),
            owner: owner.clone(),
        };
        self.balancers.insert(balancer, shown);
    }
}

fn of_group(group: &GroupConfig, arn: String, owner: &Owner) -> TargetGroup {
    let targets: Vec<_> = group
        .targets
        .iter()
        .map(|target| Target {
            id: target.address.ip().to_string(),
            port: target.address.port(),
            zone: target.zone.as_ref().map(ToString::to_string),
        })
        .collect();
    TargetGroup {
        arn,
        name: group.name.to_string(),
        protocol: group.protocol,
        // A configuration has the ports of the targets only.
        port: targets.first().map_or(1, |target| target.port),
        vpc: VPC.to_owned(),
        target_type: group.target_type,
        ipv6: group.targets.first().is_some_and(|target| target.address.is_ipv6()),
        check: of_check(&group.check),
        attributes: of_attributes(group),
        tags: Tags::new(),
        targets,
        owner: owner.clone(),
    }
}

/// Attributes as they run; that of the load balancer is filled in.
fn of_attributes(group: &GroupConfig) -> Attributes {
    let seconds = |duration: Duration| duration.as_secs().to_string();
    let number = |limit: Option<u32>| limit.map_or_else(|| "off".to_owned(), |it| it.to_string());
    let minimums = |prefix: &str, minimum: Minimum| {
        let key =
            |what: &str| format!("target_group_health.{prefix}.minimum_healthy_targets.{what}");
        [(key("count"), number(minimum.count)), (key("percentage"), number(minimum.percent))]
    };
    let resets = group.check.rules.on_unhealthy == OnUnhealthy::Reset;
    let own = [
        (attributes::CROSS_ZONE, group.cross_zone.to_string()),
        ("proxy_protocol_v2.enabled", group.proxy_protocol.to_string()),
        ("stickiness.enabled", group.sticky.to_string()),
        ("deregistration_delay.timeout_seconds", seconds(group.deregistration_delay)),
        (attributes::TERMINATION, group.deregistration_termination.to_string()),
        ("target_health_state.unhealthy.connection_termination.enabled", resets.to_string()),
        (
            "target_health_state.unhealthy.draining_interval_seconds",
            seconds(group.unhealthy_draining),
        ),
    ];
    let mut all: Attributes = own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    all.extend(minimums("dns_failover", group.dns_minimum));
    all.extend(minimums("unhealthy_state_routing", group.minimum));
    all
}

fn of_check(check: &CheckConfig) -> Check {
    // Fractions of seconds are an extension that the API has no words for.
    let seconds =
        |duration: Duration| u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    let (protocol, path, matcher) = match &check.protocol {
        CheckProtocol::Tcp => ("TCP", None, None),
        CheckProtocol::Http { path, matcher } => ("HTTP", Some(path), Some(matcher.to_string())),
        CheckProtocol::Https { path, matcher } => ("HTTPS", Some(path), Some(matcher.to_string())),
    };
    Check {
        protocol: protocol.to_owned(),
        port: check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string()),
        path: path.map(ToString::to_string),
        matcher,
        interval: seconds(check.interval),
        timeout: seconds(check.timeout),
        healthy: check.rules.healthy_threshold,
        unhealthy: check.rules.unhealthy_threshold,
    }
}
