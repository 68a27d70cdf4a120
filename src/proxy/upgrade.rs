//! Tunnels: after the pod's 101, bytes go both ways until a side closes (decisions 8, 15).
//!
//! Called by `forward`. No tunnel byte goes out before the pod's 101: hyper gives the client's stream
//! away only after the 101 was written.

mod raw;

use std::time::Duration;

use http::{HeaderValue, Response};
use hyper::upgrade::OnUpgrade;

pub(super) use self::raw::Raw;
use super::response::{Exchange, ResponseBody};
use crate::{
    headers,
    net::{
        relay::{self, End, Idle, Side},
        timed::Phase,
    },
    snapshot::CompiledRoute,
    task,
    upstream::body::PodBody,
};

/// Longest wait for both sides to be handed over after the 101.
const HANDOVER: Duration = Duration::from_secs(10);

/// The 101 for the client, and the task that relays behind it.
#[must_use]
pub fn tunnel(
    exchange: Box<Exchange>,
    route: &CompiledRoute,
    client: OnUpgrade,
    mut response: Response<PodBody>,
) -> Response<ResponseBody> {
    let pod = hyper::upgrade::on(&mut response);
    let (mut parts, _body) = response.into_parts();
    let protocol = parts.headers.get(http::header::UPGRADE).cloned();
    headers::strip_response_hop_by_hop(&mut parts.headers);
    parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(http::header::UPGRADE, protocol);
    }
    let idle = limits(&exchange, route);
    exchange.connection.phase.enter(Phase::Tunnel);
    // Owned by the worker's runtime; ends by its own limits or with the process (`killed`).
    task::spawn_local::<{ task::TUNNEL }, _>(hand_over(exchange, client, pod, idle));
    Response::from_parts(parts, ResponseBody::fixed(bytes::Bytes::new()))
}

/// How long a tunnel of `route` may go on in silence.
pub(super) fn limits(exchange: &Exchange, route: &CompiledRoute) -> Idle {
    let timeouts = &exchange.connection.worker.settings.timeouts;
    Idle {
        open: route.policy.tunnel_timeout,
        a_closed: timeouts.client_fin,
        b_closed: timeouts.server_fin,
    }
}

async fn hand_over(mut exchange: Box<Exchange>, client: OnUpgrade, pod: OnUpgrade, idle: Idle) {
    let _busy = exchange.connection.worker.begin();
    let both = async { tokio::try_join!(client, pod) };
    let Ok(Ok((client, pod))) = tokio::time::timeout(HANDOVER, both).await else {
        exchange.record.termination = *b"CD";
        return;
    };
    relay(exchange, Raw::from(client), Raw::from(pod), idle).await;
}

/// Relays between both sides to the end, and notes in `exchange` how it was.
pub(super) async fn relay(mut exchange: Box<Exchange>, client: Raw, pod: Raw, idle: Idle) {
    let killed = exchange.connection.worker.drain.killed.clone();
    let relayed = relay::relay_until(client, pod, idle, None, killed.cancelled_owned()).await;
    exchange.progress.bytes.set(relayed.a_to_b);
    exchange.record.bytes_out = relayed.b_to_a;
    exchange.record.termination = match relayed.end {
        End::Closed => *b"--",
        End::Cancelled => *b"KD",
        End::Idle => *b"cD",
        End::Failed { side: Side::A, .. } => *b"CD",
        End::Failed { side: Side::B, .. } => *b"SD",
    };
}
