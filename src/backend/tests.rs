//! A pod on a port of its own, asked over plain sockets.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::DropGuard;

use super::*;

/// A pod that runs until it is dropped or stopped.
struct Pod {
    address: SocketAddr,
    cancel: DropGuard,
    ended: JoinHandle<io::Result<()>>,
}

impl Pod {
    async fn start() -> Self {
        Self::with(None, GRACE).await
    }

    async fn with(tls: Option<rustls::ServerConfig>, grace: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let identity = Identity::new("pod-1", "app-dev");
        let serving =
            serve_with_grace(listener, identity, tls.map(Arc::new), cancel.clone(), grace);
        let ended = tokio::spawn(serving);
        Self { address, cancel: cancel.drop_guard(), ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole answer to `request`, read to the end of the connection.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n"))
            .await
    }

    async fn stop(self) {
        drop(self.cancel);
        self.ended.await.unwrap().unwrap();
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an answer has a head").1
}

/// Reads until `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        seen.push(stream.read_u8().await.unwrap());
    }
    seen
}

#[tokio::test]
async fn the_root_shows_the_pod_and_the_request_as_it_came() {
    let pod = Pod::start().await;
    let mut stream = pod.connect().await;
    let request = "GET /a?b=%20c HTTP/1.1\r\nhost: shop.test\r\nX-One: 1\r\nx-one: 2\r\n\
                   connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let expected = format!(
        "pod: pod-1\nnamespace: app-dev\naddress: {}\nremote: {}\nGET /a?b=%20c HTTP/1.1\n\
         host: shop.test\nx-one: 1\nx-one: 2\nconnection: close\n",
        pod.address,
        stream.local_addr().unwrap()
    );
    assert_eq!(body(&answer), expected);
}

#[tokio::test]
async fn the_api_shows_the_same_as_json() {
    let pod = Pod::start().await;
    let answer = pod
        .ask(
            "POST /api HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\
             content-length: 5\r\n\r\nhello",
        )
        .await;
    let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json["pod"], "pod-1");
    assert_eq!(json["address"], pod.address.to_string());
    assert_eq!(json["method"], "POST");
    assert_eq!(json["headers"]["host"], serde_json::json!(["shop.test"]));
    assert_eq!(json["body"], 5);
}

#[tokio::test]
async fn a_status_is_what_was_asked_for() {
    let pod = Pod::start().await;
    for (code, line) in [
        ("503", "HTTP/1.1 503 Service Unavailable\r\n"),
        ("204", "HTTP/1.1 204 No Content\r\n"),
        ("418", "HTTP/1.1 418 I'm a teapot\r\n"),
        ("101", "HTTP/1.1 400 Bad Request\r\n"),
        ("1000", "HTTP/1.1 400 Bad Request\r\n"),
    ] {
        let answer = pod.get(&format!("/status/{code}")).await;
        assert!(answer.starts_with(line), "{code}: {answer}");
    }
}

#[tokio::test]
async fn parameters_out_of_range_are_refused_by_name() {
    let pod = Pod::start().await;
    for (target, text) in [
        ("/?wait=11m", "wait: must be from 0 to 600\n"),
        ("/data?size=65&unit=GB", "size: must be from 0 to 68719476736\n"),
        ("/slow?bps=0", "bps: must be from 1 to 68719476736\n"),
        ("/headers?n=x", "n: not a whole number\n"),
    ] {
        let answer = pod.get(target).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        assert_eq!(body(&answer), text);
    }
}

#[tokio::test]
async fn data_has_its_length_and_is_the_alphabet_again_and_again() {
    let pod = Pod::start().await;
    let answer = pod.get("/data?size=64&unit=KB").await;
    assert!(answer.contains("content-length: 65536\r\n"), "{}", &answer[..200]);
    let expected: String = ('A'..='Z').cycle().take(65_536).collect();
    assert!(body(&answer) == expected);
}

