//! Turns for TLS handshakes, so that a flood of them does not starve requests (decisions 14).
//!
//! Called by `entry` once a ClientHello is complete. What costs time is the answer to it, key exchange
//! and signature, which is computed in one go when the handshake is first polled; afterwards it waits
//! for the client and costs next to nothing. So a turn lasts from the first poll until the worker has
//! looked at its sockets again, and a worker computes at most as many answers in between as there are
//! turns. A client that goes silent in the middle of its handshake holds no turn, and can keep nobody
//! else waiting. The line is first come, first served; it is no longer than there are connections, and
//! the limit of the handshake goes on counting in it.

use std::{pin::Pin, task::Poll};

use tokio::sync::Semaphore;

/// The turns of one worker.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    /// `count` turns, at least one.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        let count = if count > Semaphore::MAX_PERMITS { Semaphore::MAX_PERMITS } else { count };
        Self(Semaphore::const_new(if count == 0 { 1 } else { count }))
    }

    /// Polls `work` for the first time when its turn has come, and then to its end. `waited` is called
    /// when the turn does not come at once.
    pub async fn take<F: Future>(&self, waited: impl FnOnce(), mut work: Pin<&mut F>) -> F::Output {
        let turn = if let Ok(turn) = self.0.try_acquire() {
            Ok(turn)
        } else {
            waited();
            // In order: what is given back goes to the first in the line.
            self.0.acquire().await
        };
        let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        // Comes back after the runtime has looked at its sockets.
        tokio::task::yield_now().await;
        drop(turn);
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
        time::Duration,
    };

    use super::*;

    #[derive(Default)]
    struct Seen {
        turn: Cell<usize>,
        /// Which handshake was answered in which turn of the worker.
        answered: RefCell<Vec<(usize, usize)>>,
        waited: Cell<usize>,
    }

    /// Answers when first polled, and then its client never says another word.
    async fn stalled(seen: &Seen, number: usize) {
        seen.answered.borrow_mut().push((seen.turn.get(), number));
        std::future::pending::<()>().await;
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_worker_answers_so_many_at_a_time_in_order_and_silent_clients_hold_nobody_up() {
        let (turns, seen) = (Rc::new(Turns::new(2)), Rc::<Seen>::default());
        for number in 0..7 {
            let (turns, seen) = (Rc::clone(&turns), Rc::clone(&seen));
            tokio::task::spawn_local(async move {
                let work = std::pin::pin!(stalled(&seen, number));
                turns.take(|| seen.waited.set(seen.waited.get() + 1), work).await;
            });
        }
        for turn in 0..20 {
            seen.turn.set(turn);
            tokio::task::yield_now().await;
        }
        let answered = seen.answered.borrow();
        let order: Vec<usize> = answered.iter().map(|(_, number)| *number).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
        for turn in 0..20 {
            let count = answered.iter().filter(|(at, _)| *at == turn).count();
            assert!(count <= 2, "{count} in turn {turn}: {answered:?}");
        }
        assert_eq!(seen.waited.get(), 5);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn the_limit_of_a_handshake_counts_while_it_waits() {
        let turns = Turns::new(1);
        let held = turns.0.acquire().await.unwrap();
        let limit = Duration::from_secs(10);
        let polled = Cell::new(false);
        let work = std::pin::pin!(async { polled.set(true) });
        let outcome = tokio::time::timeout(limit, turns.take(|| {}, work)).await;
        assert!(outcome.is_err());
        assert!(!polled.get(), "no answer was computed for it");
        drop(held);
        // It has left the line.
        assert_eq!(turns.take(|| panic!("there is a turn"), std::pin::pin!(async { 7 })).await, 7);
    }
}
