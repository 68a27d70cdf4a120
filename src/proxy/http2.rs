//! The HTTP/2 engine of a client connection.
//!
//! Called by `entry` with a stream that speaks HTTP/2. `metered` counts its frames, `streams` runs
//! its requests and ends those that stall; what the library itself refuses is counted here.

use std::{
    future::Future as _,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    entry::refused,
    http1::FIRST_REQUEST,
    metered::{End, MeteredIo, Wire},
    serve::{Connection, Denied, answer},
    stage::Stage,
    streams::{LocalExecutor, Streams},
};
use crate::{
    frames::{Budget, code},
    gate::MAX_FIELDS,
    model::reason::Reason,
    net::{alarm::Alarm, clock, timed::TimedIo},
    settings::RouterSettings,
};

/// How long a stopping worker goes on saying that streams are cancelled.
const FAREWELL: Duration = Duration::from_millis(250);

/// `:method`, `:scheme`, `:authority`, `:path`, `:protocol`.
const PSEUDO_FIELDS: usize = 5;

/// Serves a connection until it ends, or until the process drains.
///
/// The end is announced with a GOAWAY that closes nothing yet; the one that names the last stream follows
/// when the client has answered the PING behind the first (RFC 9113 6.8). A connection that has asked for
/// nothing is told behind its first request, or it would have been opened in vain.
///
/// # Errors
/// What ended the connection, if it was not an orderly close.
pub(super) async fn run<S>(connection: Rc<Connection>, io: TimedIo<S>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let worker = Rc::clone(&connection.worker);
    let settings = &worker.settings;
    let wire = Rc::<Wire>::default();
    let io = MeteredIo::new(io, settings.http2.budgets, Rc::clone(&wire));
    let streams = Streams::new(Rc::clone(&wire), settings.timeouts.client);
    let service = {
        let (connection, streams) = (Rc::clone(&connection), Rc::clone(&streams));
        let wire = Rc::clone(&wire);
        // Boxed: the engine hands a stream's future on six times before its task runs.
        service_fn(move |request| {
            let answered = answer(Rc::clone(&connection), streams.begin(), request);
            let wire = Rc::clone(&wire);
            Box::pin(async move {
                // As HAProxy does (spec/route.md 26.2).
                answered.await.inspect_err(|Denied| wire.end_for(End::Denied))
            })
        })
    };
    let builder = builder(settings, LocalExecutor(Rc::clone(&streams)));
    let mut engine = Box::pin(builder.serve_connection(TokioIo::new(io), service));
    let mut stages = Rc::clone(&worker.stages).watch();
    let mut farewell = Farewell::default();
    let ended = std::future::poll_fn(|cx| {
        let stalled = streams.take_stalled();
        if stalled > 0 {
            worker.stats.workers.cell(worker.index).http2_stalled.add(stalled);
            if streams.is_empty() {
                engine.as_mut().graceful_shutdown();
            }
        }
        // First, so that what has been received already is served.
        if let Poll::Ready(ended) = engine.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        let stage = stages.stage(cx);
        let silent = connection.requests.get() == 0 && streams.is_empty();
        if farewell.begins(stage, silent, cx) {
            engine.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = engine.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        if stage == Stage::Killed { farewell.ends(&streams, cx).map(Ok) } else { Poll::Pending }
    })
    .await;
    account(&connection, &wire);
    ended
}

/// How a connection takes part in the stop of the process.
#[derive(Debug, Default)]
struct Farewell {
    told: bool,
    cancelled: bool,
    deadline: Option<Instant>,
    alarm: Alarm,
}

impl Farewell {
    /// True once: when the client is to be told. `silent` while it has asked for nothing.
    fn begins(&mut self, stage: Stage, silent: bool, cx: &mut Context<'_>) -> bool {
        if self.told || stage < Stage::Begun {
            return false;
        }
        self.told = match stage {
            _ if !silent => true,
            Stage::Serving | Stage::Begun => false,
            Stage::Stopped => {
                let limit = *self.deadline.get_or_insert_with(|| clock::now() + FIRST_REQUEST);
                self.alarm.poll(cx, limit).is_ready()
            },
            Stage::Killed => true,
        };
        self.told
    }

    /// Cancels what runs, and is ready when the client has been told so.
    fn ends(&mut self, streams: &Streams, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.cancelled, true) {
            self.deadline = Some(clock::now() + FAREWELL);
            streams.cancel();
        }
        if streams.is_empty() {
            return Poll::Ready(());
        }
        let limit = *self.deadline.get_or_insert_with(clock::now);
        self.alarm.poll(cx, limit)
    }
}

fn builder(
    settings: &RouterSettings,
    executor: LocalExecutor,
) -> hyper::server::conn::http2::Builder<LocalExecutor> {
    let RouterSettings { http2: settings, limits, .. } = settings;
    // With what the library adds for each field, a head that is allowed always fits.
    let list = limits.head() + 32 * (MAX_FIELDS + PSEUDO_FIELDS);
    let list = settings.max_header_list.max(u32::try_from(list).unwrap_or(u32::MAX));
    let mut builder = hyper::server::conn::http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .enable_connect_protocol()
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(list)
        .max_frame_size(settings.max_frame_size)
        .max_send_buf_size(settings.send_buffer)
        .max_pending_accept_reset_streams(settings.pending_resets)
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}

/// Counts a connection that ended for what its client sent.
fn account(connection: &Connection, wire: &Wire) {
    let worker = &connection.worker;
    let budget = match (wire.end(), wire.goaway.get()) {
        // Counted with its request.
        (Some(End::Denied), _) => return,
        (Some(End::Exceeded(budget)), _) => Some(budget),
        (None, Some(code::ENHANCE_YOUR_CALM)) => Some(Budget::Engine),
        (None, None | Some(code::NO_ERROR | code::INTERNAL_ERROR))
            if !wire.preface_is_wrong.get() =>
        {
            return;
        },
        (None, _) => None,
    };
    if let Some(budget) = budget {
        worker.stats.workers.cell(worker.index).http2_exceeded[budget as usize].add(1);
    }
    refused(worker, connection.frontend, Reason::BadRequest);
}
