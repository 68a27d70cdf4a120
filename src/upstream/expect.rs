//! `Expect: 100-continue`: a request's body is asked of the client when the pod asks for it (RFC 9110
//! 10.1.1).
//!
//! Made by `body` for a request that expects; polled there in front of the client's body, told by the
//! pod's connection of a 100 and by `proxy` of the answer. hyper says 100 to a client of HTTP/1 when its
//! body is first asked for, so holding that back is all it takes. Always holds: a pod that says
//! nothing is given the body after a while, and a request that is over holds nobody.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Sleep;

/// Whether a pod wants a body. Shared with what its connection reports to, which may be on any thread.
#[derive(Debug)]
pub struct Expectation {
    /// How long a pod may say nothing before it gets the body unasked: one of HTTP/1.0 never asks.
    patience: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    state: State,
    waker: Option<Waker>,
    /// Made when the pod's connection first asks for the body: it has taken the head then.
    patience: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    /// The body may go.
    Met,
    /// The pod's answer does without it.
    Declined,
    /// The request is over.
    Closed,
}

impl Expectation {
    /// Waits for a word of the pod, for `patience` at most.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, waiting: Mutex::default() }
    }

    /// The pod wants the body.
    pub fn meet(&self) {
        self.settle(State::Met);
    }

    /// The pod has answered and does not want it. It waits on, since giving it up would end the pod's
    /// connection in the middle of the answer.
    pub fn decline(&self) {
        self.settle(State::Declined);
    }

    /// The request is over.
    pub fn close(&self) {
        self.settle(State::Closed);
    }

    /// True once the body may go; for ever then.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.lock().state == State::Met
    }

    /// Ready with true when the body may go, with false when the request is over.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut waiting = self.lock();
        match waiting.state {
            State::Met => return Poll::Ready(true),
            State::Closed => return Poll::Ready(false),
            State::Declined => {},
            State::Waiting => {
                let sleep = || Box::pin(tokio::time::sleep(self.patience));
                let patience = waiting.patience.get_or_insert_with(sleep);
                if patience.as_mut().poll(cx).is_ready() {
                    waiting.state = State::Met;
                    return Poll::Ready(true);
                }
            },
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What was decided first holds, but for the end of what was declined.
    fn settle(&self, to: State) {
        let mut waiting = self.lock();
        let holds = match waiting.state {
            State::Waiting => false,
            State::Declined => to != State::Closed,
            State::Met | State::Closed => true,
        };
        if holds {
            return;
        }
        waiting.state = to;
        waiting.patience = None;
        let waker = waiting.waker.take();
        drop(waiting);
        waker.iter().for_each(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_silent_pod_gets_the_body_after_a_second() {
        let start = tokio::time::Instant::now();
        let expectation = Expectation::new(PATIENCE);
        assert!(poll_fn(|cx| expectation.poll(cx)).await);
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(expectation.is_met());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_pod_declines_is_never_asked_for() {
        let start = tokio::time::Instant::now();
        let expectation = Expectation::new(PATIENCE);
        let end = async {
            expectation.decline();
            tokio::time::sleep(10 * PATIENCE).await;
            expectation.meet();
            expectation.close();
        };
        let (wanted, ()) = tokio::join!(poll_fn(|cx| expectation.poll(cx)), end);
        assert!(!wanted);
        assert_eq!(start.elapsed(), 10 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_asks_is_heard_at_once() {
        let start = tokio::time::Instant::now();
        let expectation = Expectation::new(PATIENCE);
        let ask = async { expectation.meet() };
        let (wanted, ()) = tokio::join!(poll_fn(|cx| expectation.poll(cx)), ask);
        assert!(wanted && start.elapsed().is_zero());
        expectation.decline();
        expectation.close();
        assert!(expectation.is_met(), "an upload may outlive its answer");
    }
}
