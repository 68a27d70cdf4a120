//! Runs the streams of HTTP/2 connections on the worker's own thread, and ends those that stall.
//!
//! hyper does not ask a response for more while its stream's window is closed, so no timer of the
//! response runs, and a client that answers PINGs could hold its streams, and the pods' connections
//! behind them, for ever (S-40). The limit is therefore watched from the outside: hyper hands each
//! stream to [`LocalExecutor`] as a future, and [`Watched`] drops the future of one whose response has
//! handed out a part that nobody takes. The library resets the stream then. Used by `http2`.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use slab::Slab;
use tokio::{task::JoinHandle, time::Instant};

use super::metered::Wire;
use crate::{
    net::{alarm::Alarm, clock},
    task,
    upstream::body::Progress,
};

/// How many times the client timeout a stream may wait when the link itself is full: it may be its
/// siblings that take what there is.
const FULL_LINK: u32 = 10;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    wire: Rc<Wire>,
    /// The client timeout.
    limit: Duration,
    /// The request that hyper has been given last, until its stream comes to be run.
    next: RefCell<Option<Rc<Progress>>>,
    /// The task that hyper has been given last to write into a tunnel.
    writer: RefCell<Option<JoinHandle<()>>>,
    /// What runs: requests with their tasks, and the tunnels that they have become.
    tasks: RefCell<Slab<Option<JoinHandle<()>>>>,
    stalled: Cell<u64>,
}

impl Streams {
    /// No stream yet. `limit` is the client timeout.
    pub(super) fn new(wire: Rc<Wire>, limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            wire,
            limit,
            next: RefCell::default(),
            writer: RefCell::default(),
            tasks: RefCell::default(),
            stalled: Cell::default(),
        })
    }

    /// A request begins, whose stream is the next to be run.
    pub(super) fn begin(&self) -> Rc<Progress> {
        let progress = Rc::<Progress>::default();
        *self.next.borrow_mut() = Some(Rc::clone(&progress));
        progress
    }

    /// How many were ended for stalling, since this was asked last.
    pub(super) fn take_stalled(&self) -> u64 {
        self.stalled.take()
    }

    /// Ends every request; the library resets their streams with CANCEL. Tunnels end by themselves.
    pub(super) fn cancel(&self) {
        for (_, task) in &*self.tasks.borrow() {
            if let Some(task) = task {
                task.abort();
            }
        }
    }

    /// No stream runs.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.borrow().is_empty()
    }
}

/// Runs streams as tasks, each of them watched.
#[derive(Clone, Debug)]
pub(super) struct LocalExecutor(pub(super) Rc<Streams>);

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let next = self.0.next.borrow_mut().take();
        let watch = next.map(|progress| Watch::new(Rc::clone(&self.0), progress));
        let (writes, running) = (watch.is_none(), Running::new(&self.0));
        let key = running.key;
        // Owned by the connection: its end wakes its streams, which end then.
        let task = task::spawn_local::<{ task::STREAM }, _>(Watched { future, watch, running });
        if writes {
            // Not a request: a stream becomes a tunnel, and its own future, which is being run, ends.
            *self.0.writer.borrow_mut() = Some(task);
        } else if let Some(place) = self.0.tasks.borrow_mut().get_mut(key) {
            *place = Some(task);
        }
    }
}

pin_project! {
    /// A stream that ends by itself or by stalling.
    struct Watched<F> {
        // Before its watch, so that it is gone when the watch counts what is left.
        #[pin]
        future: F,
        watch: Option<Watch>,
        running: Running,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.future.poll(cx).is_ready() {
            if let Some(watch) = this.watch
                && let Some(writer) = watch.streams.writer.borrow_mut().take()
            {
                *watch.progress.writer.borrow_mut() = Some(writer);
            }
            return Poll::Ready(());
        }
        match this.watch {
            Some(watch) if watch.progress.held.get() => watch.poll_stall(cx),
            _ => Poll::Pending,
        }
    }
}

/// Counts a stream as running, or a tunnel that it has become.
#[derive(Debug)]
struct Running {
    streams: Rc<Streams>,
    /// Its place among the tasks.
    key: usize,
}

impl Running {
    fn new(streams: &Rc<Streams>) -> Self {
        let key = streams.tasks.borrow_mut().insert(None);
        Self { streams: Rc::clone(streams), key }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _task = self.streams.tasks.borrow_mut().try_remove(self.key);
    }
}

/// What one stream's future is watched by.
#[derive(Debug)]
struct Watch {
    streams: Rc<Streams>,
    progress: Rc<Progress>,
    /// Made when the stream first waits.
    wait: Option<Box<Wait>>,
}

/// The waits of one stream.
#[derive(Debug)]
struct Wait {
    since: Since,
    alarm: Alarm,
}

/// The present wait of a part that was handed out.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    /// Number of the part.
    part: u32,
    /// [`Wire::blocks`] as it was.
    blocks: u32,
    /// The link was full already.
    blocked: bool,
}

impl Watch {
    fn new(streams: Rc<Streams>, progress: Rc<Progress>) -> Self {
        Self { streams, progress, wait: None }
    }

    /// Ready when nobody has taken the present part for the whole limit.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (wire, part) = (&self.streams.wire, self.progress.handed.get());
        let since = || Since {
            at: clock::now(),
            part,
            blocks: wire.blocks.get(),
            blocked: wire.blocked.get(),
        };
        let wait = self
            .wait
            .get_or_insert_with(|| Box::new(Wait { since: since(), alarm: Alarm::default() }));
        if wait.since.part != part {
            wait.since = since();
        }
        let link_was_full = wait.since.blocked || wire.blocks.get() != wait.since.blocks;
        let patience = if link_was_full { FULL_LINK } else { 1 };
        ready!(wait.alarm.poll(cx, wait.since.at + self.streams.limit * patience));
        self.progress.stalled.set(true);
        Poll::Ready(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let streams = &self.streams;
        if self.progress.stalled.get() {
            streams.stalled.set(streams.stalled.get() + 1);
        }
    }
}

#[cfg(test)]
mod tests;
