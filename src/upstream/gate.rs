//! The limit on requests at once for one endpoint of one route, over all workers
//! (`pod-concurrent-connections`, [PODC-1]).
//!
//! Made and carried over by `compile`, asked by `proxy::queue`. A route without the annotation has no
//! gate. Another thread is woken only for a request that waits (decisions 11).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::queue::{Entered, Queue, Ticket};

/// The gate in front of one endpoint.
#[derive(Debug)]
pub struct Gate(Mutex<Queue<oneshot::Sender<()>>>);

/// A request that may run; the place is free again when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Gate>);

/// A request in the line. Dropped, it leaves the line, or the place that it was given meanwhile.
#[derive(Debug)]
pub struct Waiting {
    gate: Arc<Gate>,
    ticket: Ticket,
    admitted: oneshot::Receiver<()>,
    /// [`Waiting::admitted`] has made a [`Place`] of it.
    done: bool,
}

/// What a gate says to a request.
#[derive(Debug)]
pub enum Asked {
    /// It may run.
    Admitted(Place),
    /// It has to wait.
    Wait(Waiting),
    /// Too many wait already.
    Full,
}

impl Gate {
    /// A gate that lets `limit` requests run and `bound` wait.
    #[must_use]
    pub fn new(limit: usize, bound: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Queue::new(limit, bound))))
    }

    /// Locked for a few instructions, never while something is awaited.
    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many may run.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.queue().limit()
    }

    /// Changes the limit; those who may run now are woken.
    pub fn set_limit(&self, limit: usize) {
        let admitted = self.queue().set_limit(limit);
        admitted.into_iter().for_each(wake);
    }

    /// True when a request would run at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue().has_room()
    }

    /// Requests that run and that wait.
    #[must_use]
    pub fn load(&self) -> usize {
        let queue = self.queue();
        queue.running() + queue.waiting()
    }

    /// A request wants to run.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Asked {
        let mut receiver = None;
        let entered = self.queue().enter(|| {
            let (sender, admitted) = oneshot::channel();
            receiver = Some(admitted);
            sender
        });
        match (entered, receiver) {
            (Entered::Waiting(ticket), Some(admitted)) => {
                Asked::Wait(Waiting { gate: Arc::clone(self), ticket, admitted, done: false })
            },
            (Entered::Running, _) => Asked::Admitted(Place(Arc::clone(self))),
            (Entered::Full | Entered::Waiting(_), _) => Asked::Full,
        }
    }

    fn leave(&self) {
        let next = self.queue().leave();
        next.into_iter().for_each(wake);
    }
}

/// A waiter that has just gone is no failure: its [`Waiting`] sees that it had a place, and leaves.
fn wake(waiter: oneshot::Sender<()>) {
    let _gone = waiter.send(());
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Waiting {
    /// Waits for the place; whoever calls this limits the time.
    pub async fn admitted(mut self) -> Place {
        // The sender stays in the queue until it is used.
        let _told = (&mut self.admitted).await;
        self.done = true;
        Place(Arc::clone(&self.gate))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.done && !self.gate.queue().abandon(self.ticket) {
            self.gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(gate: &Arc<Gate>) -> Waiting {
        match gate.enter() {
            Asked::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn admitted(gate: &Arc<Gate>) -> Place {
        match gate.enter() {
            Asked::Admitted(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_place_is_handed_on_from_thread_to_thread_in_order() {
        let gate = Gate::new(1, 8);
        let place = admitted(&gate);
        let mut line = Vec::new();
        line.resize_with(8, || waiting(&gate));
        assert!(matches!(gate.enter(), Asked::Full));
        let (done, order) = std::sync::mpsc::channel();
        let threads: Vec<_> = line
            .into_iter()
            .enumerate()
            .map(|(nth, waiting)| {
                let done = done.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let place = runtime.block_on(waiting.admitted());
                    done.send(nth).unwrap();
                    drop(place);
                })
            })
            .collect();
        drop(place);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!(gate.load(), 0);
    }

    /// A client that leaves at the very moment when its turn comes takes no place with it.
    #[test]
    fn whoever_gives_up_frees_a_place_in_the_line_or_the_place_itself() {
        let gate = Gate::new(1, 8);
        let place = admitted(&gate);
        let (first, second, third) = (waiting(&gate), waiting(&gate), waiting(&gate));
        drop(second);
        assert_eq!(gate.load(), 3);
        drop(place);
        // `first` has been told, and goes without having looked.
        assert!(!gate.has_room());
        drop(first);
        assert_eq!(gate.load(), 1, "the third one runs");
        drop(third);
        assert!(gate.has_room());
        assert_eq!(gate.load(), 0);
    }

    #[test]
    fn a_higher_limit_wakes_who_waits() {
        let gate = Gate::new(1, 8);
        let _place = admitted(&gate);
        let mut waiting = waiting(&gate);
        gate.set_limit(2);
        assert!(waiting.admitted.try_recv().is_ok());
    }
}
