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
};
use crate::{
    gate::{MAX_FIELDS, MAX_HEAD},
    net::{alarm::Alarm, clock, readable::Readable, timed::TimedIo},
    settings::HeaderCase,
};

/// Most bytes buffered in one direction of a client connection. With that of pod connections it decides
/// what a client that reads slowly holds: some 200 KiB of the 256 KiB that R-31 allows. With 64 KiB on
/// both sides it was more than that, and passing on a large body took no less.
const MAX_BUFFER: usize = 32 * 1024;

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
    let mut io = GatedIo::new(io, Arc::clone(&connection.gate), Arc::clone(&connection.phase));
    loop {
        let service = {
            let connection = Rc::clone(&connection);
            service_fn(move |request| answer(Rc::clone(&connection), Rc::default(), request))
        };
        let mut engine = Box::pin(
            hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .header_read_timeout(None)
                .half_close(false)
                .preserve_header_case(connection.worker.settings.header_case == HeaderCase::Kept)
                .max_headers(MAX_FIELDS)
                .max_header_size(MAX_HEAD)
                .max_buf_size(MAX_BUFFER)
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
        if !parked(&mut io, &mut watch).await {
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
                Stage::Stopped if !winding_up => {
                    // One that has just been opened may still say what it came for.
                    let stopped_at = *stopped_at.get_or_insert_with(clock::now);
                    let silent = connection.requests.get() == 0;
                    if silent && alarm.poll(cx, stopped_at + FIRST_REQUEST).is_pending() {
                        return Poll::Pending;
                    }
                    winding_up = true;
                    engine.as_mut().graceful_shutdown();
                },
                Stage::Stopped => return Poll::Pending,
                Stage::Serving | Stage::Begun => {
                    let Some(since) = connection.phase.quiet_since() else { return Poll::Pending };
                    ready!(alarm.poll(cx, since + park));
                    return Poll::Ready(Outcome::Idle);
                },
            }
        }
    })
    .await
}

/// Waits for a byte; false when the connection is to be closed instead.
async fn parked<S>(io: &mut GatedIo<S>, watch: &mut Watch) -> bool
where
    S: AsyncRead + AsyncWrite + Readable + Unpin,
{
    let wanted = poll_fn(|cx| match io.poll_readable(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
        Poll::Pending if watch.stage(cx) >= Stage::Stopped => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
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
