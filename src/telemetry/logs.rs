//! The process log: system events through `tracing`, on stderr.
//!
//! The access log is not part of it (`telemetry::access`).

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error("bad log level {level:?}; expected error, warn, info, debug or a list of TARGET=LEVEL")]
    Level {
        /// What was given.
        level: String,
        /// Where it goes wrong.
        #[source]
        source: ParseError,
    },
    /// Somebody was faster.
    #[error("the log is set up already")]
    Twice,
}

/// Sends events of `level` and worse to stderr, as JSON lines or as text.
pub fn init(json: bool, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(level)
        .map_err(|source| LogError::Level { level: level.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    // The error carries no more than its own text, which says the same.
    done.ok().ok_or(LogError::Twice)
}
