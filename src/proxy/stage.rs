//! How far the stop of the process has come, as the connections of one worker see it.
//!
//! Kept by `worker`, watched by the HTTP engines. A connection is polled several times for each
//! request; so it looks at a cell, and is woken when the cell changes, where waiting for the process's
//! tokens would take their locks at every poll.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

use slab::Slab;
use tokio::time::Instant;

use crate::drain::Drain;

/// A moment of the stop (see [`Drain`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No stop was asked for.
    #[default]
    Serving,
    /// The end is announced.
    Begun,
    /// Nothing new is accepted.
    Stopped,
    /// What is left is closed.
    Killed,
}

/// The stage of one worker.
#[derive(Debug, Default)]
pub struct Stages {
    stage: Cell<Stage>,
    begun: Cell<Option<Instant>>,
    watchers: RefCell<Slab<Waker>>,
}

impl Stages {
    /// Follows `drain` until everything is closed; run by the worker.
    pub async fn follow(self: Rc<Self>, drain: Drain) {
        drain.begun.cancelled().await;
        self.begun.set(Some(Instant::now()));
        self.enter(Stage::Begun);
        drain.stopped.cancelled().await;
        self.enter(Stage::Stopped);
        drain.killed.cancelled().await;
        self.enter(Stage::Killed);
    }

    fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        for (_, watcher) in &*self.watchers.borrow() {
            watcher.wake_by_ref();
        }
    }

    /// Lets a task watch.
    #[must_use]
    pub const fn watch(self: Rc<Self>) -> Watch {
        Watch { stages: self, key: None }
    }
}

/// One task's view. It watches from its first [`Watch::stage`] until it is dropped.
#[derive(Debug)]
pub struct Watch {
    stages: Rc<Stages>,
    key: Option<usize>,
}

impl Watch {
    /// The present stage; the task is woken when the next one begins.
    pub fn stage(&mut self, cx: &Context<'_>) -> Stage {
        if self.key.is_none() {
            let key = self.stages.watchers.borrow_mut().insert(cx.waker().clone());
            self.key = Some(key);
        }
        self.stages.stage.get()
    }

    /// When the end was announced, if it was.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.stages.begun.get()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.stages.watchers.borrow_mut().remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_watching_task_sees_every_stage_and_leaves_nothing_behind() {
        let (stages, drain) = (Rc::<Stages>::default(), Drain::default());
        let local = LocalSet::new();
        let mut watch = Rc::clone(&stages).watch();
        let watching = local.spawn_local(async move {
            for wanted in [Stage::Serving, Stage::Begun, Stage::Stopped, Stage::Killed] {
                poll_fn(|cx| match watch.stage(cx) {
                    stage if stage >= wanted => Poll::Ready(()),
                    _ => Poll::Pending,
                })
                .await;
            }
        });
        let followed = Rc::clone(&stages);
        local
            .run_until(async {
                let following = tokio::task::spawn_local(followed.follow(drain.clone()));
                for enter in [Drain::begin, Drain::stop, Drain::kill] {
                    assert!(!watching.is_finished());
                    enter(&drain);
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                }
                following.await.unwrap();
                watching.await.unwrap();
            })
            .await;
        assert!(stages.watchers.borrow().is_empty());
    }
}
