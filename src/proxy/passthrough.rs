//! A TLS connection that a pod takes as it is [LSN-5, SNI-3].
//!
//! Called by `entry` with what the client has said so far. Nothing of the client's bytes is changed,
//! dropped or added, no PROXY header either. Until a pod is connected nothing has been sent, so a pod
//! that refuses costs no more than another try (quirk 29); afterwards it is a tunnel as behind a 101,
//! with the same limits, counted and logged as one exchange of its backend. Without a pod the connection
//! is closed [NOMATCH-5]. A change of configuration touches no connection that is passed through.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;

use super::{
    entry::About,
    forward,
    hello::Taken,
    rates,
    response::Exchange,
    select::Tries,
    serve::{self, Connection},
    upgrade::{self, Raw},
    worker::Worker,
};
use crate::{
    model::reason::Reason,
    net::{connect, timed::PhaseCell},
    snapshot::CompiledRoute,
    task,
};

/// Passes the connection, of which `said` is read, on to a pod of the route that has `taken` it.
pub(super) async fn run(
    worker: Rc<Worker>,
    client: TcpStream,
    said: Bytes,
    taken: Taken,
    about: About,
) {
    let route = Arc::clone(&taken.route);
    let mut exchange = begin(worker, taken, about);
    if !serve::may_use(&route, &exchange.connection) {
        return exchange.answered(Reason::DeniedAllowlist);
    }
    if rates::enter(&mut exchange, &route).is_err() {
        return exchange.answered(Reason::RateLimited);
    }
    let gives_up = exchange.connection.worker.settings.limits.abort_on_close;
    let reached = tokio::select! {
        biased;
        reached = reach(&mut exchange, &route) => reached,
        () = gone(&client), if gives_up => Err(Reason::ClientClosed),
    };
    match reached {
        Ok(pod) => {
            let limits = upgrade::limits(&exchange, &route);
            let client = Raw::Tcp { stream: client, unread: said };
            let pod = Raw::Tcp { stream: pod, unread: Bytes::new() };
            // Owned by the worker's runtime; ends by its own limits or with the process (`killed`).
            let relay = upgrade::relay(exchange, client, pod, limits);
            task::spawn_local::<{ task::TUNNEL }, _>(relay);
        },
        Err(reason) => exchange.answered(reason),
    }
}

/// Ready once the client has closed. What it says instead stays unread, and hides what follows it.
async fn gone(client: &TcpStream) {
    if matches!(client.peek(&mut [0]).await, Ok(1..)) {
        std::future::pending::<()>().await;
    }
}

/// What the connection counts and leaves behind, as a request does.
fn begin(worker: Rc<Worker>, taken: Taken, about: About) -> Box<Exchange> {
    let connection = Rc::new(Connection {
        worker,
        client: about.client,
        port: about.port,
        frontend: about.frontend,
        health: false,
        secured: None,
        phase: PhaseCell::new(false),
        gate: Arc::default(),
        requests: Cell::new(0),
        said: RefCell::default(),
        alarm: RefCell::default(),
        told: about.told,
        open: about.open,
    });
    let request = Request::new(());
    let worker = &connection.worker;
    worker.stats.workers.cell(worker.index).passed.add(1);
    let mut exchange = Exchange::begin(&connection, Rc::default(), &request, taken.generation);
    let record = &mut exchange.record;
    (record.passthrough, record.route, record.host) = (true, Some(taken.route), taken.name);
    record.times.head = None;
    exchange
}

/// A connection to a pod of `route`.
async fn reach(exchange: &mut Exchange, route: &Arc<CompiledRoute>) -> Result<TcpStream, Reason> {
    let limit = exchange.connection.worker.settings.timeouts.connect;
    let mut tries = Tries::default();
    loop {
        let index = forward::dispatch(exchange, route, &mut tries).await?;
        let start = exchange.elapsed();
        match connect::tcp(route.backend.servers[index].peer.key.address, limit).await {
            Ok(pod) => {
                forward::count_connect(exchange, start);
                return Ok(pod);
            },
            Err(error) => {
                let reason = forward::not_reached(exchange, &error.into());
                tries.exclude(index, reason);
                forward::within_budget(exchange, &tries, reason)?;
                forward::again(exchange, &mut tries, reason)?;
            },
        }
    }
}

#[cfg(test)]
mod tests;
