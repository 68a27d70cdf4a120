//! A request that panics costs itself alone.
//!
//! Called by `serve` around each request. The connection and the worker go on; what the request held
//! is dropped by the unwinding, which also counts and logs it.

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
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    struct Held(Rc<Cell<u32>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    /// the panic ends here, and everything the future held is dropped once.
    #[tokio::test]
    async fn r_22_a_panic_ends_the_future_alone() {
        let drops = Rc::new(Cell::new(0));
        let held = Held(Rc::clone(&drops));
        let outcome = isolate(async move {
            let _held = held;
            tokio::task::yield_now().await;
            panic!("on purpose");
        })
        .await;
        assert_eq!(outcome, Err::<(), _>(Panicked));
        assert_eq!(drops.get(), 1);
        assert_eq!(isolate(async { 7 }).await, Ok(7));
    }
}
