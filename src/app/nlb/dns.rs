//! The DNS server of `wharf nlb`: the names of its load balancers, and nothing else.

use std::sync::Arc;

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
struct Names(Fleet);

impl View for Names {
    fn answer(&self, question: &Query) -> Option<Answer> {
        let handles = self.0.handles();
        let answer =
            handles.iter().find_map(|handle| handle.names().answer(question, &handle.zones()));
        Some(answer.unwrap_or_else(|| Answer::code(ResponseCode::Refused)))
    }
}

/// Answers the names of a load balancer, or of several, until `cancel`.
pub async fn serve_names(sockets: DnsSockets, fleet: impl Into<Fleet>, cancel: CancellationToken) {
    let server = Server::new(Arc::default(), None, Arc::<DnsStats>::default(), Settings::default())
        .with_view(Arc::new(Names(fleet.into())));
    Arc::new(server).run(sockets.udp, sockets.tcp, cancel).await;
}
