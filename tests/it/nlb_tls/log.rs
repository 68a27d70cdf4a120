//! The access log.

use std::{
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::GzDecoder;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use super::{Balancer, Echo, NEWEST, document, echoes, modern, save};
use crate::harness::{
    eventually,
    tls::{self, Hello, pair},
};

/// All files below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

async fn logging(interval: &str, listener: &str, to: SocketAddr) -> Balancer {
    let files = tempfile::tempdir().unwrap();
    save(files.path(), "default", &pair("default.test"));
    let text = document(&["default"], listener, "", to).replace(
        "certificate: default.pem",
        "arn: 'arn:aws:acm:us-east-1:000000000000:certificate/1', certificate: default.pem",
    );
    let text = format!(
        "{text}{interval}\
         attributes: {{ access_logs.s3.enabled: \"true\", access_logs.s3.bucket: bucket, \
         access_logs.s3.prefix: one/two }}\n"
    );
    Balancer::from_text(files, &text).await
}

/// [NLB-21] Each connection is one line of 22 fields in the order of AWS, in a file with AWS's key.
#[tokio::test]
async fn nlb_21_a_line_has_22_fields_in_order() {
    let echo = Echo::start().await;
    let listener = format!("{NEWEST}, alpnPolicy: HTTP2Preferred");
    let balancer = logging("", &listener, echo.address).await;
    let hello = Hello { sni: Some("default.test"), alpn: &["h2", "http/1.1"], version: &TLS13 };
    let mut stream = tls::connect(balancer.address, hello).await.unwrap();
    let client = stream.get_ref().0.local_addr().unwrap();
    echoes(&mut stream).await;
    stream.shutdown().await.unwrap();
    balancer.totals(|totals| totals.active_flow_count == 0).await;
    balancer.handle.drain(std::time::Duration::ZERO).await;

    let bucket = balancer.files.path().join("bucket");
    let [file] = &files(&bucket)[..] else { panic!("one file") };
    let key = file.strip_prefix(&bucket).unwrap().to_str().unwrap();
    let name = balancer.handle.names().label.replace('/', ".");
    let pattern = format!(
        "^one/two/AWSLogs/000000000000/elasticloadbalancing/us-east-1/\\d{{4}}/\\d\\d/\\d\\d/\
         000000000000_elasticloadbalancing_us-east-1_{}_\\d{{8}}T\\d{{4}}Z_[0-9a-f]{{8}}\\.log\\.gz$",
        regex::escape(&name)
    );
    assert!(regex::Regex::new(&pattern).unwrap().is_match(key), "{key} is not like {pattern}");

    let [line] = &lines(file)[..] else { panic!("one line") };
    let fields: Vec<&str> = line.split(' ').collect();
    let [
        kind,
        version,
        end,
        elb,
        listener,
        from,
        to,
        took,
        handshake,
        received,
        sent,
        alert,
        cert,
        serial,
        cipher,
        protocol,
        group,
        domain,
        front,
        back,
        offered,
        begun,
    ] = fields[..]
    else {
        panic!("22 fields: {line}")
    };
    assert_eq!((kind, version), ("tls", "2.0"));
    let time = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$").unwrap();
    assert!(time.is_match(end) && time.is_match(begun), "{line}");
    assert_eq!(elb, balancer.handle.names().label);
    assert!(listener.len() == 16 && listener.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!((from, to), (&*client.to_string(), &*balancer.address.to_string()));
    let (took, handshake): (u64, u64) = (took.parse().unwrap(), handshake.parse().unwrap());
    assert!(handshake <= took);
    assert_eq!((received, sent, alert), ("4", "4", "-"));
    assert_eq!((cert, serial), ("arn:aws:acm:us-east-1:000000000000:certificate/1", "-"));
    assert_eq!((cipher, protocol), ("TLS_AES_128_GCM_SHA256", "tlsv13"));
    assert_eq!((group, domain), ("-", "default.test"));
    assert_eq!((front, back, offered), ("h2", "-", "\"h2\",\"http/1.1\""));
}

/// Handshakes that fail have a line as well, with the alert that the client sent.
#[tokio::test]
async fn failed_handshakes_are_logged() {
    let echo = Echo::start().await;
    let balancer = logging("accessLogIntervalSeconds: 0.05\n", NEWEST, echo.address).await;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(balancer.address).await.unwrap();
    let name = "default.test".try_into().unwrap();
    let refused = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    assert!(refused.is_err(), "nobody has signed the certificate");
    let bucket = balancer.files.path().join("bucket");
    let line = eventually("a file", async || {
        let whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
        files(&bucket).into_iter().find(whole).map(|file| lines(&file).remove(0))
    })
    .await;
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields.len(), 22, "{line}");
    let arn = "arn:aws:acm:us-east-1:000000000000:certificate/1";
    let none = "-";
    // unknown_ca is 48 (RFC 8446 6).
    assert_eq!(fields[8..14], [none, "0", "0", "48", arn, none]);
    assert_eq!(fields[14..21], [none, none, none, "default.test", none, none, none]);
}

/// A directory that cannot be written costs lines, which are counted, and no connection.
#[tokio::test]
async fn a_bucket_that_cannot_be_written_costs_lines_only() {
    let echo = Echo::start().await;
    let balancer = logging("accessLogIntervalSeconds: 0.05\n", NEWEST, echo.address).await;
    std::fs::write(balancer.files.path().join("bucket"), "a file").unwrap();
    for _ in 0..2 {
        let mut stream = tls::connect(balancer.address, modern(None)).await.unwrap();
        echoes(&mut stream).await;
        stream.shutdown().await.unwrap();
    }
    let lost = async || (balancer.handle.lost_log_lines() == 2).then_some(());
    eventually("two lost lines", lost).await;
}
