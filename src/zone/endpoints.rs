//! Endpoints of one Service, merged from its slices (spec/l4-dns.md B.2).
//!
//! Called by `zone::build`. The order of the input decides ties, so the caller sorts it.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, ObjectReference};

use super::{EndpointEntry, Port, Protocol, build::Resolved, names};
use crate::model::slice::{Endpoint, EndpointSlice};

/// What is known of one address apart from its ports.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) address: IpAddr,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    pub(super) pod: Option<Arc<str>>,
    pub(super) hostname: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
}

/// Collects (address, port) rows, each once.
///
/// While an endpoint moves between slices it stands in both: the first mention names the pod, and
/// the row is ready when any mention is.
#[derive(Debug, Default)]
pub(super) struct Merge {
    rows: Vec<(Member, Port)>,
    index: HashMap<(IpAddr, Arc<str>, Protocol, u16), usize, foldhash::fast::RandomState>,
}

impl Merge {
    /// Adds `member` with each of `ports`.
    pub(super) fn add(&mut self, member: &Member, ports: &[Port]) {
        for port in ports {
            let key = (member.address, Arc::clone(&port.name), port.protocol, port.number);
            match self.index.get(&key) {
                Some(&row) => {
                    let known = &mut self.rows[row].0;
                    known.ready |= member.ready;
                    known.serving |= member.serving;
                    known.terminating &= member.terminating;
                },
                None => {
                    self.index.insert(key, self.rows.len());
                    self.rows.push((member.clone(), port.clone()));
                },
            }
        }
    }

    /// The entries: rows of one address and identity joined, sorted by address text.
    pub(super) fn finish(mut self) -> Box<[EndpointEntry]> {
        self.rows.sort_by_cached_key(|(member, _)| member.address.to_string());
        let mut entries: Vec<(Member, Vec<Port>)> = Vec::with_capacity(self.rows.len());
        let mut first_of_address = 0;
        for (member, port) in self.rows {
            if entries.last().is_none_or(|(last, _)| last.address != member.address) {
                first_of_address = entries.len();
            }
            match entries[first_of_address..].iter_mut().find(|(known, _)| same(known, &member)) {
                Some((_, ports)) => ports.push(port),
                None => entries.push((member, vec![port])),
            }
        }
        entries.into_iter().map(|(member, ports)| entry(member, ports)).collect()
    }
}

fn same(a: &Member, b: &Member) -> bool {
    (a.ready, a.serving, a.terminating, &a.pod, &a.hostname, &a.zone)
        == (b.ready, b.serving, b.terminating, &b.pod, &b.hostname, &b.zone)
}

fn entry(member: Member, ports: Vec<Port>) -> EndpointEntry {
    EndpointEntry {
        address: member.address,
        ports: ports.into(),
        ready: member.ready,
        serving: member.serving,
        terminating: member.terminating,
        pod: member.pod,
        hostname: member.hostname,
        zone: member.zone,
    }
}

/// Adds what `slice` holds.
pub(super) fn add_slice(
    merge: &mut Merge,
    slice: &EndpointSlice,
    publish_not_ready: bool,
    resolved: &Resolved,
) {
    let ports = ports_or_none(slice.ports.iter().map(|its| {
        port(&its.name, its.protocol, its.port.unwrap_or(0), its.app_protocol.as_ref())
    }));
    for endpoint in &slice.endpoints {
        let names = endpoint.names.iter().filter_map(|text| names::host_name(text));
        let outside = names.filter_map(|name| resolved.get(name.as_str())).flatten();
        for address in endpoint.addresses.iter().chain(outside) {
            merge.add(&slice_member(endpoint, *address, publish_not_ready), &ports);
        }
    }
}

fn slice_member(endpoint: &Endpoint, address: IpAddr, publish_not_ready: bool) -> Member {
    Member {
        address,
        ready: endpoint.ready || publish_not_ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        pod: endpoint.pod.clone(),
        hostname: hostname(endpoint.hostname.as_ref()),
        zone: endpoint.zone.clone(),
    }
}

/// Adds what an Endpoints object holds.
pub(super) fn add_endpoints(merge: &mut Merge, endpoints: &Endpoints, publish_not_ready: bool) {
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports_or_none(subset.ports.iter().flatten().map(|its| {
            let (name, app_protocol) = (its.name.as_deref(), its.app_protocol.as_deref());
            let protocol = Protocol::parse(its.protocol.as_deref());
            port(
                &name.unwrap_or_default().into(),
                protocol,
                its.port,
                app_protocol.map(Arc::from).as_ref(),
            )
        }));
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            if let Some(member) = endpoints_member(address, ready, publish_not_ready) {
                merge.add(&member, &ports);
            }
        }
    }
}

fn endpoints_member(
    address: &EndpointAddress,
    ready: bool,
    publish_not_ready: bool,
) -> Option<Member> {
    Some(Member {
        address: address.ip.parse().ok()?,
        ready: ready || publish_not_ready,
        serving: ready,
        terminating: false,
        pod: pod(address.target_ref.as_ref()),
        hostname: hostname(address.hostname.as_deref().map(Arc::from).as_ref()),
        zone: None,
    })
}

fn pod(target: Option<&ObjectReference>) -> Option<Arc<str>> {
    let target = target.filter(|target| target.kind.as_deref() == Some("Pod"))?;
    target.name.as_deref().map(Arc::from)
}

/// A host name as the label that it is in DNS, if it can be one.
fn hostname(text: Option<&Arc<str>>) -> Option<Arc<str>> {
    Some(lower(text?)).filter(|label| names::is_label(label))
}

/// The ports of a slice or subset. One without any port yields the single port 0, so that its
/// addresses still stand in the map; a number or protocol out of range is left out.
fn ports_or_none(ports: impl Iterator<Item = Option<Port>>) -> Vec<Port> {
    let mut listed = false;
    let ports: Vec<Port> = ports.inspect(|_| listed = true).flatten().collect();
    if listed {
        return ports;
    }
    port(&"".into(), Some(Protocol::Tcp), 0, None).into_iter().collect()
}

/// A port, unless its number or protocol does not exist.
pub(super) fn port(
    name: &Arc<str>,
    protocol: Option<Protocol>,
    number: i32,
    app_protocol: Option<&Arc<str>>,
) -> Option<Port> {
    Some(Port {
        name: lower(name),
        protocol: protocol?,
        number: u16::try_from(number).ok()?,
        app_protocol: app_protocol.cloned(),
    })
}

/// `text` in lower case, itself if it is.
fn lower(text: &Arc<str>) -> Arc<str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => text.to_ascii_lowercase().into(),
        false => Arc::clone(text),
    }
}
