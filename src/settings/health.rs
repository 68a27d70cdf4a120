//! Settings on endpoints that fail: ejection, slow start, retries (reliability.md 2.3, 2.4, 2.6).
//!
//! Part of [`super::RouterSettings`]; read by `health`, `proxy` and `compile`.

use std::time::Duration;

/// Most failures that [`EjectionSettings::failures`] may ask for.
pub const MAX_EJECT_FAILURES: u32 = 16;

/// What the router does about endpoints that fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthSettings {
    /// Endpoints that cannot be connected to get nothing for a while.
    pub ejection: EjectionSettings,
    /// How long an endpoint that appears, or comes back, takes to get its whole share; zero for at
    /// once. WHARF_SLOW_START.
    pub slow_start: Duration,
    /// How many requests may be tried again.
    pub retries: RetrySettings,
}

/// Passive ejection: only failed connections count, never an answer (reliability.md 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    /// It happens at all. WHARF_EJECT.
    pub on: bool,
    /// Failed connections within [`window`](Self::window) that eject an endpoint, 1 to
    /// [`MAX_EJECT_FAILURES`]. WHARF_EJECT_FAILURES.
    pub failures: u32,
    /// Time in which they must fall. WHARF_EJECT_WINDOW.
    pub window: Duration,
    /// Length of the first ejection; the nth in a row takes n times as long, and each is a fifth
    /// longer or shorter by chance. WHARF_EJECT_TIME.
    pub time: Duration,
    /// Most endpoints that are ejected at once, of a route and of each of its Services, in percent.
    /// WHARF_EJECT_MAX_PERCENT.
    pub max_percent: u32,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self {
            on: true,
            failures: 3,
            window: Duration::from_secs(10),
            time: Duration::from_secs(5),
            max_percent: 50,
        }
    }
}

/// The retry budget of the process (reliability.md 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Retries in ten seconds, in percent of the requests in that time. A request has three at most,
    /// so 300 is as good as no limit. WHARF_RETRY_PERCENT.
    pub percent: u32,
    /// Retries for each second that are allowed beside these. WHARF_RETRY_FLOOR.
    pub floor: u32,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { percent: 20, floor: 10 }
    }
}
