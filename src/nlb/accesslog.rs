//! The access log of TLS listeners (spec/l4-dns.md A.11): lines go through a bounded queue to a task
//! that writes compressed files below a directory, with the keys that AWS gives them.
//!
//! Started by `server`, fed by `tls::flow` at the end of each connection. Always holds: a flow never
//! waits for the log; lines that the task cannot keep up with are dropped and counted; at the end of the
//! load balancer all lines that were taken are written.

mod line;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use line::{Record, quoted_list};

use super::stats::Count;

/// Between two files, unless configured: that of AWS.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
/// Lines that wait for the writer.
const QUEUE: usize = 4096;

/// `access_logs.s3.*` of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// `access_logs.s3.bucket`: a directory.
    pub bucket: PathBuf,
    /// `access_logs.s3.prefix`, without a slash at either end.
    pub prefix: String,
    /// Between two files. Extension.
    pub interval: Duration,
}

/// Where the files of one load balancer go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) config: AccessLogConfig,
    pub(super) region: Arc<str>,
    /// `net/NAME/ID`.
    pub(super) label: String,
}

/// A running log.
#[derive(Debug)]
pub(super) struct AccessLog {
    pub(super) place: Place,
    lines: mpsc::Sender<Record>,
    stop: CancellationToken,
    dropped: Arc<Count>,
}

impl AccessLog {
    /// Starts the writer on `tasks`. It ends when the log is dropped or closed.
    pub(super) fn start(place: Place, dropped: Arc<Count>, tasks: &TaskTracker) -> Arc<Self> {
        let (lines, queue) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        tasks.spawn(writer::run(place.clone(), queue, stop.clone(), Arc::clone(&dropped)));
        Arc::new(Self { place, lines, stop, dropped })
    }

    /// Hands a record to the writer, which makes the line of it.
    pub(super) fn write(&self, record: Record) {
        let (Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(_))) =
            self.lines.try_send(record).inspect_err(|_lost| self.dropped.one());
    }

    /// The writer writes what it has and ends.
    pub(super) fn close(&self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
