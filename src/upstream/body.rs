//! The request body on its way to a pod: passed through, counted, its end noted.
//!
//! Made by `proxy::forward`, consumed by hyper's client connection.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::net::timed::{Phase, PhaseCell};

/// How far the upload of one request has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Body bytes handed to the pod's connection.
    pub bytes: Cell<u64>,
    /// The client's body has ended, or there was none.
    pub ended: Cell<bool>,
    /// The client's side failed before the end.
    pub failed: Cell<bool>,
}

/// The body.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    progress: Rc<Progress>,
    phase: Option<Arc<PhaseCell>>,
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn empty(progress: Rc<Progress>) -> Self {
        progress.ended.set(true);
        Self { inner: None, progress, phase: None }
    }

    /// The client's body. `phase` leaves [`Phase::Body`] when it ends.
    #[must_use]
    pub fn new(inner: Incoming, progress: Rc<Progress>, phase: Arc<PhaseCell>) -> Self {
        Self { inner: Some(inner), progress, phase: Some(phase) }
    }

    fn end(&self) {
        if !self.progress.ended.replace(true)
            && let Some(phase) = &self.phase
            && phase.phase() == Phase::Body
        {
            phase.enter(Phase::Response);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        let at_end = inner.is_end_stream();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.progress.bytes.set(self.progress.bytes.get() + data.len() as u64);
                }
                if at_end {
                    self.end();
                }
            },
            Some(Err(_)) => self.progress.failed.set(true),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
