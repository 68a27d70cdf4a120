//! The access log: one JSON object a line, one line a request.
//!
//! Workers send batches of records through a bounded channel; one thread formats a batch into one
//! buffer and writes it at once. Cookies and credentials are not in a record, so they cannot leak
//! (S-95); every value is escaped, so a client cannot forge a line (S-94).

use std::{
    io::Write,
    sync::mpsc::Receiver,
    thread::{Builder, JoinHandle},
};

use http::Version;

use super::time;
use crate::proxy::record::AccessRecord;

#[cfg(test)]
mod tests;

/// A buffer that a burst made larger than this is given back.
const KEEP: usize = 1 << 20;

/// Starts the thread that writes records to `out` until every sender is gone.
///
/// A writer that fails or blocks delays nobody: workers drop batches when the channel is full. The
/// handle gives the number of batches that could not be written.
pub fn spawn_writer(
    records: Receiver<Vec<AccessRecord>>,
    mut out: impl Write + Send + 'static,
) -> std::io::Result<JoinHandle<u64>> {
    Builder::new().name("access-log".to_owned()).spawn(move || {
        let mut failed = 0;
        let mut buffer = Vec::new();
        for batch in &records {
            buffer.clear();
            for record in &batch {
                format(record, &mut buffer);
            }
            // Dropping the routes' Arcs may free a whole snapshot: here, not on a worker.
            drop(batch);
            if out.write_all(&buffer).and_then(|()| out.flush()).is_err() {
                if failed == 0 {
                    tracing::warn!("the access log cannot be written");
                }
                failed += 1;
            }
            buffer.shrink_to(KEEP);
        }
        failed
    })
}

/// Appends the line of `record`, with its newline.
pub fn format(record: &AccessRecord, out: &mut Vec<u8>) {
    let mut line = Line { out, first: true };
    line.text("ts", time::millis(record.at).as_bytes());
    line.text("client", record.client.ip().to_string().as_bytes());
    line.number("client_port", record.client.port().into());
    line.text("listener", record.frontend.name().as_bytes());
    line.text("proto", protocol(record.version).as_bytes());
    line.text("method", record.method.as_str().as_bytes());
    line.optional("host", record.host.as_ref().map(http::HeaderValue::as_bytes));
    line.text("path", record.target.path().as_bytes());
    line.optional("query", record.target.query().map(str::as_bytes));
    line.number("status", record.status.into());
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    if let Some(route) = &record.route {
        line.text("namespace", route.key.namespace.as_bytes());
        line.text("route", route.key.name.as_bytes());
        let index = record.server.and_then(|index| usize::try_from(index).ok());
        if let Some(server) = index.and_then(|index| route.backend.servers.get(index)) {
            line.text("service", server.service.as_bytes());
            line.text("endpoint", server.label.as_bytes());
            line.text("pod", server.pod.as_bytes());
        }
    }
    line.time("t_req_ms", record.times.head);
    line.time("t_queue_ms", record.times.queue);
    line.time("t_connect_ms", record.times.connect);
    line.time("t_resp_ms", record.times.response);
    line.time("t_total_ms", Some(record.times.total));
    line.number("retries", record.retries.into());
    line.optional("reason", record.reason.map(|reason| reason.word().as_bytes()));
    line.text("term_state", &record.termination);
    line.optional("ua", record.user_agent.as_ref().map(http::HeaderValue::as_bytes));
    line.optional("referer", record.referer.as_ref().map(http::HeaderValue::as_bytes));
    line.number("gen", record.generation);
    line.out.extend_from_slice(b"}\n");
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// One JSON object under construction.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    /// Keys are literals of this file and need no escape.
    fn key(&mut self, key: &str) {
        self.out.push(if self.first { b'{' } else { b',' });
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        escape(value, self.out);
        self.out.push(b'"');
    }

    fn optional(&mut self, key: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Microseconds as milliseconds with three decimals; nothing for a phase that was not reached.
    fn time(&mut self, key: &str, micros: Option<u32>) {
        let Some(micros) = micros else { return };
        self.number(key, u64::from(micros / 1000));
        let rest = micros % 1000;
        self.out.push(b'.');
        for divisor in [100, 10, 1] {
            self.out.push(b"0123456789"[(rest / divisor % 10) as usize]);
        }
    }
}

/// Appends `value` as the inside of a JSON string. Bytes that are not UTF-8 become the text `\xNN`;
/// control characters, C1 ones and line separators too, are escaped, so that a terminal or a line
/// reader sees none of them.
fn escape(value: &[u8], out: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let code = u32::from(character);
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(b"0123456789abcdef"[(code >> shift & 15) as usize]);
                    }
                },
                _ => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                },
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
            out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
        }
    }
}
