//! L2: a limit on how many run at once, and the line of those that wait for it.
//!
//! Used by `upstream::gate` for one endpoint of one route (`pod-concurrent-connections`). First come,
//! first served: a place that becomes free goes to whoever waits longest, never to a newcomer. Pure:
//! no clock, no waking; what a waiter is (`T`) is the caller's business.

use std::collections::VecDeque;

/// Names a place in the line; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What became of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It runs. [`Queue::leave`] must follow.
    Running,
    /// It waits: either [`Queue::leave`] hands its `T` out, and then it runs, or it gives up by
    /// [`Queue::abandon`].
    Waiting(Ticket),
    /// As many wait as may.
    Full,
}

/// The limit and the line. What runs and what waits is bounded by `limit` and `bound`.
#[derive(Debug)]
pub struct Queue<T> {
    limit: usize,
    bound: usize,
    running: usize,
    /// In the order of their tickets.
    waiting: VecDeque<(Ticket, T)>,
    next: u64,
}

impl<T> Queue<T> {
    /// A queue where at most `limit` run, at least one, and at most `bound` wait.
    #[must_use]
    pub fn new(limit: usize, bound: usize) -> Self {
        Self { limit: limit.max(1), bound, running: 0, waiting: VecDeque::new(), next: 0 }
    }

    /// How many may run.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many run.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True when a newcomer would run at once.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.running < self.limit
    }

    /// A newcomer; `waiter` is made only if it has to wait.
    pub fn enter(&mut self, waiter: impl FnOnce() -> T) -> Entered {
        // Whenever there is room, nobody waits: see `leave` and `set_limit`.
        if self.has_room() {
            self.running += 1;
            return Entered::Running;
        }
        if self.waiting.len() >= self.bound {
            return Entered::Full;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, waiter()));
        Entered::Waiting(ticket)
    }

    /// One that ran has ended. Its place goes to the first in the line, which runs from now on and is
    /// to be told so.
    #[must_use = "who is handed out runs, and must be told"]
    pub fn leave(&mut self) -> Option<T> {
        self.running = self.running.saturating_sub(1);
        self.advance()
    }

    /// One that waits gives up. False when it does not wait any more: it runs, and must leave.
    pub fn abandon(&mut self, ticket: Ticket) -> bool {
        let found = self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        found.is_ok_and(|index| self.waiting.remove(index).is_some())
    }

    /// Changes the limit, to at least one. More than it may run on; with a higher one, those that are
    /// handed out run from now on and are to be told so.
    #[must_use = "who is handed out runs, and must be told"]
    pub fn set_limit(&mut self, limit: usize) -> Vec<T> {
        self.limit = limit.max(1);
        std::iter::from_fn(|| self.advance()).collect()
    }

    fn advance(&mut self) -> Option<T> {
        if !self.has_room() {
            return None;
        }
        let (_, waiter) = self.waiting.pop_front()?;
        self.running += 1;
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_free_place_goes_to_whoever_waits_longest() {
        let mut queue = Queue::new(2, 3);
        let entered: Vec<Entered> = (0..6).map(|n| queue.enter(|| n)).collect();
        let waiting = |n| Entered::Waiting(Ticket(n));
        let running = Entered::Running;
        assert_eq!(entered, [running, running, waiting(0), waiting(1), waiting(2), Entered::Full]);
        assert!(queue.abandon(Ticket(1)));
        assert!(!queue.abandon(Ticket(1)), "it has left the line");
        assert_eq!([queue.leave(), queue.leave(), queue.leave()], [Some(2), Some(4), None]);
        assert!(!queue.abandon(Ticket(0)), "it runs");
        assert_eq!((queue.running(), queue.waiting()), (1, 0));
    }

    #[test]
    fn a_higher_limit_lets_the_first_of_the_line_in_and_a_lower_one_throws_nobody_out() {
        let mut queue = Queue::new(1, 9);
        for n in 0..5 {
            queue.enter(|| n);
        }
        assert_eq!(queue.set_limit(3), [1, 2]);
        assert_eq!(queue.set_limit(1), [0; 0]);
        assert_eq!([queue.leave(), queue.leave(), queue.leave()], [None, None, Some(3)]);
        assert_eq!(queue.set_limit(0), [0; 0], "a limit of none would wait for ever");
        assert_eq!(queue.leave(), Some(4));
    }

    /// The same, written for one glance: who runs and who waits, by number.
    #[derive(Debug, Default)]
    struct Oracle {
        running: Vec<u32>,
        waiting: Vec<u32>,
    }

    impl Oracle {
        fn advance(&mut self, limit: usize) -> Vec<u32> {
            let mut moved = Vec::new();
            while self.running.len() < limit && !self.waiting.is_empty() {
                let first = self.waiting.remove(0);
                self.running.push(first);
                moved.push(first);
            }
            moved
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter,
        Leave,
        Abandon(prop::sample::Index),
        Limit(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Enter),
            3 => Just(Step::Leave),
            1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
            1 => (1..5_usize).prop_map(Step::Limit),
        ]
    }

    proptest! {
        #[test]
        fn the_queue_is_its_oracle(
            mut limit in 1..4_usize,
            bound in 0..6_usize,
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let mut queue = Queue::new(limit, bound);
            let mut oracle = Oracle::default();
            let mut tickets: Vec<(u32, Ticket)> = Vec::new();
            for (number, step) in (0_u32..).zip(steps) {
                match step {
                    Step::Enter => match queue.enter(|| number) {
                        Entered::Running => {
                            prop_assert!(oracle.running.len() < limit);
                            oracle.running.push(number);
                        },
                        Entered::Waiting(ticket) => {
                            prop_assert!(oracle.running.len() >= limit);
                            oracle.waiting.push(number);
                            tickets.push((number, ticket));
                        },
                        Entered::Full => prop_assert_eq!(oracle.waiting.len(), bound),
                    },
                    Step::Leave => {
                        if oracle.running.pop().is_some() {
                            let moved = oracle.advance(limit);
                            prop_assert_eq!(queue.leave().into_iter().collect::<Vec<_>>(), moved);
                        }
                    },
                    Step::Abandon(index) if !tickets.is_empty() => {
                        let (number, ticket) = tickets[index.index(tickets.len())];
                        let waits = oracle.waiting.contains(&number);
                        oracle.waiting.retain(|waiting| *waiting != number);
                        prop_assert_eq!(queue.abandon(ticket), waits);
                    },
                    Step::Abandon(_) => {},
                    Step::Limit(next) => {
                        limit = next;
                        prop_assert_eq!(queue.set_limit(limit), oracle.advance(limit));
                    },
                }
                prop_assert_eq!(queue.running(), oracle.running.len());
                prop_assert_eq!(queue.waiting(), oracle.waiting.len());
                prop_assert!(queue.waiting() <= bound);
                prop_assert!(!queue.has_room() || queue.waiting() == 0);
            }
        }
    }
}
