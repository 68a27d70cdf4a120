//! The DNS server of `wharf nlb`: the names of its load balancers, and nothing else.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hickory_proto::op::{Query, ResponseCode};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::{
    app::dns::DnsSockets,
    dns::{
        answer::Answer,
        server::{Server, Settings, View},
        stats::DnsStats,
    },
    telemetry::dns::DnsMetrics,
};

/// The names of the load balancers; other names are refused.
#[derive(Debug)]
struct Names {
    fleet: Fleet,
    /// Counts questions, so that the nodes take turns as the first address.
    turn: AtomicUsize,
}

impl View for Names {
    fn answer(&self, question: &Query, client: IpAddr) -> Option<Answer> {
        let answer = self.fleet.handles().iter().find_map(|handle| {
            let view = handle.dns_view();
            // The turn is that of the one whose name it is.
            let turn = view.names.holds(question).then(|| self.turn.fetch_add(1, Relaxed))?;
            view.names.answer(question, client, &view.zones, turn)
        });
        Some(answer.unwrap_or_else(|| Answer::code(ResponseCode::Refused)))
    }
}

/// Answers the names of a load balancer, or of several, until `cancel`. What it counts is among the metrics
/// that `serve_api` has of the same load balancers.
pub async fn serve_names(sockets: DnsSockets, fleet: impl Into<Fleet>, cancel: CancellationToken) {
    let (fleet, stats) = (fleet.into(), Arc::<DnsStats>::default());
    let address = sockets.udp.local_addr().ok();
    fleet.has_dns(DnsMetrics::new(Arc::clone(&stats), address, Vec::new()));
    let names = Names { fleet, turn: AtomicUsize::new(0) };
    let server =
        Server::new(Arc::default(), None, stats, Settings::default()).with_view(Arc::new(names));
    Arc::new(server).run(sockets.udp, sockets.tcp, cancel).await;
}
