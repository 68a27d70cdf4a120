//! A connection that is being made, and who waits for it.
//!
//! Called by `pool`: the first request that finds no free stream dials, the others wait for what comes
//! of it, so that a burst opens one connection and not one each.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

use crate::upstream::dial::{Cause, DialError};

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
    Failed(Cause),
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
    /// It ended so.
    pub(super) fn end<T>(self, result: &Result<T, DialError>) {
        self.0.end(match result {
            Ok(_) => Outcome::Ended,
            Err(error) => Outcome::Failed(error.cause()),
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end(Outcome::Ended);
    }
}
