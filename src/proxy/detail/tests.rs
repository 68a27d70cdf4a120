//! What is recorded, and the line of a connection.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::{
    compile::Compiler,
    drain::Drain,
    model::logformat::{Empty, LogFormat},
    proxy::stats::RouterStats,
    settings::{RouterSettings, log::Lines},
    snapshot::Live,
};

fn worker(change: impl FnOnce(&mut RouterSettings)) -> (Rc<Worker>, Receiver<Vec<AccessRecord>>) {
    let mut settings = RouterSettings { workers: 3, ..RouterSettings::default() };
    change(&mut settings);
    let (log, records) = sync_channel(8);
    let live = Arc::new(Live::from_pointee(Compiler::empty()));
    let stats = Arc::new(RouterStats::new(3));
    let worker = Worker::new(1, live, Arc::new(settings), stats, Drain::default(), Some(log), 7);
    (worker, records)
}

fn haproxy(settings: &mut RouterSettings) {
    settings.log.lines = Some(Lines::Haproxy);
}

fn told(worker: &Rc<Worker>) -> Box<Told> {
    let (client, here) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
    Told::begin(worker, client, here, Some(Arrival::now())).unwrap()
}

/// The records that `worker` has taken.
fn logged(worker: &Worker, records: &Receiver<Vec<AccessRecord>>) -> Vec<AccessRecord> {
    worker.flush();
    records.try_iter().flatten().collect()
}

/// What HAProxy 2.6 wrote for these two responses was 99 with a body of 4, and 91.
#[test]
fn log_2_heads_are_counted_as_haproxy_counts_them() {
    let sized = |reason: &str, fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        size(VERSION + 3 + reason.len(), &headers)
    };
    let ok =
        [("content-type", "text/plain"), ("set-cookie", "SESSION=abcdef"), ("content-length", "4")];
    assert_eq!(sized("OK", &ok) + 4, 99);
    let found =
        [("content-length", "0"), ("location", "https://x/"), ("cache-control", "no-cache")];
    assert_eq!(sized("Found", &found), 91);
}

/// [LOG-5]: the last of several fields, cut; a cookie by its name, or by how its name begins.
#[test]
fn log_5_values_are_cut_to_their_length() {
    let mut headers = HeaderMap::new();
    for value in ["first", "second"] {
        headers.append("x-a", HeaderValue::from_static(value));
    }
    let wanted = Capture::parse_list("X-A:3,x-b:3").unwrap();
    assert_eq!(captured(&wanted, &headers), [Some(b"sec".as_slice().into()), None]);
    let cookie = |setting, text: &str| {
        let wanted = CookieCapture::parse(setting).unwrap();
        let found = text.split(';').find_map(|text| matching(&wanted, text.as_bytes()));
        found.map(|found| String::from_utf8(found.into()).unwrap())
    };
    let sent = "a=b; SESSION=zzz; SE=1";
    assert_eq!(cookie("SE:6", sent).as_deref(), Some("SESSIO"));
    assert_eq!(cookie("SE=:6", sent).as_deref(), Some("SE=1"));
    assert_eq!(cookie("XX:6", sent), None);
}

/// [LOG-4]: once, when the connection ends, with what its requests have carried.
#[test]
fn log_4_the_line_of_a_tls_connection_comes_at_its_end() {
    let (worker, records) = worker(haproxy);
    let mut told = told(&worker);
    told.terminated(b"no hello at all");
    told.secured("TLSv1.3", "TLS_AES_128_GCM_SHA256");
    told.sent.set(99);
    assert!(logged(&worker, &records).is_empty());
    drop(told);
    let lines = logged(&worker, &records);
    let [record] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(record.passthrough && record.frontend == Frontend::PublicSsl);
    assert_eq!(record.bytes_out, 99);
    let facts = &record.detail.as_ref().unwrap().facts;
    assert_eq!(facts.terminated, Some(Frontend::FeNoSni));
    assert_eq!(facts.tls.as_ref().unwrap().version, "TLSv1.3");
}

/// [LOG-6]
#[test]
fn log_6_connections_without_data_are_logged_unless_a_setting_forbids_it() {
    type Change = fn(&mut RouterSettings);
    let rows: [(Change, usize); 4] = [
        (haproxy, 2),
        (
            |settings| {
                haproxy(settings);
                settings.log.skip_null = true;
            },
            1,
        ),
        (
            |settings| {
                haproxy(settings);
                settings.log.ignore_probes = true;
            },
            1,
        ),
        // JSON has no word for them; that there is a unique id changes nothing.
        (
            |settings| {
                settings.log.id_format = LogFormat::parse("%rt", Empty::Nothing).ok();
                settings.log.id_header = Some(http::HeaderName::from_static("x-id"));
            },
            0,
        ),
    ];
    for (change, expected) in rows {
        let (worker, records) = worker(change);
        let told = told(&worker);
        told.ended(Frontend::Public, 400, *b"CR", true);
        told.ended(Frontend::Public, 400, *b"CR", false);
        drop(told);
        let lines = logged(&worker, &records);
        assert_eq!(lines.len(), expected);
        assert!(lines.iter().all(|it| it.status == 400 && it.termination == *b"CR"));
    }
}

/// [UID-1]: no two workers give the same number.
#[test]
fn uid_1_numbers_are_unique_over_all_workers() {
    let (worker, _records) = worker(|_| {});
    let numbers: Vec<_> = (0..4).map(|_| worker.number()).collect();
    assert_eq!(numbers, [1, 4, 7, 10], "the second of three workers");
}

/// The default log pays for nothing of this.
#[test]
fn json_has_no_details() {
    let (worker, _records) = worker(|_| {});
    assert!(worker.needs.is_empty());
    let here = "192.0.2.2:443".parse().unwrap();
    let opened = (!worker.needs.is_empty()).then(Arrival::now);
    assert!(Told::begin(&worker, here, here, opened).is_none());
}

/// ux.md 6: a status of 5xx always is logged, whatever else is not.
#[test]
fn filters_leave_out_what_they_name() {
    let (worker, records) = worker(|settings| {
        settings.log.filter.classes = 1 << 4;
        settings.log.filter.sample = 2;
        settings.log.filter.shortest = std::time::Duration::from_millis(1);
    });
    let with = |status, total| {
        let mut record = AccessRecord { status, ..AccessRecord::default() };
        record.times.total = total;
        worker.log(record);
    };
    for status in [200, 503, 404, 404, 404, 404] {
        with(status, 5000);
    }
    with(404, 999);
    let seen: Vec<_> = logged(&worker, &records).iter().map(|it| it.status).collect();
    assert_eq!(seen, [503, 404, 404]);
}