#[tokio::test]
async fn a_posted_body_is_counted() {
    let pod = Pod::start().await;
    let answer = pod
        .ask(
            "POST /data HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        )
        .await;
    assert_eq!(body(&answer), "received 7 bytes\n");
}

#[tokio::test]
async fn chunked_events_and_slow_bodies_end_well() {
    let pod = Pod::start().await;
    let chunked = pod.get("/chunked?size=3").await;
    assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{chunked}");
    assert_eq!(body(&chunked), "3\r\nABC\r\n0\r\n\r\n");
    let events = pod.get("/sse?n=2&every=1ms").await;
    assert!(events.contains("content-type: text/event-stream\r\n"), "{events}");
    assert!(events.contains("id: 1\ndata: event 1 of 2\n\n"), "{events}");
    assert!(events.ends_with("id: 2\ndata: event 2 of 2\n\n\r\n0\r\n\r\n"), "{events}");
    let slow = pod.get("/slow?size=60&bps=10000").await;
    assert_eq!(body(&slow).len(), 60);
}

#[tokio::test]
async fn a_cut_body_is_shorter_than_promised() {
    let pod = Pod::start().await;
    let answer = pod.get("/cut?after=30").await;
    assert!(answer.contains("content-length: 1030\r\n"), "{answer}");
    assert_eq!(body(&answer), "ABCDEFGHIJKLMNOPQRSTUVWXYZABCD");
}

#[tokio::test]
async fn a_reset_reaches_the_client_as_a_reset() {
    let pod = Pod::start().await;
    let mut stream = pod.connect().await;
    stream.write_all(b"GET /reset HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn many_headers_are_sent() {
    let pod = Pod::start().await;
    let answer = pod.get("/headers?n=300").await;
    assert_eq!(answer.matches("\r\nx-header-").count(), 300);
}

#[tokio::test]
async fn health_is_what_was_posted_last() {
    let pod = Pod::start().await;
    assert!(pod.get("/health").await.starts_with("HTTP/1.1 200 "));
    let post = |status: &str| {
        format!(
            "POST /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{status}",
            status.len()
        )
    };
    assert_eq!(body(&pod.ask(&post("503\n")).await), "health is now 503\n");
    assert!(pod.get("/health").await.starts_with("HTTP/1.1 503 "));
    assert!(pod.ask(&post("99")).await.starts_with("HTTP/1.1 400 "));
    assert!(pod.get("/health").await.starts_with("HTTP/1.1 503 "));
}

/// Speaks HTTP/2 over `io` and returns the body of `GET https://shop.test/where`.
async fn get_http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> String {
    use http_body_util::{BodyExt, Empty};
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(io);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        http::Request::get("https://shop.test/where").body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken_on_the_plain_port() {
    let pod = Pod::start().await;
    let text = get_http2(pod.connect().await).await;
    assert!(text.ends_with("GET /where HTTP/2.0\nhost: shop.test\n"), "{text}");
}

#[tokio::test]
async fn tls_offers_both_versions_and_shows_the_server_name() {
    let key = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    let (certificate, key) = (key.cert, key.signing_key);
    let config =
        server_config(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let pod = Pod::with(Some(config), GRACE).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = rustls_pki_types::ServerName::try_from("shop.test").unwrap();
    let tls = connector.connect(name, pod.connect().await).await.unwrap();
    let text = get_http2(tls).await;
    assert!(text.contains("\ntls: TLSv1_3 sni=shop.test\n"), "{text}");
}

#[tokio::test]
async fn a_certificate_file_without_certificate_is_named() {
    let error = server_config(b"", b"").unwrap_err();
    assert_eq!(error.to_string(), "there is no certificate in the certificate file");
}

const HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nhost: shop.test\r\nconnection: keep-alive, Upgrade\r\n\
                         upgrade: WebSocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn a_websocket_echoes_and_closes_with_the_clients_status() {
    let pod = Pod::start().await;
    let mut stream = pod.connect().await;
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x81, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
}

#[tokio::test]
async fn a_handshake_that_is_no_websocket_is_told_so() {
    let pod = Pod::start().await;
    let answer = pod.get("/echo").await;
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    let old = HANDSHAKE
        .replace("version: 13", "version: 8")
        .replace("keep-alive, Upgrade", "close, Upgrade");
    let answer = pod.ask(&old).await;
    assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_flight_and_closes_idle_connections() {
    let pod = Pod::start().await;
    let (mut idle, mut busy) = (pod.connect().await, pod.connect().await);
    idle.write_all(b"GET /status/200 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_until(&mut idle, b"200 OK\n").await;
    let request =
        "POST /data HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    busy.write_all(request.as_bytes()).await.unwrap();
    // The pod asks for the body: the request is in flight.
    read_until(&mut busy, b"100 Continue\r\n\r\n").await;
    let stopped = tokio::spawn(pod.stop());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    busy.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("received 4 bytes\n"), "{answer}");
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_stop_says_goodbye_to_a_websocket() {
    let pod = Pod::start().await;
    let mut stream = pod.connect().await;
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_until(&mut stream, b"\r\n\r\n").await;
    let stopped = tokio::spawn(pod.stop());
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x88, 2, 0x03, 0xe9]);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_closed_when_the_grace_is_over() {
    let pod = Pod::with(None, Duration::from_millis(20)).await;
    let mut stream = pod.connect().await;
    let request =
        "POST /data HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, b"100 Continue\r\n\r\n").await;
    pod.stop().await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_connection_that_says_nothing() {
    let pod = Pod::with(None, Duration::from_secs(3600)).await;
    let mut silent = pod.connect().await;
    assert!(pod.get("/status/200").await.starts_with("HTTP/1.1 200 "));
    pod.stop().await;
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_of_many_fields_is_shown_whole() {
    let pod = Pod::start().await;
    let fields: String = (0..500).map(|index| format!("x-{index}: 1\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
    assert_eq!(pod.ask(&request).await.matches("\nx-").count(), 500);
}
