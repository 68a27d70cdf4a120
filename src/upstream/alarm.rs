//! Alarms of requests, used again and again.
//!
//! Called by `proxy::response`, whose exchanges each hold one. An alarm that has been set costs an
//! allocation and a place in the timer wheel, and nearly none ever rings; the next request takes it
//! over as it stands.

use std::cell::RefCell;

use crate::net::alarm::Alarm;

/// Most alarms that wait for a request. Each may hold on to the memory of the task that set it.
const MAX_SPARE: usize = 128;

/// The alarms of one worker that no request uses.
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
