//! One request and its response on an HTTP/2 connection to a pod.
//!
//! Called by `proxy::forward`. Whoever drops the response, or the wait for it, resets the stream with
//! CANCEL, its upload included. A response is complete only when the pod has said so.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{Lease, Slot};
use crate::{
    task,
    upstream::{body::RequestBody, expect::Expectation},
};

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The pod has not looked at the request: REFUSED_STREAM, or a stream above the last one of its
    /// GOAWAY (RFC 9113 8.7).
    #[error("the pod refused the stream")]
    Refused(#[source] h2::Error),
    /// The connection ended.
    #[error("the pod's connection ended")]
    Lost(#[source] h2::Error),
    /// The pod reset the stream.
    #[error("the pod reset the stream")]
    Reset(#[source] h2::Error),
    /// The pod broke the protocol.
    #[error("the pod's response is malformed")]
    Invalid(#[source] h2::Error),
}

impl From<h2::Error> for StreamError {
    fn from(error: h2::Error) -> Self {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && (refused || error.is_go_away()) {
            Self::Refused(error)
        } else if error.is_library() {
            Self::Invalid(error)
        } else if error.is_reset() {
            Self::Reset(error)
        } else {
            Self::Lost(error)
        }
    }
}

/// Sends `request`, which is in origin form with `Host`, on the stream of `lease`.
///
/// # Errors
/// When there is no response. The body is given up by then, as far as it was not passed on.
pub async fn send(
    lease: &Lease,
    request: Request<RequestBody>,
) -> Result<Response<Body>, StreamError> {
    let (mut parts, mut body) = request.into_parts();
    to_http2(&mut parts, &lease.slot.0.scheme);
    let ended = body.is_end_stream();
    // A clone of its own: a handle takes no second request while its first one waits to be opened.
    let mut sender = lease.slot.0.sender.borrow().clone();
    let expectation = body.expectation().cloned();
    let (mut response, stream) = sender.send_request(Request::from_parts(parts, ()), ended)?;
    drop(sender);
    let upload = if ended {
        drop(body);
        Upload(None)
    } else {
        body.keep();
        Upload::start(Pipe { stream, body, next: None, _slot: Rc::clone(&lease.slot) })
    };
    if let Some(expectation) = expectation {
        poll_fn(|cx| poll_interim(&mut response, &expectation, cx)).await;
        // The upload is woken first, and asks the client before it has its answer.
        tokio::task::yield_now().await;
    }
    match response.await {
        Ok(response) => {
            let slot = Rc::clone(&lease.slot);
            Ok(response.map(|stream| Body::new(stream, upload, slot)))
        },
        Err(error) => {
            upload.stop().await;
            Err(error.into())
        },
    }
}

/// Tells of the pod's 100. Ready when no interim response can follow.
fn poll_interim(
    response: &mut ResponseFuture,
    expectation: &Expectation,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while let Some(Ok(interim)) = ready!(response.poll_informational(cx)) {
        if interim.status() == StatusCode::CONTINUE {
            expectation.meet();
        }
    }
    Poll::Ready(())
}

/// From a request of HTTP/1 to one of HTTP/2 (RFC 9113 8.2.2, 8.3.1).
fn to_http2(parts: &mut http::request::Parts, scheme: &Scheme) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        parts.headers.remove(name);
    }
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = host.and_then(|host| Authority::try_from(host).ok());
    if let Some(authority) = authority {
        let path = parts.uri.path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(scheme.clone());
        uri.authority = Some(authority);
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        if let Ok(uri) = Uri::from_parts(uri) {
            parts.uri = uri;
            parts.headers.remove(HOST);
        }
    }
    // Without a host, as in HTTP/1.0, there is no `:authority`; h2 takes that from HTTP/1 only.
    parts.version = Version::HTTP_11;
}

/// The task that passes a request body on; stopped when dropped.
#[derive(Debug)]
struct Upload(Option<JoinHandle<()>>);

impl Upload {
    /// Passes on what is there at once; a task does the rest, if there is one.
    fn start(mut pipe: Pipe) -> Self {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if Pin::new(&mut pipe).poll(&mut cx).is_ready() {
            return Self(None);
        }
        Self(Some(task::spawn_local::<{ task::UPLOAD }, _>(pipe)))
    }

    /// Stops it and waits until its body is dropped.
    async fn stop(mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _cancelled = task.await;
        }
    }

    /// Lets it go on by itself.
    fn detach(&mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A request body on its way into a stream. Asks for the next chunk only when the last one is gone,
/// so that the pod's window holds the client back.
#[derive(Debug)]
struct Pipe {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// A chunk that waits for the pod's window, and whether it is the last.
    next: Option<(Bytes, bool)>,
    _slot: Rc<Slot>,
}

impl Future for Pipe {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if this.next.is_some() && !ready!(this.poll_window(cx)) {
                return Poll::Ready(());
            }
            if let Some((chunk, last)) = this.next.take() {
                if this.stream.send_data(chunk, last).is_err() || last {
                    return Poll::Ready(());
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if this.take(frame) {
                        return Poll::Ready(());
                    }
                },
                Some(Err(_client)) => {
                    this.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                },
                None => {
                    let _ended = this.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                },
            }
        }
    }
}

