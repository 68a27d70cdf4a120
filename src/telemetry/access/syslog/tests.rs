//! Envelopes, and daemons that come and go.

use std::time::Duration;

use super::*;
use crate::settings::log::{ERR, INFO};

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_418_155_290_123)
}

fn packed(settings: &LogSettings, severity: u8, line: &[u8], now: SystemTime) -> String {
    let mut syslog = Syslog::new(Target::Path("/nowhere".into()), settings);
    syslog.pack(severity, line, now);
    String::from_utf8(syslog.datagram).unwrap()
}

/// [LOG-1]: HAProxy's datagram for local1 and info began `<142>Nov 23 07:15:55 vm haproxy[14809]: `.
#[test]
fn log_1_the_envelope_is_haproxys() {
    let mut settings = LogSettings::default();
    let Process { host, pid } = Process::this();
    let line = packed(&settings, INFO, b"text", at());
    assert_eq!(line, format!("<142>Nov 23 07:15:55 {host} haproxy[{pid}]: text\n"));
    let early = at() - Duration::from_secs(20 * 86_400);
    assert!(packed(&settings, ERR, b"", early).starts_with("<139>Nov  3 07:15:55 "));
    settings.envelope = Envelope::Rfc5424;
    settings.tag = "wharf".to_owned();
    let line = packed(&settings, INFO, b"text", at());
    let expected = format!("<142>1 2026-11-23T07:15:55.290123+00:00 {host} wharf {pid} - - text\n");
    assert_eq!(line, expected);
}

/// [LIM-2]: with envelope and newline.
#[test]
fn lim_2_a_datagram_is_cut_to_the_limit() {
    for max_length in [80, 1024] {
        let settings = LogSettings { max_length, ..LogSettings::default() };
        let line = packed(&settings, INFO, &[b'x'; 3000], at());
        assert_eq!(line.len(), max_length);
        assert!(line.ends_with("x\n"));
    }
}

/// [LOG-1]: a daemon that starts again, at the same path, gets lines again.
#[test]
fn log_1_a_daemon_that_comes_back_is_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut syslog = Syslog::new(Target::Path(path.clone()), &LogSettings::default());
    assert!(!syslog.send(INFO, b"lost"), "nobody is there");
    let received = |daemon: &UnixDatagram| {
        let mut space = [0; 200];
        let len = daemon.recv(&mut space).unwrap();
        String::from_utf8_lossy(&space[..len]).into_owned()
    };
    for line in ["one", "two"] {
        let daemon = UnixDatagram::bind(&path).unwrap();
        // As if a second had passed.
        syslog.tried = None;
        assert!(syslog.send(INFO, line.as_bytes()));
        assert!(received(&daemon).ends_with(&format!(": {line}\n")));
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
    }
    assert!(!syslog.send(INFO, b"lost"));
}

/// A daemon that reads nothing costs its lines, not the process.
#[test]
fn log_1_a_full_daemon_loses_lines() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("log");
    let _daemon = UnixDatagram::bind(&path).unwrap();
    let mut syslog = Syslog::new(Target::Path(path), &LogSettings::default());
    let sent = (0..100_000).take_while(|_| syslog.send(INFO, b"text")).count();
    assert!(sent > 0 && sent < 100_000, "{sent}");
}

#[test]
fn log_1_udp_by_address_and_by_name() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap();
    for target in [Target::Address(address), Target::Name("127.0.0.1".to_owned(), address.port())] {
        let mut syslog = Syslog::new(target, &LogSettings::default());
        assert!(syslog.send(INFO, b"text"));
        let mut space = [0; 200];
        let len = daemon.recv(&mut space).unwrap();
        assert!(space[..len].ends_with(b": text\n"));
    }
}
