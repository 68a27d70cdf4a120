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
            let names = handle.names();
            // The states of the zones are computed for the one whose name it is.
            let zones = names.holds(question).then(|| handle.zones())?;
            names.answer(question, client, &zones, self.turn.fetch_add(1, Relaxed))
        });
        Some(answer.unwrap_or_else(|| Answer::code(ResponseCode::Refused)))
    }
}

/// Answers the names of a load balancer, or of several, until `cancel`.
pub async fn serve_names(sockets: DnsSockets, fleet: impl Into<Fleet>, cancel: CancellationToken) {
    let names = Names { fleet: fleet.into(), turn: AtomicUsize::new(0) };
    let server = Server::new(Arc::default(), None, Arc::<DnsStats>::default(), Settings::default())
        .with_view(Arc::new(names));
    Arc::new(server).run(sockets.udp, sockets.tcp, cancel).await;
}
