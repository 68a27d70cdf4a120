//! The bodies that pass through: a request's on its way to a pod, counted, its end noted; and a
//! response's, of either protocol.
//!
//! Made by `proxy::forward`, consumed by the pod's connection and by `proxy::response`. On HTTP/1 the client's limit is
//! that of its connection ([`crate::net::timed`]); streams of HTTP/2 have theirs here.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep},
};

use super::{expect::Expectation, h2::stream};
use crate::{
    headers,
    net::{clock, timed::PhaseCell},
};

/// Most body bytes that are kept so that a refused request can be sent again (reliability.md 2.3).
const MAX_KEPT: usize = 64 * 1024;

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
    /// Parts of the response that were handed out. Wraps.
    pub handed: Cell<u32>,
    /// The last of them is not known to be taken: nobody has asked for the next one in vain.
    pub held: Cell<bool>,
    /// Nobody took it within the client timeout.
    pub stalled: Cell<bool>,
    /// When a part of the body or of its response last went by.
    pub moved: Cell<Option<Instant>>,
    /// The response has begun: the body need not be kept any longer.
    pub answered: Cell<bool>,
    /// The task that writes into the client's stream, once that is a tunnel over HTTP/2.
    pub writer: RefCell<Option<JoinHandle<()>>>,
    /// What the body waits for before it is asked of the client.
    expectation: OnceCell<Arc<Expectation>>,
    /// What a connection gave back that has not looked at it.
    returned: RefCell<Option<Returned>>,
}

impl Progress {
    /// Notes that something went by.
    pub fn note(&self) {
        self.moved.set(Some(clock::now()));
    }

    /// The client sends its body only when the pod wants it, or says nothing for `patience`.
    pub fn expect(&self, patience: Duration) {
        self.expectation.get_or_init(|| Arc::new(Expectation::new(patience)));
    }

    /// Notes that the pod has answered with `status`. True when the client had not been asked for the body by then:
    /// whether there will be one, and who takes it for a body, nobody can tell.
    #[must_use]
    pub fn answered_early(&self, status: StatusCode) -> bool {
        let Some(expectation) = self.expectation.get() else { return false };
        let early = !expectation.is_met();
        if status.is_success() {
            // It takes the request, and so the body, if the client sends it after all.
            expectation.meet();
        } else {
            expectation.decline();
        }
        early
    }

    /// The request is over: whoever still waits to be asked for its body may go.
    pub fn finish(&self) {
        if let Some(expectation) = self.expectation.get() {
            expectation.close();
        }
    }

    /// The body that a connection gave back whole, if it is still here.
    #[must_use]
    pub fn reclaim(self: &Rc<Self>) -> Option<RequestBody> {
        let Returned { body, kept } = self.returned.take()?;
        Some(RequestBody {
            source: Some(body),
            progress: Rc::clone(self),
            kept: Some(kept),
            timer: None,
        })
    }

    /// Notes that a part of the response is handed out.
    pub fn hand_out(&self) {
        self.handed.set(self.handed.get().wrapping_add(1));
        self.held.set(true);
    }
}

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The request was over before the pod wanted it.
    #[error("the pod does not want the body")]
    Unwanted,
    /// The client's connection or stream failed.
    #[error("the client's body was cut")]
    Client(#[source] hyper::Error),
    /// Nothing moved on an HTTP/2 stream for the client timeout.
    #[error("the client sent nothing within the client timeout")]
    Timeout,
}

/// The client's side of a body.
#[derive(Debug)]
struct Source {
    inner: Incoming,
    phase: Arc<PhaseCell>,
    /// The client timeout, where the connection does not watch it.
    limit: Option<Duration>,
}

impl Drop for Source {
    /// A body that is given up is over for the client's connection as well.
    fn drop(&mut self) {
        self.phase.uploaded();
    }
}

