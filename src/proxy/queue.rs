//! Step 3: what is turned away or waits when there is too much of it.
//!
//! Called by `select` and `forward` before a request goes to a pod.
//!
//! **The line in front of an endpoint**, where a route limits the requests at once to each of its
//! endpoints (`pod-concurrent-connections`, [PODC-1]). A route without the annotation gets away with a
//! branch. Requests go where there is room, by the route's balancer. When there is none they wait in
//! the line of one endpoint, first come first served over all workers, until the queue timeout, which
//! is the connect timeout as in OpenShift's router (spec/route.md 13). With `balance: source` a client
//! stays with its endpoint and waits there.
//!
//! **The whole process** (reliability.md 2.7, 2.8). Limits hold from the outside in, so that what is
//! turned away costs as little as it can, and what was let in is served:
//!
//! 1. `max_connections`: the next connection waits in the kernel's queue and costs nothing here. It is
//!    lowered at start to what the limits on open files and on memory allow, so that it is reached
//!    before descriptors run out or the kernel kills the process. `max_connections_per_source` keeps one client from having them all.
//! 2. `max_handshakes`: answers to ClientHellos take turns with requests.
//! 3. `max_requests`: streams of HTTP/2 multiply the work of a connection; beyond the limit a request
//!    gets 503 `overload` at once, before anything is dialled for it.
//! 4. The line of a route that is too slow for what it gets: it holds its own requests, and 503
//!    `queue_timeout` or `queue_full` ends them. Other routes share nothing with it but the three
//!    limits above.
//!
//! Memory follows: what a connection and a request may hold is bounded (buffers of 64 KiB, heads of
//! 24 KiB, bodies only streamed), and their numbers are bounded by 1 and 3. Nothing has to be switched
//! back after an overload: each limit frees itself as what it counts ends. There is no limit by
//! measured memory; unlike Envoy's overload manager this needs none, because no buffer grows with what
//! a client or pod sends.

use std::{sync::Arc, time::Duration};

use super::response::Exchange;
use crate::{
    balance::Algorithm,
    model::reason::Reason,
    snapshot::{Backend, CompiledRoute, Server},
    stats::UpstreamStats,
    upstream::gate::{Asked, Gate, Place, Waiting},
};

/// A usable server of a backend whose servers have gates: one with room if there is one, else the one
/// that the balancer finds least loaded with those that wait counted in.
pub(super) fn choose(
    backend: &Backend,
    tried: &[usize],
    draw: u64,
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let servers = &backend.servers;
    let load = |index: usize| servers[index].peer.in_flight.load() + waiting(&servers[index]);
    let pick =
        |usable: &dyn Fn(usize) -> bool| backend.balancer.pick_excluding(draw, tried, usable, load);
    let has_room = |index: usize| gate(&servers[index]).is_none_or(|gate| gate.has_room());
    let roomy = match backend.balancer.algorithm() {
        Algorithm::Source => None,
        Algorithm::Leastconn | Algorithm::Random | Algorithm::RoundRobin => {
            pick(&|index| usable(index) && has_room(index))
        },
    };
    roomy.or_else(|| pick(usable))
}

fn gate(server: &Server) -> Option<&Arc<Gate>> {
    server.gate.as_ref()
}

fn waiting(server: &Server) -> i64 {
    server.stats.queued.load()
}

/// The place at server `index` of `route` that the request may take, once there is one; none is needed
/// where places are not limited.
///
/// # Errors
/// When the worker has more requests than it may, when too many wait already, or none became free within the queue timeout.
pub(super) async fn place(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    index: usize,
) -> Result<Option<Place>, Reason> {
    if exchange.connection.worker.is_overloaded() {
        return Err(Reason::Overload);
    }
    let server = &route.backend.servers[index];
    let Some(gate) = gate(server) else { return Ok(None) };
    // A place at a server that failed is of no more use, and may be the one that is waited for.
    exchange.release();
    match gate.enter() {
        Asked::Admitted(place) => {
            exchange.record.times.queue.get_or_insert(0);
            Ok(Some(place))
        },
        Asked::Full => Err(Reason::QueueFull),
        // Boxed: it is rare, and would be room in every request.
        Asked::Wait(waiting) => Box::pin(wait(exchange, route, server, waiting)).await.map(Some),
    }
}

async fn wait(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    server: &Server,
    waiting: Waiting,
) -> Result<Place, Reason> {
    exchange.queued(server.stats.queued.load());
    let _counted = [Queued::at(&server.stats), Queued::at(&route.backend.stats)];
    let limit: Duration = exchange.connection.worker.settings.timeouts.connect;
    let since = exchange.elapsed();
    let admitted = tokio::time::timeout(limit, waiting.admitted()).await;
    let waited = exchange.elapsed().saturating_sub(since);
    let before = exchange.record.times.queue.unwrap_or(0);
    exchange.record.times.queue = Some(before.saturating_add(waited));
    admitted.map_err(|_elapsed| Reason::QueueTimeout)
}

/// Counts a request as waiting until it is dropped, however the wait ends.
struct Queued<'a>(&'a UpstreamStats);

impl<'a> Queued<'a> {
    fn at(stats: &'a UpstreamStats) -> Self {
        stats.most_queued.note(stats.queued.rise());
        Self(stats)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::fixture::{self, route};

    fn exchange() -> Box<Exchange> {
        Exchange::begin(&fixture::connection(false), std::rc::Rc::default(), &Request::new(()), 1)
    }

    /// [PODC-1]: five seconds, the connect timeout; the wait is Tw of the access log.
    #[tokio::test(flavor = "local", start_paused = true)]
    async fn podc_1_a_request_waits_for_five_seconds_and_says_so() {
        let route = route(Some(Gate::new(1, 8)));
        let (mut first, mut second) = (exchange(), exchange());
        let held = place(&mut first, &route, 0).await.unwrap();
        assert_eq!(first.record.times.queue, Some(0), "it had not to wait");
        let since = tokio::time::Instant::now();
        let outcome = place(&mut second, &route, 0).await;
        assert_eq!(outcome.unwrap_err(), Reason::QueueTimeout);
        assert_eq!(since.elapsed().as_secs(), 5);
        assert!(second.record.times.queue.is_some());
        assert_eq!(route.backend.stats.queued.load(), 0);
        assert_eq!(route.backend.stats.most_queued.load(), 1);
        drop(held);
        assert!(place(&mut second, &route, 0).await.unwrap().is_some());
    }

    /// A try elsewhere gives the first place back before it waits for another, which may be the same.
    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_request_never_waits_for_its_own_place() {
        let route = route(Some(Gate::new(1, 8)));
        let mut exchange = exchange();
        exchange.record.route = Some(Arc::clone(&route));
        for _ in 0..3 {
            let place = place(&mut exchange, &route, 0).await.unwrap();
            assert!(place.is_some());
            exchange.dispatch(&route, 0);
            exchange.hold(place);
        }
        let gate = route.backend.servers[0].gate.as_ref().unwrap();
        assert_eq!(gate.load(), 1);
        drop(exchange);
        assert_eq!(gate.load(), 0);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn without_the_annotation_there_is_nothing_to_wait_for() {
        let mut exchange = exchange();
        assert!(place(&mut exchange, &route(None), 0).await.unwrap().is_none());
        assert_eq!(exchange.record.times.queue, None);
    }
}
