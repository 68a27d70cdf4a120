//! What shall run: load balancers as the documents that a user would write for them, and what
//! `nlb::config` makes of these.

use serde_json::{Value, json};

use super::{
    Account, LoadBalancer, Owner, TargetGroup,
    attributes::{Attributes, BUCKET, DELETION_PROTECTION},
    error::{Code, Refusal},
};
use crate::nlb::config::{NlbConfig, Problem, Protocol, parse};

const DNS_COUNT: &str = "target_group_health.dns_failover.minimum_healthy_targets.count";
const ROUTING_COUNT: &str =
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count";

impl Account {
    /// The documents of all load balancers of this API, by ARN.
    #[must_use]
    pub fn documents(&self) -> Vec<(String, String)> {
        let own = self.balancers.values().filter(|balancer| balancer.owner == Owner::Api);
        own.map(|it| (it.arn.clone(), self.document(it).to_string())).collect()
    }

    /// The configuration of a load balancer.
    ///
    /// # Errors
    /// It cannot run like this.
    pub fn config(&self, arn: &str) -> Result<NlbConfig, Refusal> {
        read(&self.document(self.balancer(arn)?))
    }

    /// Refuses a group that could not run.
    pub(super) fn try_group(&self, group: &TargetGroup) -> Result<(), Refusal> {
        let document = json!({
            "name": "trial",
            "listeners": [],
            "targetGroups": [self.group_document(group)],
        });
        read(&document).map(|_valid| ())
    }

    fn document(&self, balancer: &LoadBalancer) -> Value {
        let id = balancer.arn.rsplit('/').next().unwrap_or_default();
        let zones = balancer.nodes.iter().map(|node| match node.address {
            Some(address) => json!({ "name": node.zone, "address": address }),
            None => json!(node.zone),
        });
        let listeners: Vec<_> = self.listeners_of(&balancer.arn).collect();
        let mut groups: Vec<_> =
            listeners.iter().flat_map(|it| &it.forward).map(|it| &it.group).collect();
        groups.sort();
        groups.dedup();
        let groups = groups.into_iter().filter_map(|arn| self.groups.get(arn));
        let listeners = listeners.iter().map(|listener| {
            let forward = listener.forward.iter().filter_map(|forward| {
                let group = self.groups.get(&forward.group)?;
                Some(json!({ "name": group.name, "weight": forward.weight }))
            });
            let protocol = listener.protocol.as_str();
            let mut document = json!({
                // It stays when the protocol changes: what the port carries already goes on.
                "name": format!("{}:{}", balancer.name, listener.port),
                "port": listener.port,
                "protocol": protocol,
                "targetGroups": forward.collect::<Vec<_>>(),
                "attributes": listener.attributes,
            });
            if listener.protocol == Protocol::Tls {
                let certificates = listener.certificates.iter().filter_map(|arn| {
                    let path = self.environment.certificates.get(arn)?;
                    Some(json!({ "certificate": path, "arn": arn }))
                });
                document["certificates"] = certificates.collect();
                document["sslPolicy"] = json!(listener.ssl_policy);
                document["alpnPolicy"] = json!(listener.alpn_policy);
            }
            document
        });
        let mut attributes = balancer.attributes.clone();
        attributes.remove(DELETION_PROTECTION);
        // A name is never a path: one that nobody knows any more is no bucket.
        if let Some(bucket) = attributes.get_mut(BUCKET) {
            let path = self.environment.buckets.get(bucket);
            *bucket = path.map(|path| path.display().to_string()).unwrap_or_default();
        }
        let mut document = json!({
            "name": balancer.name,
            "region": self.environment.region,
            "dnsId": id,
            "zones": zones.collect::<Vec<_>>(),
            "attributes": attributes,
            "listeners": listeners.collect::<Vec<_>>(),
            "targetGroups": groups.map(|group| self.group_document(group)).collect::<Vec<_>>(),
        });
        self.environment.realism.write(&mut document);
        document
    }

    fn group_document(&self, group: &TargetGroup) -> Value {
        let check = &group.check;
        let mut of_check = json!({
            "protocol": check.protocol,
            "port": check.port,
            "intervalSeconds": check.interval,
            "timeoutSeconds": check.timeout,
            "healthyThresholdCount": check.healthy,
            "unhealthyThresholdCount": check.unhealthy,
        });
        if let (Some(path), Some(matcher)) = (&check.path, &check.matcher) {
            of_check["path"] = json!(path);
            of_check["matcher"] = json!(matcher);
        }
        let targets = group.targets.iter().filter_map(|target| {
            let address = self.address(group, target)?;
            let mut document = json!({ "id": address.ip(), "port": address.port() });
            if let Some(zone) = self.zone_of(group, target) {
                document["availabilityZone"] = json!(zone);
            }
            Some(document)
        });
        json!({
            "name": group.name,
            "protocol": group.protocol.as_str(),
            "port": group.port,
            "healthCheck": of_check,
            "attributes": attributes(group),
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

/// The attributes of a group, with those defaults that `nlb::config` does not have.
fn attributes(group: &TargetGroup) -> Attributes {
    let mut attributes = group.attributes.clone();
    // A limit of DNS that is left out would follow that of routing; at AWS it is 1.
    if attributes.contains_key(ROUTING_COUNT) {
        attributes.entry(DNS_COUNT.to_owned()).or_insert_with(|| "1".to_owned());
    }
    attributes
}

fn read(document: &Value) -> Result<NlbConfig, Refusal> {
    parse(&document.to_string()).map_err(|error| {
        let code = match error.problem {
            Problem::IncompatibleProtocols { .. } => Code::IncompatibleProtocols,
            _ => Code::InvalidConfigurationRequest,
        };
        code.because(error.problem.to_string())
    })
}
