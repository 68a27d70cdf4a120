//! The DNS server of `wharf nlb`: the names of one load balancer, and nothing else.

use std::sync::Arc;

use hickory_proto::op::{Query, ResponseCode};
use tokio_util::sync::CancellationToken;

use crate::{
    app::dns::DnsSockets,
    dns::{
        answer::Answer,
        server::{Server, Settings, View},
        stats::DnsStats,
    },
    nlb::NlbHandle,
};

/// The names of a load balancer; other names are refused.
#[derive(Debug)]
struct Names(NlbHandle);

impl View for Names {
    fn answer(&self, question: &Query) -> Option<Answer> {
        let answer = self.0.names().answer(question, &self.0.zones());
        Some(answer.unwrap_or_else(|| Answer::code(ResponseCode::Refused)))
    }
}

/// Answers the names of `handle` until `cancel`.
pub async fn serve_names(sockets: DnsSockets, handle: NlbHandle, cancel: CancellationToken) {
    let server = Server::new(Arc::default(), None, Arc::<DnsStats>::default(), Settings::default())
        .with_view(Arc::new(Names(handle)));
    Arc::new(server).run(sockets.udp, sockets.tcp, cancel).await;
}
