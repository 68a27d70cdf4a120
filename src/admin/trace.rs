//! `/api/v1/trace?client=ADDR:PORT`: waits for the next request of that connection and shows what the
//! router noted of it.
//!
//! Called by the admin port behind its access rules. The head of the answer is sent once the watch is
//! in force, so that a client sends its request when it has the head and finds the body when the
//! request has ended. Always holds: the watch ends with the connection that asked, and after
//! [`LONGEST`] the answer is `null`.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::proxy::trace::Watching;

/// How long a request is waited for.
pub const LONGEST: Duration = Duration::from_secs(15);

/// A body that is there, or one that is waited for.
pub enum Body {
    /// Bytes.
    Full(Full<Bytes>),
    /// JSON, later; `None` once it was sent.
    Later(Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Later(_) => "Later",
        })
    }
}

impl Body {
    /// What `watching` sees.
    pub(super) fn of(mut watching: Watching) -> Self {
        Self::Later(Some(Box::pin(async move {
            let seen = tokio::time::timeout(LONGEST, watching.seen()).await.ok().flatten();
            serde_json::to_vec(&seen).unwrap_or_default().into()
        })))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body).poll_frame(cx),
            Self::Later(later) => {
                let Some(waiting) = later else { return Poll::Ready(None) };
                let bytes = ready!(waiting.as_mut().poll(cx));
                *later = None;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Later(later) => later.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Later(_) => SizeHint::default(),
        }
    }
}

/// The client that a query names.
pub(super) fn client(value: Option<String>) -> Option<SocketAddr> {
    value?.parse().ok()
}
