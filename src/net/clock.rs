//! The time as a worker sees it: read once for all that one wake-up brings.
//!
//! A request asks for the time a dozen times, and a reading costs as much as a lookup in the routing
//! table. A thread that calls [`forget`] whenever it wakes up (`app::router::data`) may share a reading
//! until it sleeps again; on every other thread [`now`] always reads. Always holds: a reading is used
//! at most `READINGS` times, so a thread that never sleeps does not lose track.

use std::{
    cell::Cell,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// How often one reading is given out.
const READINGS: u32 = 32;

thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading { left: 0, at: None, wall: None }) };
    static SHARED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy)]
struct Reading {
    left: u32,
    at: Option<Instant>,
    wall: Option<SystemTime>,
}

/// The time, from this wake-up's reading.
#[must_use]
pub fn now() -> Instant {
    let reading = READING.get();
    match reading.at {
        Some(at) if reading.left > 0 => {
            READING.set(Reading { left: reading.left - 1, ..reading });
            at
        },
        _ => {
            let at = Instant::now();
            if SHARED.get() {
                READING.set(Reading { left: READINGS, at: Some(at), wall: None });
            }
            at
        },
    }
}

/// [`now`] in milliseconds from some moment before the process, never 0: for what is kept in atomics.
#[must_use]
pub fn millis() -> u64 {
    // An hour earlier, since a paused clock of a test may stand where the process was before.
    static START: LazyLock<Instant> = LazyLock::new(|| {
        let first = Instant::now();
        first.checked_sub(Duration::from_secs(3600)).unwrap_or(first)
    });
    let since = now().saturating_duration_since(*START).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

/// The wall clock, for logs alone, as old as what [`now`] gives.
#[must_use]
pub fn wall() -> SystemTime {
    let reading = READING.get();
    if let Some(wall) = reading.wall {
        return wall;
    }
    let wall = SystemTime::now();
    if SHARED.get() {
        READING.set(Reading { wall: Some(wall), ..reading });
    }
    wall
}

/// The thread has woken up, or is about to sleep: the next [`now`] reads again. From the first call on
/// this thread shares readings.
pub fn forget() {
    SHARED.set(true);
    READING.set(Reading { left: 0, at: None, wall: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_shared_until_the_thread_wakes_again_or_has_used_it_up() {
        let first = now();
        assert_ne!(first, now(), "a thread that does not say when it sleeps always reads");
        forget();
        let first = now();
        let wall = wall();
        for _ in 0..READINGS {
            assert_eq!(first, now());
            assert_eq!(wall, super::wall());
        }
        let second = now();
        assert_ne!(first, second, "it was used up");
        forget();
        assert_ne!(second, now());
    }
}
