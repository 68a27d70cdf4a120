//! Lines, keys and the writer.

use std::io::Read as _;

use flate2::read::GzDecoder;
use std::time::SystemTime;

use super::*;

fn record() -> Record {
    // 2018-12-20T02:59:30.
    let opened = SystemTime::UNIX_EPOCH + Duration::from_secs(1_545_274_770);
    Record {
        balancer: "net/my-network-loadbalancer/c6e77e28c25b2234".into(),
        listener: "g3d4b5e8bb8464cd".into(),
        client: "72.21.218.154:51341".parse().unwrap(),
        destination: "172.100.100.185:443".parse().unwrap(),
        opened,
        lasted: Duration::from_millis(10_005),
        handshake: Some(Duration::from_millis(2)),
        received: 98,
        sent: 246,
        alert: None,
        certificate: Some("arn:aws:acm:us-east-2:671290407336:certificate/2a10".into()),
        cipher: "ECDHE-RSA-AES128-GCM-SHA256",
        version: Some("tlsv12"),
        domain: Some("example.com".to_owned()),
        alpn: Some("h2"),
        target_alpn: Some("h2"),
        offered: Some(quoted_list([&b"h2"[..], b"http/1.1"].into_iter())),
    }
}

/// [NLB-21] The fields in the order of A.11.
#[test]
fn nlb_21_a_line_is_as_aws_writes_it() {
    assert_eq!(
        record().to_string(),
        "tls 2.0 2018-12-20T02:59:40 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd \
         72.21.218.154:51341 172.100.100.185:443 10005 2 98 246 - \
         arn:aws:acm:us-east-2:671290407336:certificate/2a10 - ECDHE-RSA-AES128-GCM-SHA256 tlsv12 - \
         example.com h2 h2 \"h2\",\"http/1.1\" 2018-12-20T02:59:30"
    );
    let failed = Record {
        handshake: None,
        alert: Some(48),
        certificate: None,
        cipher: "",
        version: None,
        domain: None,
        alpn: None,
        target_alpn: None,
        offered: None,
        ..record()
    };
    let line = failed.to_string();
    assert!(line.contains(" 10005 - 98 246 48 - - - - - - - - - 2018-"), "{line}");
    assert_eq!(line.split(' ').count(), 22);
}

/// What clients say cannot break a line.
#[test]
fn nlb_21_lists_are_encoded_and_cut() {
    let list = quoted_list([&b"a b"[..], b"\",\n", b"\xff%"].into_iter());
    assert_eq!(list, "\"a%20b\",\"%22%2C%0A\",\"%FF%25\"");
    let long = vec![0xfe; 255];
    assert_eq!(quoted_list([&long[..], &long].into_iter()).len(), 256);
    let record = Record { certificate: Some("my cert.pem".into()), ..record() };
    assert_eq!(record.to_string().split(' ').count(), 22);
}

fn place(bucket: PathBuf, interval: Duration) -> Place {
    Place {
        config: AccessLogConfig { bucket, prefix: "pre".to_owned(), interval },
        region: "us-east-2".into(),
        label: "net/name/0123456789abcdef".to_owned(),
    }
}

/// [NLB-21] The key of A.11.
#[test]
fn nlb_21_keys_are_those_of_aws() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_545_274_770);
    let path = writer::path(&place("/b".into(), DEFAULT_INTERVAL), end, 0xabc);
    assert_eq!(
        path.to_str().unwrap(),
        "/b/pre/AWSLogs/000000000000/elasticloadbalancing/us-east-2/2018/12/20/\
         000000000000_elasticloadbalancing_us-east-2_net.name.0123456789abcdef_20181220T0259Z_\
         00000abc.log.gz"
    );
}

fn written(directory: &std::path::Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            written(&path, lines);
        } else {
            let mut text = String::new();
            GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
}

/// All lines that were taken are written at the end; those beyond the queue are counted.
#[tokio::test]
async fn the_queue_is_bounded_and_nothing_that_was_taken_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (dropped, tasks) = (Arc::<Count>::default(), TaskTracker::new());
    let place = place(directory.path().to_owned(), DEFAULT_INTERVAL);
    let log = AccessLog::start(place, Arc::clone(&dropped), &tasks);
    // The writer runs on this thread, and so not before the first await.
    for _ in 0..QUEUE + 7 {
        log.write(record());
    }
    assert_eq!(dropped.load(), 7);
    log.close();
    tasks.close();
    tasks.wait().await;
    log.write(record());
    assert_eq!(dropped.load(), 8);
    let mut lines = Vec::new();
    written(directory.path(), &mut lines);
    assert_eq!(lines.len(), QUEUE);
    assert!(lines.iter().all(|line| *line == record().to_string()));
}
