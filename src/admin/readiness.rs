//! Whether this process takes traffic: three flags behind `/healthz/ready`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What readiness depends on. Starts as "not yet".
#[derive(Debug, Default)]
pub struct Readiness {
    synced: AtomicBool,
    listening: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Name of the check that the listeners are bound.
    pub(super) const LISTENERS: &'static str = "listeners";

    /// The first snapshot is published.
    pub fn set_synced(&self) {
        self.synced.store(true, Relaxed);
    }

    /// Every listener is bound.
    pub fn set_listening(&self) {
        self.listening.store(true, Relaxed);
    }

    /// The process is stopping.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The checks by name, as in [ADMIN-3], and whether each holds.
    #[must_use]
    pub fn checks(&self) -> [(&'static str, bool); 3] {
        [
            (Self::LISTENERS, self.listening.load(Relaxed)),
            ("has-synced", self.synced.load(Relaxed)),
            ("process-running", !self.draining.load(Relaxed)),
        ]
    }

    /// True when every check holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks().iter().all(|(_, holds)| *holds)
    }
}