impl Pipe {
    /// Ready with true when the pod takes bytes, with false when it takes none any more.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {},
                Some(Err(_)) | None => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    }

    /// Keeps a chunk for the window, or sends the trailers. True at the end.
    fn take(&mut self, frame: Frame<Bytes>) -> bool {
        match frame.into_data() {
            Ok(chunk) => {
                let last = self.body.is_end_stream();
                if chunk.is_empty() {
                    return last && self.stream.send_data(chunk, true).is_ok();
                }
                self.stream.reserve_capacity(chunk.len());
                self.next = Some((chunk, last));
                false
            },
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    let _ended = self.stream.send_trailers(trailers);
                }
                true
            },
        }
    }
}

/// The body of a response.
#[derive(Debug)]
pub struct Body {
    stream: RecvStream,
    /// Bytes to come, where the pod has said how many.
    left: Option<u64>,
    part: Part,
    upload: Upload,
    _slot: Rc<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Data,
    Trailers,
    Done,
}

impl Body {
    fn new(stream: RecvStream, upload: Upload, slot: Rc<Slot>) -> Self {
        let mut this = Self { stream, left: None, part: Part::Data, upload, _slot: slot };
        if this.stream.is_end_stream() {
            this.done();
        }
        this
    }

    /// Notes the length that the head names; none for an answer to HEAD.
    pub fn expect(&mut self, head: &http::HeaderMap) {
        if self.part == Part::Data {
            let length = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            self.left = length.and_then(|length| length.parse().ok());
        }
    }

    /// The response is complete. An upload may go on; the pod resets it when it has no use for it.
    fn done(&mut self) {
        self.part = Part::Done;
        self.left = None;
        self.upload.detach();
    }

    /// After its whole response a pod may reset the stream with NO_ERROR, to end the upload (RFC
    /// 9113 8.1). Any other reset cuts the response, and so does this one when bytes are missing.
    fn failed(&mut self, error: h2::Error) -> Option<h2::Error> {
        let complete = error.is_reset()
            && error.reason() == Some(Reason::NO_ERROR)
            && self.left.is_none_or(|left| left == 0);
        self.part = Part::Done;
        if complete { None } else { Some(error) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        while this.part == Part::Data {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The client's side asks for no more than it can pass on, so the pod may send anew.
                    let _open = this.stream.flow_control().release_capacity(data.len());
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    if this.stream.is_end_stream() {
                        this.done();
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                },
                Some(Err(error)) => return Poll::Ready(this.failed(error).map(Err)),
                None => this.part = Part::Trailers,
            }
        }
        if this.part == Part::Trailers {
            match ready!(this.stream.poll_trailers(cx)) {
                Ok(trailers) => {
                    this.done();
                    return Poll::Ready(trailers.map(Frame::trailers).map(Ok));
                },
                Err(error) => return Poll::Ready(this.failed(error).map(Err)),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.part == Part::Done
    }

    fn size_hint(&self) -> SizeHint {
        match (self.part, self.left) {
            (Part::Done, _) => SizeHint::with_exact(0),
            (_, Some(left)) => SizeHint::with_exact(left),
            (_, None) => SizeHint::default(),
        }
    }
}
