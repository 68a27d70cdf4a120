//! The HTTP/1 engine of a client connection.
//!
//! Called by `entry` with a stream that speaks HTTP/1.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use hyper::{
    body::Incoming,
    server::conn::http1::UpgradeableConnection,
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    gated::GatedIo,
    response::ResponseBody,
    serve::{Connection, answer},
    stage::{Stage, Watch},
    worker::Worker,
};
use crate::{
    gate::{Limits, MAX_FIELDS},
    net::{alarm::Alarm, clock, readable::Readable, timed::TimedIo},
    settings::HeaderCase,
};

/// Most bytes buffered in one direction of a client connection. With that of pod connections it decides
/// what a client that reads slowly holds: some 200 KiB of the 256 KiB that R-31 allows. With 64 KiB on
/// both sides it was more than that, and passing on a large body took no less.
const MAX_BUFFER: usize = 32 * 1024;

/// Room beside a head in a buffer that is larger only because heads may be.
const HEAD_ROOM: usize = 8 * 1024;

/// How long a stopping worker waits for the first request of a connection.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Why an engine stopped.
enum Outcome {
    /// The connection is over.
    Ended(hyper::Result<()>),
    /// The process closes what is left.
    Killed,
    /// Nothing was asked for a while.
    Idle,
}

/// Serves a connection until it ends, or until the process drains.
///
/// The engine with its buffers, some twenty kilobytes, lives only while requests come: an idle
/// connection is parked as its stream alone, and gets a new engine with its next byte.
///
/// # Errors
/// What ended the connection, if it was not an orderly close.
pub(super) async fn run<S>(connection: Rc<Connection>, io: TimedIo<S>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
{
    let mut watch = Rc::clone(&connection.worker.stages).watch();
    let sizes = &connection.worker.settings.limits;
    let (head, limits) = (sizes.head(), Limits::new(sizes.head(), sizes.buffer));
    let (gate, phase) = (Arc::clone(&connection.gate), Arc::clone(&connection.phase));
    let mut io = GatedIo::new(io, gate, phase, limits);
    loop {
        let service = {
            let connection = Rc::clone(&connection);
            service_fn(move |request| answer(Rc::clone(&connection), Rc::default(), request))
        };
        let mut engine = Box::pin(
            hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .header_read_timeout(None)
                .half_close(!sizes.abort_on_close)
                .preserve_header_case(connection.worker.settings.header_case == HeaderCase::Kept)
                .max_headers(MAX_FIELDS)
                .max_header_size(head)
                .max_buf_size(MAX_BUFFER.max(head + HEAD_ROOM))
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades(),
        );
        match serve(engine.as_mut(), &connection, &mut watch).await {
            Outcome::Ended(result) => return result,
            Outcome::Killed => return Ok(()),
            Outcome::Idle => {},
        }
        // A connection that idles has not been given away to a tunnel.
        let Some(stream) = bare(engine) else { return Ok(()) };
        io = stream;
        connection.forget();
        connection.worker.stats.workers.cell(connection.worker.index).parked.add(1);
        if !parked(&mut io, &connection.worker, &mut watch).await {
            return Ok(());
        }
    }
}

/// The stream of an engine, whose buffers end here.
fn bare<S, V>(engine: Pin<Box<UpgradeableConnection<TokioIo<GatedIo<S>>, V>>>) -> Option<GatedIo<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = ResponseBody>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let parts = Pin::into_inner(engine).into_parts()?;
    let mut io = parts.io.into_inner();
    io.put_back(&parts.read_buf);
    Some(io)
}

/// Runs the engine until it ends, idles or has to end.
async fn serve<S, V>(
    mut engine: Pin<&mut UpgradeableConnection<TokioIo<GatedIo<S>>, V>>,
    connection: &Connection,
    watch: &mut Watch,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = ResponseBody>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Long enough that a client in a conversation never pays for it, short enough that idle clients are
    // not what fills the memory.
    let park = connection.worker.settings.timeouts.park;
    let keeps = connection.worker.settings.idle_close_on_response;
    let mut alarm = Alarm::default();
    let mut stopped_at = None;
    let mut winding_up = false;
    poll_fn(|cx| {
        loop {
            // First, so that what has been received already is served.
            if let Poll::Ready(result) = engine.as_mut().poll(cx) {
                return Poll::Ready(Outcome::Ended(result));
            }
            match watch.stage(cx) {
                Stage::Killed => return Poll::Ready(Outcome::Killed),
                Stage::Stopped if !keeps && !winding_up => {
                    // One that has just been opened may still say what it came for.
                    let stopped_at = *stopped_at.get_or_insert_with(clock::now);
                    let silent = connection.requests.get() == 0;
                    if silent && alarm.poll(cx, stopped_at + FIRST_REQUEST).is_pending() {
                        return Poll::Pending;
                    }
                    winding_up = true;
                    engine.as_mut().graceful_shutdown();
                },
                Stage::Stopped if !keeps => return Poll::Pending,
                Stage::Serving | Stage::Begun | Stage::Stopped => {
                    let Some(since) = connection.phase.quiet_since() else { return Poll::Pending };
                    ready!(alarm.poll(cx, since + park));
                    return Poll::Ready(Outcome::Idle);
                },
            }
        }
    })
    .await
}

/// How long behind the announcement of the end an idle connection is closed: a random time, within the
/// first half of the delay. The other half is for what comes back before the load balancer has noticed.
fn leaving(worker: &Worker) -> Duration {
    let span = worker.settings.timeouts.drain_delay / 2;
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(worker.draw() % nanos.max(1))
}

/// Waits for a byte; false when the connection is to be closed instead.
///
/// Once the end is announced, idle connections are closed one by one, each at a moment of its own, so
/// that their clients do not all come back at once [SHUT-1]; or, with ROUTER_IDLE_CLOSE_ON_RESPONSE, only
/// behind one more response [RELOAD-3].
async fn parked<S>(io: &mut GatedIo<S>, worker: &Worker, watch: &mut Watch) -> bool
where
    S: AsyncRead + AsyncWrite + Readable + Unpin,
{
    let mut leave = None;
    let wanted = poll_fn(|cx| {
        if let Poll::Ready(outcome) = io.poll_readable(cx) {
            return Poll::Ready(outcome.is_ok());
        }
        match watch.stage(cx) {
            Stage::Serving => Poll::Pending,
            Stage::Begun | Stage::Stopped if worker.settings.idle_close_on_response => {
                Poll::Pending
            },
            Stage::Stopped | Stage::Killed => Poll::Ready(false),
            Stage::Begun => {
                let (at, alarm) = leave.get_or_insert_with(|| {
                    let begun = watch.begun().unwrap_or_else(clock::now);
                    (begun + leaving(worker), Alarm::default())
                });
                alarm.poll(cx, *at).map(|()| false)
            },
        }
    })
    .await;
    if !wanted {
        // Nobody waits for an answer, so what cannot be said at once is left unsaid.
        poll_fn(|cx| {
            let _said = Pin::new(&mut *io).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::proxy::fixture;

    /// [SHUT-1]: not all at once, and all in the first half of the delay.
    #[test]
    fn shut_1_idle_connections_leave_at_times_of_their_own() {
        let connection = fixture::connection(false);
        let half = connection.worker.settings.timeouts.drain_delay / 2;
        let times: HashSet<_> = (0..100).map(|_| leaving(&connection.worker)).collect();
        assert_eq!(times.len(), 100);
        assert!(times.iter().all(|time| *time < half));
        assert!(times.iter().any(|time| *time < half / 4));
        assert!(times.iter().any(|time| *time > half / 4 * 3));
    }
}
