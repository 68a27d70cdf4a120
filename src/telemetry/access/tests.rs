//! The writer: it ends with its senders, cuts lines, and survives whoever reads it.

use std::{
    io,
    sync::{Arc, Mutex, mpsc},
};

use http::{HeaderValue, Uri};
use proptest::prelude::*;

use super::*;

fn lines_of(settings: LogSettings, record: &AccessRecord) -> String {
    let mut out = Vec::new();
    Maker::new(settings).line(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn request() -> AccessRecord {
    AccessRecord {
        client: "203.0.113.9:4711".parse().unwrap(),
        target: Uri::from_static("/cart?x=1"),
        host: Some(HeaderValue::from_static("shop.example.com")),
        status: 200,
        bytes_out: 12,
        user_agent: Some(HeaderValue::from_static("curl \"8\"")),
        ..AccessRecord::default()
    }
}

fn settings(lines: Lines) -> LogSettings {
    LogSettings { lines: Some(lines), ..LogSettings::default() }
}

#[test]
fn the_other_formats_have_a_line_too() {
    assert_eq!(
        lines_of(settings(Lines::Combined), &request()),
        "203.0.113.9 - - [01/Jan/1970:00:00:00 +0000] \"GET /cart?x=1 HTTP/1.1\" 200 12 \"-\" \
         \"curl \\\"8\\\"\""
    );
    assert_eq!(
        lines_of(settings(Lines::Logfmt), &request()),
        "ts=1970-01-01T00:00:00.000Z client=203.0.113.9 client_port=4711 listener=public \
         proto=HTTP/1.1 method=GET host=shop.example.com path=/cart query=\"x=1\" status=200 \
         bytes_in=0 bytes_out=12 t_total_ms=0.000 retries=0 term_state=---- \
         ua=\"curl \\\"8\\\"\" gen=0"
    );
}

/// [LIM-2]: a line of HAProxy's format has its limit on stdout, too.
#[test]
fn lim_2_haproxys_lines_are_cut() {
    let record = AccessRecord {
        target: Uri::try_from(format!("/{}", "x".repeat(5000))).unwrap(),
        ..request()
    };
    assert_eq!(lines_of(settings(Lines::Haproxy), &record).len(), 1023);
}

/// [UID-1]: an answer of the router's own has an id as well.
#[test]
fn uid_1_the_id_is_in_every_format() {
    for lines in [Lines::Json, Lines::Logfmt] {
        let mut settings = settings(lines);
        settings.id_format = LogFormat::parse("id-%ci", Empty::Nothing).ok();
        settings.id_header = Some(http::HeaderName::from_static("x-id"));
        let line = lines_of(settings, &request());
        assert!(line.contains("id-203.0.113.9"), "{line}");
        if lines == Lines::Json {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["id"], "id-203.0.113.9");
        }
    }
}

proptest! {
    #[test]
    fn every_format_makes_one_line(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut record = request();
        record.host = HeaderValue::from_bytes(&bytes).ok();
        record.user_agent = HeaderValue::from_bytes(&bytes).ok();
        for lines in [Lines::Json, Lines::Haproxy, Lines::Combined, Lines::Logfmt] {
            let line = lines_of(settings(lines), &record);
            prop_assert!(!line.chars().any(char::is_control), "{}", line);
        }
    }
}

#[test]
fn the_writer_ends_with_its_senders_and_outlives_errors() {
    struct Flaky(Arc<Mutex<Vec<u8>>>, u32);
    impl Write for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1 == 1 {
                return Err(io::Error::other("full"));
            }
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sender, receiver) = mpsc::sync_channel(4);
    let stats = Arc::new(RouterStats::new(1));
    let log = LogSettings::default();
    let writer = spawn_writer(receiver, log, Flaky(seen.clone(), 0), Arc::clone(&stats)).unwrap();
    sender.send(vec![AccessRecord::default()]).unwrap();
    sender.send(vec![AccessRecord::default(), AccessRecord::default()]).unwrap();
    drop(sender);
    writer.join().unwrap();
    assert_eq!(stats.log_unsent.load(), 1, "the first batch failed");
    assert_eq!(seen.lock().unwrap().iter().filter(|byte| **byte == b'\n').count(), 2);
}
