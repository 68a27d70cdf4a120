//! A request that panics costs itself alone.
//!
//! Called by `serve` around each request. The connection and the worker go on; what the request held
//! is dropped by the unwinding, which also counts and logs it. A panic in a response body comes later,
//! outside of this: it ends the HTTP/1 connection, which has no other request, or the stream's own task
//! on HTTP/2, and is counted by what is dropped with it (`entry::Open`, `response::ResponseBody`).

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

/// The future panicked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs `future` to its end, or to its panic. It is not polled again after one.
pub(super) const fn isolate<F: Future>(future: F) -> Isolated<F> {
    Isolated { future }
}

pin_project! {
    /// A future whose panic ends here. No `async fn`: that would hold the future twice, once as its
    /// argument and once where it is pinned.
    pub(super) struct Isolated<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Isolated<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_payload) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests;
