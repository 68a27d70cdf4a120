//! L0: the three moments of an orderly stop (reliability.md 2.2), seen by every part of a process.
//!
//! `begin` (SIGTERM: announce the end, go on accepting), `stop` (accept no more, finish what runs),
//! `kill` (close what is left). Each moment implies the ones before it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

/// A handle on the stop of one process or one router.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    announced: Arc<AtomicBool>,
    /// Done at SIGTERM.
    pub begun: CancellationToken,
    /// Done when accepting ends.
    pub stopped: CancellationToken,
    /// Done when what is left is closed.
    pub killed: CancellationToken,
}

impl Drain {
    /// Announces the end: responses carry `Connection: close`, HTTP/2 gets GOAWAY.
    pub fn begin(&self) {
        self.announced.store(true, Relaxed);
        self.begun.cancel();
    }

    /// Ends accepting.
    pub fn stop(&self) {
        self.begin();
        self.stopped.cancel();
    }

    /// Closes what is left.
    pub fn kill(&self) {
        self.stop();
        self.killed.cancel();
    }

    /// True from [`Drain::begin`] on. One relaxed load: fit for the request path.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.announced.load(Relaxed)
    }
}
