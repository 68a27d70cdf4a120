//! The request body on its way to a pod: passed through, counted, its end noted.
//!
//! Made by `proxy::forward`, consumed by hyper's client connection. On HTTP/1 the client's limit is
//! that of its connection ([`crate::net::timed`]); streams of HTTP/2 have theirs here.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::{headers, net::timed::PhaseCell};

/// How far the upload of one request has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Body bytes handed to the pod's connection.
    pub bytes: Cell<u64>,
    /// The client's body has ended, or there was none.
    pub ended: Cell<bool>,
    /// The client's side failed before the end.
    pub failed: Cell<bool>,
    /// It failed because nothing came for too long.
    pub timed_out: Cell<bool>,
    /// The pod's connection has taken what there was and waits for the client.
    pub waiting: Cell<bool>,
    /// When a part of the body or of its response last went by.
    pub moved: Cell<Option<Instant>>,
}

impl Progress {
    /// Notes that something went by.
    pub fn note(&self) {
        self.moved.set(Some(Instant::now()));
    }
}

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client's connection or stream failed.
    #[error("the client's body was cut")]
    Client(#[source] hyper::Error),
    /// Nothing moved on an HTTP/2 stream for the client timeout.
    #[error("the client sent nothing within the client timeout")]
    Timeout,
}

/// The body.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    progress: Rc<Progress>,
    phase: Option<Arc<PhaseCell>>,
    /// The client timeout, where the connection does not watch it.
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn empty(progress: Rc<Progress>) -> Self {
        progress.ended.set(true);
        Self { inner: None, progress, phase: None, limit: None, timer: None }
    }

    /// The client's body. `phase` is told when it ends; `limit` is the client timeout of a stream
    /// whose connection cannot watch it.
    #[must_use]
    pub fn new(
        inner: Incoming,
        progress: Rc<Progress>,
        phase: Arc<PhaseCell>,
        limit: Option<Duration>,
    ) -> Self {
        phase.uploading();
        Self { inner: Some(inner), progress, phase: Some(phase), limit, timer: None }
    }

    fn end(&self) {
        if !self.progress.ended.replace(true)
            && let Some(phase) = &self.phase
        {
            phase.uploaded();
        }
    }

    /// The pod waits for the client: ready only when the client has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.progress.waiting.replace(true) {
            // While the pod did not take the body, the client could not send.
            self.progress.note();
            if let Some(phase) = &self.phase {
                phase.asked();
            }
        }
        let Some(limit) = self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let due = self.progress.moved.get().map_or_else(Instant::now, |moved| moved + limit);
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let Poll::Ready(mut frame) = Pin::new(&mut *inner).poll_frame(cx) else {
            ready!(self.poll_silence(cx));
            self.progress.failed.set(true);
            self.progress.timed_out.set(true);
            return Poll::Ready(Some(Err(UploadError::Timeout)));
        };
        let at_end = inner.is_end_stream();
        self.progress.waiting.set(false);
        self.progress.note();
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
                if let Some(data) = frame.data_ref() {
                    self.progress.bytes.set(self.progress.bytes.get() + data.len() as u64);
                }
                // Nothing follows trailers, and nobody asks again.
                if at_end || frame.is_trailers() {
                    self.end();
                }
            },
            Some(Err(_)) => self.progress.failed.set(true),
            None => self.end(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    /// A body that is given up is over for the client's connection as well.
    fn drop(&mut self) {
        if let Some(phase) = &self.phase {
            phase.uploaded();
        }
    }
}
