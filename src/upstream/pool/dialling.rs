//! A connection that is being made, and who waits for it.
//!
//! Called by `pool`: the first request that finds no free stream dials, the others wait for what comes
//! of it, so that a burst opens one connection and not one each.

use std::{cell::Cell, io, rc::Rc};

use tokio::sync::Notify;

/// One attempt to connect.
#[derive(Debug)]
pub(super) struct Dialling {
    outcome: Cell<Outcome>,
    ended: Notify,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not ended yet.
    Running,
    /// There is a connection; or nobody makes one any more, so that a waiter may.
    Ended,
    /// There is none, for this reason.
    Failed(io::ErrorKind),
}

impl Dialling {
    pub(super) fn begin() -> Rc<Self> {
        Rc::new(Self { outcome: Cell::new(Outcome::Running), ended: Notify::new() })
    }

    pub(super) fn is_running(&self) -> bool {
        self.outcome.get() == Outcome::Running
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> Outcome {
        while self.is_running() {
            self.ended.notified().await;
        }
        self.outcome.get()
    }

    /// Ends the attempt when dropped, as when the request that makes it is gone.
    pub(super) fn guard(self: &Rc<Self>) -> Guard {
        Guard(Rc::clone(self))
    }

    fn end(&self, outcome: Outcome) {
        if self.is_running() {
            self.outcome.set(outcome);
            self.ended.notify_waiters();
        }
    }
}

/// The right to say how it ended.
#[derive(Debug)]
pub(super) struct Guard(Rc<Dialling>);

impl Guard {
    /// There is a connection.
    pub(super) fn done(self) {
        self.0.end(Outcome::Ended);
    }

    /// There is none.
    pub(super) fn failed(self, kind: io::ErrorKind) {
        self.0.end(Outcome::Failed(kind));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end(Outcome::Ended);
    }
}
