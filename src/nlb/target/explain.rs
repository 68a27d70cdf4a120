//! The choice of a group in words, without a flow.

use std::net::IpAddr;

use super::{Group, choose, sticky_hash};
use crate::nlb::{
    explain::{GroupView, TargetView},
    flow::{Member, Routing, Standing},
};

impl Group {
    /// What a flow of `source` that enters at the node of `zone` would be chosen from.
    pub(in crate::nlb) fn explain(
        &self,
        source: IpAddr,
        zone: Option<&str>,
        weight: u32,
    ) -> GroupView {
        let config = self.config();
        let members = self.members.load();
        let standing = |index: usize| members[index].standing_at(zone, &config);
        let candidates = members
            .iter()
            .enumerate()
            .map(|(index, target)| Member { id: target.id, standing: standing(index) });
        let choice = choose(sticky_hash(source, self.shared.seed), candidates, config.minimum);
        let routing = choice.map(|choice| choice.routing);
        let may = |standing| match routing {
            Some(Routing::Healthy) => standing == Standing::Healthy,
            Some(Routing::FailOpen) => standing != Standing::Out,
            None => false,
        };
        let eligible: Vec<bool> = (0..members.len()).map(|index| may(standing(index))).collect();
        let known = config.sticky || eligible.iter().filter(|may| **may).count() == 1;
        let targets = members.iter().zip(&eligible).map(|(target, eligible)| {
            let registered = target.config.load();
            let registration = target.lock();
            TargetView {
                address: target.address,
                zone: registered.zone.as_deref().map(str::to_owned),
                check: registered.check_address(&config.check),
                state: word(&registration.health.state()).unwrap_or_default(),
                reason: registration.health.code().and_then(|code| word(&code)),
                eligible: *eligible,
            }
        });
        GroupView {
            name: config.name.to_string(),
            weight,
            proxy_protocol: config.proxy_protocol,
            sticky: config.sticky,
            cross_zone: config.cross_zone,
            routing,
            targets: targets.collect(),
            chosen: choice.filter(|_| known).map(|choice| members[choice.index].address),
        }
    }
}

/// The word of the API.
fn word(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
