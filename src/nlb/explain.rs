//! What a new flow would meet: the listener, its target groups, and which of their targets could get it
//! and why (A.3). For people who ask; no flow goes through here.
//!
//! Made by `server` and `target`, shown by the API, read by `wharf trace`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::flow::Routing;

/// A flow that might be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowView {
    /// Name of the listener.
    pub listener: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Zone whose node it is; absent when it stands for all.
    pub zone: Option<String>,
    /// The client is in its source ranges.
    pub admitted: bool,
    /// Its target groups.
    pub groups: Vec<GroupView>,
}

/// A target group of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Name.
    pub name: String,
    /// Weight, 0 for no new flow.
    pub weight: u32,
    /// Targets get a PROXY header.
    pub proxy_protocol: bool,
    /// The client's address alone chooses.
    pub sticky: bool,
    /// Targets of all zones are chosen from.
    pub cross_zone: bool,
    /// What is chosen from; absent when there is no target at all.
    pub routing: Option<Routing>,
    /// Its targets.
    pub targets: Vec<TargetView>,
    /// The target, where it is known beforehand: by stickiness, or because there is one only.
    pub chosen: Option<SocketAddr>,
}

/// A target of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// Address and port.
    pub address: SocketAddr,
    /// Its zone.
    pub zone: Option<String>,
    /// Address that checks connect to.
    pub check: SocketAddr,
    /// State, in the words of AWS.
    pub state: String,
    /// Why, unless it is healthy.
    pub reason: Option<String>,
    /// A new flow may get it.
    pub eligible: bool,
}
