//! A request that panics costs itself alone.
//!
//! Called by `serve` around each request. The connection and the worker go on; what the request held
//! is dropped by the unwinding, which also counts and logs it. A panic in a response body comes later,
//! outside of this: it ends the HTTP/1 connection, which has no other request, or the stream's own task
//! on HTTP/2, and is counted by what is dropped with it (`entry::Open`, `response::ResponseBody`).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

/// The future panicked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs `future` to its end, or to its panic. It is not polled again after one.
pub(super) async fn isolate<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_payload) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests;
