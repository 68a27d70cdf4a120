//! The names of load balancers in DNS: the server of `wharf nlb`, which has nothing else, and the view of
//! the one of `wharf up`, which has the cluster's names beside them.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{DNSClass, RecordType},
};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::{
    app::dns::DnsSockets,
    dns::{
        answer::{Answer, Outside},
        resolver::Resolver,
        server::{Server, Settings, View},
        stats::DnsStats,
    },
    telemetry::dns::DnsMetrics,
};

/// The names of the load balancers of a fleet, whoever joins it.
#[derive(Debug)]
pub struct Names {
    fleet: Fleet,
    /// Counts questions, so that the nodes take turns as the first address.
    turn: AtomicUsize,
}

impl Names {
    /// The names of `fleet`.
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet, turn: AtomicUsize::new(0) }
    }
}

impl View for Names {
    fn answer(&self, question: &Query, client: IpAddr) -> Option<Answer> {
        self.fleet.handles().iter().find_map(|handle| {
            let view = handle.dns_view();
            // The turn is that of the one whose name it is.
            let turn = view.names.holds(question).then(|| self.turn.fetch_add(1, Relaxed))?;
            view.names.answer(question, client, &view.zones, turn)
        })
    }

    /// Names are below amazonaws.com but for aliases, which a load balancer has from its configuration file
    /// alone; where there is a zone, there is no such file.
    fn is_apart(&self) -> bool {
        true
    }
}

/// The same where there is no zone: other names are outside, and refused unless they are forwarded.
#[derive(Debug)]
struct Alone(Names);

impl View for Alone {
    fn answer(&self, question: &Query, client: IpAddr) -> Option<Answer> {
        let of_all =
            matches!(question.query_type(), RecordType::ANY | RecordType::AXFR | RecordType::IXFR);
        let may_be_outside = question.query_class() == DNSClass::IN && !of_all;
        let other = || Answer {
            outside: may_be_outside.then_some(Outside::Question),
            ..Answer::code(ResponseCode::Refused)
        };
        Some(self.0.answer(question, client).unwrap_or_else(other))
    }
}

/// Answers the names of a load balancer, or of several, until `cancel`; others go to `forward`, if that is
/// there. What it counts is among the metrics that `serve_api` has of the same load balancers.
pub async fn serve_names(
    sockets: DnsSockets,
    fleet: impl Into<Fleet>,
    (forward, settings): (Option<Arc<Resolver>>, Settings),
    cancel: CancellationToken,
) {
    let (fleet, stats) = (fleet.into(), Arc::<DnsStats>::default());
    let address = sockets.udp.local_addr().ok();
    let plugins = forward.iter().flat_map(|_resolver| ["cache", "forward"]).collect();
    let metrics = DnsMetrics::new(Arc::clone(&stats), address, plugins);
    fleet.has_dns(metrics.with_resolver(forward.clone()));
    let server = Server::new(Arc::default(), forward, stats, settings)
        .with_view(Some(Arc::new(Alone(Names::new(fleet)))));
    Arc::new(server).run(sockets.udp, sockets.tcp, cancel).await;
}