/// What was passed on already, in case it has to be passed on again.
#[derive(Debug, Default)]
struct Kept {
    sent: VecDeque<Part>,
    /// To be sent before anything new.
    again: VecDeque<Part>,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Part {
    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

#[derive(Debug)]
struct Returned {
    body: Source,
    kept: Box<Kept>,
}

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    source: Option<Source>,
    progress: Rc<Progress>,
    kept: Option<Box<Kept>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn empty(progress: Rc<Progress>) -> Self {
        progress.ended.set(true);
        Self { source: None, progress, kept: None, timer: None }
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
        Self { source: Some(Source { inner, phase, limit }), progress, kept: None, timer: None }
    }

    /// The body itself; an empty one stays here.
    #[must_use]
    pub fn replace(&mut self) -> Self {
        let progress = Rc::clone(&self.progress);
        std::mem::replace(self, Self { source: None, progress, kept: None, timer: None })
    }

    /// Keeps what is passed on from here, up to `MAX_KEPT` bytes and until the response begins. A
    /// body that is dropped before is given back to [`Progress::reclaim`].
    pub fn keep(&mut self) {
        if self.source.is_some() && self.kept.is_none() {
            self.kept = Some(Box::default());
        }
    }

    /// What to tell of the pod's wish for the body, where the client waits for it.
    #[must_use]
    pub fn expectation(&self) -> Option<&Arc<Expectation>> {
        self.progress.expectation.get()
    }

    fn end(&self) {
        if !self.progress.ended.replace(true)
            && let Some(source) = &self.source
        {
            source.phase.uploaded();
        }
    }

    /// The next part of those that were sent before.
    fn repeat(&mut self) -> Option<Frame<Bytes>> {
        let kept = self.kept.as_mut()?;
        let part = kept.again.pop_front()?;
        kept.sent.push_back(part.clone());
        Some(part.into_frame())
    }

    /// Keeps `frame` as well, if it still may be needed and there is room.
    fn remember(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        let size = frame.data_ref().map_or(0, Bytes::len);
        if self.progress.answered.get() || kept.bytes + size > MAX_KEPT {
            self.kept = None;
            return;
        }
        kept.bytes += size;
        if let Some(data) = frame.data_ref() {
            kept.sent.push_back(Part::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            kept.sent.push_back(Part::Trailers(trailers.clone()));
        }
    }

    /// The pod waits for the client: ready only when the client has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(source) = &self.source else { return Poll::Pending };
        if !self.progress.waiting.replace(true) {
            // While the pod did not take the body, the client could not send.
            self.progress.note();
            source.phase.asked();
        }
        let Some(limit) = source.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let due = self.progress.moved.get().map_or_else(clock::now, |moved| moved + limit);
            if due <= clock::now() {
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
        if let Some(frame) = self.repeat() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(expectation) = self.progress.expectation.get()
            && !ready!(expectation.poll(cx))
        {
            return Poll::Ready(Some(Err(UploadError::Unwanted)));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let Poll::Ready(mut frame) = Pin::new(&mut source.inner).poll_frame(cx) else {
            ready!(self.poll_silence(cx));
            self.progress.failed.set(true);
            self.progress.timed_out.set(true);
            return Poll::Ready(Some(Err(UploadError::Timeout)));
        };
        let at_end = source.inner.is_end_stream();
        self.progress.waiting.set(false);
        self.progress.note();
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
                self.remember(frame);
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
        let repeating = self.kept.as_ref().is_some_and(|kept| !kept.again.is_empty());
        !repeating && self.source.as_ref().is_none_or(|source| source.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let repeating = self.kept.as_ref().is_some_and(|kept| !kept.again.is_empty());
        match &self.source {
            None => SizeHint::with_exact(0),
            // The head says the length; what is left of it is no hint.
            Some(_) if repeating => SizeHint::default(),
            Some(source) => source.inner.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    /// What may be needed again is given back.
    fn drop(&mut self) {
        let wanted = !self.progress.answered.get() && !self.progress.failed.get();
        let Some(mut kept) = self.kept.take().filter(|_| wanted) else { return };
        let Some(body) = self.source.take() else { return };
        kept.sent.append(&mut kept.again);
        kept.again = std::mem::take(&mut kept.sent);
        self.progress.returned.replace(Some(Returned { body, kept }));
    }
}

/// The body of a pod's response.
#[derive(Debug)]
pub enum PodBody {
    /// Over HTTP/1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(stream::Body),
}

/// Why a pod's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The connection failed or its framing is broken.
    #[error("the pod's HTTP/1 connection failed")]
    Http1(#[source] hyper::Error),
    /// The pod reset the stream. The code, which is the source's, goes on to clients of HTTP/2.
    #[error("the pod reset the stream")]
    Reset(#[source] h2::Error),
    /// The connection failed. What its GOAWAY says is not meant for the client.
    #[error("the pod's HTTP/2 connection failed: {0}")]
    Http2(h2::Error),
}

impl From<h2::Error> for PodError {
    fn from(error: h2::Error) -> Self {
        // To the client these two would mean that nothing was done, or that nothing is missing.
        let hidden = [h2::Reason::REFUSED_STREAM, h2::Reason::NO_ERROR];
        let told = error.reason().is_some_and(|reason| !hidden.contains(&reason));
        if error.is_reset() && error.is_remote() && told {
            Self::Reset(error)
        } else {
            Self::Http2(error)
        }
    }
}

impl Body for PodBody {
    type Data = Bytes;
    type Error = PodError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PodError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(PodError::Http1))),
            Self::Http2(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(PodError::from))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
