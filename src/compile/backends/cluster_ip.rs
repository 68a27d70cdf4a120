//! Services that are dialled at their cluster IP (`--upstream cluster-ip`): the name of the Service, by
//! the DNS map, leads to its address, and kube-proxy or `wharf proxy` chooses the pod there.
//!
//! Called by `backends` for each Service of a route, at compile time. Always holds: what could not be
//! reached endpoint by endpoint is not reached through a cluster IP either, and a Service that has
//! none is served by its endpoints, with a finding.

use std::{net::SocketAddr, sync::Arc};

use super::{Backends, Found, Kind, finding, is_restricted};
use crate::{
    model::{
        finding::{Finding, codes},
        objects::Stored,
        route::Route,
    },
    net::address_map::place,
    zone::{Port, Protocol, ServiceEntry},
};

const FIX: &str = "give the Service a spec.clusterIP and ports that its endpoints have; or use \
                   --upstream endpoints";

impl Backends {
    /// The first cluster IP of a Service on each of its ports that lead to the endpoints `found`, for
    /// dual stack the Service's own first choice; or else those endpoints. Without endpoints there is
    /// nothing to dial: kube-proxy refuses such connections, so that they need not be tried.
    pub(super) fn cluster_ips(
        &self,
        route: &Stored<Route>,
        entry: &ServiceEntry,
        found: Vec<Found>,
        findings: &mut Vec<Finding>,
    ) -> Vec<Found> {
        if found.is_empty() {
            return found;
        }
        match self.behind(entry, &found) {
            Ok(servers) => servers,
            Err(why) => {
                let text = format!("Service {} is dialled at its endpoints: {why}", entry.key);
                findings.push(finding(route, codes::NO_CLUSTER_IP, "spec.to.name", &text, FIX));
                found
            },
        }
    }

    fn behind(&self, entry: &ServiceEntry, found: &[Found]) -> Result<Vec<Found>, String> {
        let Some(&vip) = entry.vips.first() else {
            return Err("it has no cluster IP".to_owned());
        };
        // Where a map says where addresses are, that was said by the one who runs the router.
        let address = place(&self.upstream.vip_map, vip);
        if address == vip && is_restricted(vip, self.allow_loopback) {
            return Err(format!("{vip} is loopback, link-local, multicast or metadata"));
        }
        let restricted = |address| is_restricted(address, self.allow_loopback);
        if let Some(endpoint) = entry.endpoints.iter().find(|one| restricted(one.address)) {
            return Err(format!("its cluster IP may lead to {}", endpoint.address));
        }
        let servers = entry.ports.iter().filter_map(|port| {
            // A Service and its endpoints name their ports alike, whatever their numbers are.
            let mut behind = found.iter().filter(|found| leads(port, found)).peekable();
            let first = *behind.peek()?;
            Some(Found {
                address: SocketAddr::new(address, port.number),
                port: Arc::clone(&port.name),
                protocol: first.protocol,
                tls: None,
                pod: "".into(),
                kind: Kind::ClusterIp(behind.count()),
            })
        });
        let servers: Vec<Found> = servers.collect();
        match servers.is_empty() {
            true => Err("none of its ports has the name of the endpoints' port".to_owned()),
            false => Ok(servers),
        }
    }
}

fn leads(port: &Port, found: &Found) -> bool {
    port.protocol == Protocol::Tcp && port.number != 0 && port.name == found.port
}
