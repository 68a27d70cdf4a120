//! The access log: one line a request, or a connection that is passed through, on stdout or to syslog.
//!
//! Workers send batches of records through a bounded channel; one thread formats a batch and hands it on
//! at once, so that no worker ever waits for whoever reads it. Credentials are not in a record, and
//! cookies only where one is to be captured, so they cannot leak (S-95); every value is escaped, so a
//! client cannot forge a line (S-94).

mod json;
mod syslog;
mod text;

use std::{
    io::Write,
    sync::{Arc, mpsc::Receiver},
    thread::{Builder, JoinHandle},
};

use self::{json::Formatter, syslog::Syslog};
use crate::{
    model::logformat::{self, Empty, LogFormat},
    proxy::{
        logline::{self, Frame, Process},
        record::AccessRecord,
        stats::RouterStats,
    },
    settings::log::{ERR, INFO, Lines, LogSettings},
};

#[cfg(test)]
mod tests;

/// A buffer that a burst made larger than this is given back.
const KEEP: usize = 1 << 20;

/// Starts the thread that writes records until every sender is gone: to the daemon that the settings name,
/// else to `out`. It holds `out` until then.
///
/// A writer that fails or blocks delays nobody: workers drop batches when the channel is full. Lines that
/// could not be handed on are counted in [`RouterStats::log_unsent`].
///
/// # Errors
/// The thread could not be started.
pub fn spawn_writer(
    records: Receiver<Vec<AccessRecord>>,
    settings: LogSettings,
    out: impl Write + Send + 'static,
    stats: Arc<RouterStats>,
) -> std::io::Result<JoinHandle<()>> {
    let work = move || {
        let mut out = out;
        let mut writer = Writer::new(settings);
        for batch in &records {
            let lost = writer.write(&batch, &mut out);
            // Dropping the routes' Arcs may free a whole snapshot: here, not on a worker.
            drop(batch);
            stats.log_unsent.add(lost);
        }
    };
    Builder::new().name("access-log".to_owned()).spawn(work)
}

/// Turns records into lines and hands them on.
struct Writer {
    maker: Maker,
    syslog: Option<Syslog>,
    /// Severities above this are not sent to the daemon.
    level: u8,
    buffer: Vec<u8>,
    complained: bool,
}

impl Writer {
    fn new(settings: LogSettings) -> Self {
        let syslog = settings.target.clone().map(|target| Syslog::new(target, &settings));
        let level = settings.level;
        Self { maker: Maker::new(settings), syslog, level, buffer: Vec::new(), complained: false }
    }

    /// Writes the lines of `batch`; how many of them were lost.
    fn write(&mut self, batch: &[AccessRecord], out: &mut impl Write) -> u64 {
        self.buffer.clear();
        let lost = match &mut self.syslog {
            None => {
                for record in batch {
                    self.maker.line(record, &mut self.buffer);
                    self.buffer.push(b'\n');
                }
                let written = out.write_all(&self.buffer).and_then(|()| out.flush());
                if written.is_ok() { 0 } else { batch.len() as u64 }
            },
            Some(syslog) => {
                let mut lost = 0;
                for record in batch {
                    let severity = if record.is_error() { ERR } else { INFO };
                    if severity <= self.level {
                        self.buffer.clear();
                        self.maker.line(record, &mut self.buffer);
                        lost += u64::from(!syslog.send(severity, &self.buffer));
                    }
                }
                lost
            },
        };
        if lost > 0 && !self.complained {
            self.complained = true;
            tracing::warn!("the access log cannot be written");
        }
        self.buffer.shrink_to(KEEP);
        lost
    }
}

/// Makes the lines of records.
struct Maker {
    settings: LogSettings,
    lines: Lines,
    json: Formatter,
    tcp: LogFormat,
    /// Lines of each frontend so far.
    counts: [u64; 4],
    id: Vec<u8>,
}

impl Maker {
    fn new(settings: LogSettings) -> Self {
        Self {
            lines: settings.lines(),
            settings,
            json: Formatter::default(),
            tcp: LogFormat::parse(logformat::TCP, Empty::Dash).unwrap_or_default(),
            counts: [0; 4],
            id: Vec::new(),
        }
    }

    /// Appends the line of `record`, without its newline. The other formats have no cut, since half an
    /// object helps nobody; the daemon's limit cuts them all the same.
    fn line(&mut self, record: &AccessRecord, out: &mut Vec<u8>) {
        let process = Process::this();
        let format = self.settings.unique_id().map(|(_, format)| format);
        let count = &mut self.counts[record.frontend as usize];
        let frame = Frame { record, process, count: *count, id: format };
        *count += 1;
        match self.lines {
            Lines::Haproxy => {
                let before = out.len();
                let format = if record.passthrough { &self.tcp } else { &self.settings.http };
                logline::write(format, &frame, out);
                // One byte is for the newline [LIM-2].
                out.truncate(before + self.settings.max_length.saturating_sub(1));
            },
            lines => {
                self.id.clear();
                if let Some(format) = format {
                    match record.detail.as_ref().and_then(|detail| detail.unique_id.as_ref()) {
                        Some(id) => self.id.extend_from_slice(id),
                        None => logline::write(format, &frame, &mut self.id),
                    }
                }
                let id = Some(&*self.id).filter(|id| !id.is_empty());
                match lines {
                    Lines::Combined => text::combined(record, out),
                    Lines::Logfmt => text::logfmt(record, id, out),
                    _ => self.json.line(record, id, out),
                }
            },
        }
    }
}
