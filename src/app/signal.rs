//! Signals: the first SIGTERM or SIGINT starts the stop, a second one ends the process.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The stop signals of the process.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    /// Waits for a stop signal.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {},
            _ = self.int.recv() => {},
        }
    }

    /// Runs the stop: exit code 0 when it ends by itself, 1 when another signal ends it.
    ///
    /// # Errors
    /// Those of `stop`.
    pub async fn unless_again(
        &mut self,
        stop: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<ExitCode> {
        tokio::select! {
            stopped = stop => stopped.map(|()| ExitCode::SUCCESS),
            () = self.stop() => {
                tracing::warn!("second signal: ending now");
                Ok(ExitCode::FAILURE)
            },
        }
    }
}
