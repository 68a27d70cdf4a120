//! The writer of the query log of `wharf dns`: a thread that writes lines to standard output.
//!
//! Started by `command`. Always holds: the server never waits for it; it ends once the server has.

use std::{
    io::{self, Write},
    sync::{Arc, mpsc::Receiver},
};

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::dns::log::{Classes, Noted, QueryLog};

/// Lines that are written together.
const TOGETHER: usize = 256;

/// Starts the writer: the server's end of the log, and what is ready when the last line is written.
pub(super) fn start(
    classes: Classes,
) -> anyhow::Result<(Arc<QueryLog>, oneshot::Receiver<io::Result<()>>)> {
    let (log, noted) = QueryLog::new(classes);
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("query-log".to_owned())
        .spawn(move || {
            // Nobody may be left to hear of it.
            let _gone = ended.send(write_all(&noted, &mut io::stdout()));
        })
        .context("cannot start the writer of the query log")?;
    Ok((Arc::new(log), end))
}

/// Writes lines until the server has gone, or nobody reads them.
fn write_all(noted: &Receiver<Noted>, out: &mut impl Write) -> io::Result<()> {
    let mut lines = String::new();
    while let Ok(first) = noted.recv() {
        lines.clear();
        first.line(&mut lines);
        for more in noted.try_iter().take(TOGETHER - 1) {
            more.line(&mut lines);
        }
        out.write_all(lines.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::stats::Transport;

    #[test]
    fn every_line_is_written_before_the_end() {
        let (log, noted) = QueryLog::new(Classes::ALL);
        let query = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01a\0\0\x01\0\x01"].concat();
        for _ in 0..600 {
            let client = "192.0.2.1:9".parse().unwrap();
            log.note(client, Transport::Udp, &query, &[0; 12], Duration::ZERO);
        }
        drop(log);
        let mut out = Vec::new();
        write_all(&noted, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 600);
        assert!(text.starts_with("[INFO] 192.0.2.1:9 - 1 \"A IN a. udp 19 false 512\" NOERROR"));
    }
}
