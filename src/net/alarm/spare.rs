//! Alarms that nobody uses, for whoever needs one next.
//!
//! Called by `proxy::response`, whose exchanges each hold one, and by [`super::within`]. An alarm that
//! has been set costs an allocation and a place in the timer wheel, and nearly none ever rings; the
//! next wait takes it over as it stands. Always holds: an alarm stays in the runtime where it was set.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

use tokio::runtime::{Handle, Id};

use super::Alarm;

/// Most alarms that wait to be used. Each may hold on to the memory of the task that set it.
const MAX_SPARE: usize = 128;

thread_local! {
    /// Those of the runtime that ran on this thread last.
    static OF_THREAD: RefCell<Option<(Id, Spare)>> = const { RefCell::new(None) };
}

/// The alarms of one worker that nobody uses.
#[derive(Debug, Default)]
pub struct Spare(RefCell<Vec<Alarm>>);

impl Spare {
    /// An alarm, perhaps a used one.
    #[must_use]
    pub fn take(&self) -> Alarm {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an alarm back.
    pub fn give_back(&self, alarm: Alarm) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(alarm);
        }
    }

    /// Number of alarms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An alarm of this thread, given back when it is dropped.
pub(super) struct Borrowed {
    runtime: Id,
    alarm: Alarm,
}

impl Borrowed {
    /// An alarm for the runtime that the caller is in.
    pub(super) fn new() -> Self {
        let runtime = Handle::current().id();
        let alarm = OF_THREAD.with_borrow(|found| match found {
            Some((its, spare)) if *its == runtime => spare.take(),
            _ => Alarm::default(),
        });
        Self { runtime, alarm }
    }

    /// Number of alarms that wait on this thread.
    #[cfg(test)]
    pub(super) fn left() -> usize {
        OF_THREAD.with_borrow(|found| found.as_ref().map_or(0, |(_, spare)| spare.len()))
    }
}

impl Deref for Borrowed {
    type Target = Alarm;

    fn deref(&self) -> &Alarm {
        &self.alarm
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Alarm {
        &mut self.alarm
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let (runtime, alarm) = (self.runtime, std::mem::take(&mut self.alarm));
        // Late in the end of a thread there is nowhere to put it.
        let _gone = OF_THREAD.try_with(|found| {
            let mut found = found.borrow_mut();
            if found.as_ref().is_none_or(|(its, _)| *its != runtime) {
                *found = Some((runtime, Spare::default()));
            }
            if let Some((_, spare)) = &*found {
                spare.give_back(alarm);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_alarms_are_kept_than_the_bound() {
        let spare = Spare::default();
        for _ in 0..MAX_SPARE + 9 {
            spare.give_back(Alarm::default());
        }
        assert_eq!(spare.len(), MAX_SPARE);
        let _used = spare.take();
        assert_eq!(spare.len(), MAX_SPARE - 1);
    }
}
