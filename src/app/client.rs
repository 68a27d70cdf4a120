//! One GET over plain HTTP: of an admin port or of the NLB's API, for the commands that ask a running
//! process, and of revocation lists.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Builder, time::timeout};

/// An answer larger than this is refused: ten thousand routes take a tenth of it.
const BODY_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL.
    #[error("{url:?} is not an http:// URL")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody listens there, or this process cannot ask.
    #[error("cannot connect to {server}")]
    Connect {
        /// Host and port.
        server: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("no answer from {server} within {limit:?}")]
    Timeout {
        /// Host and port.
        server: String,
        /// The deadline.
        limit: Duration,
    },
    /// The answer was broken off or is not HTTP.
    #[error("bad answer")]
    Http(#[from] hyper::Error),
    /// The answer's body was broken off or too large.
    #[error("bad answer: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Status and body.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// Asks for `url` (http only, no redirects) and waits `limit` at most.
pub fn get(url: &str, limit: Duration) -> Result<Reply, ClientError> {
    let (_, server) = target(url)?;
    let connect = |source| ClientError::Connect { server, source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(connect)?;
    let asked = runtime.block_on(fetch(url, limit, BODY_BYTES));
    // A name that is still being looked up must not delay the end of the command.
    runtime.shutdown_background();
    asked
}

/// As [`get`], for callers that are asynchronous, with a body of at most `most` bytes.
pub async fn fetch(url: &str, limit: Duration, most: usize) -> Result<Reply, ClientError> {
    let (uri, server) = target(url)?;
    let asked = timeout(limit, ask(&server, &uri, most)).await;
    asked.ok().ok_or(ClientError::Timeout { server, limit })?
}

/// The URL, and the host and port to connect to.
fn target(url: &str) -> Result<(Uri, String), ClientError> {
    let bad = || ClientError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().ok().ok_or_else(bad)?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(bad)?;
    let server = match authority.port_u16() {
        Some(_) => authority.as_str().to_owned(),
        None => format!("{}:80", authority.host()),
    };
    Ok((uri, server))
}

/// A task that ends with whoever waits for what it does.
struct Owned(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(server: &str, uri: &Uri, most: usize) -> Result<Reply, ClientError> {
    let stream = TcpStream::connect(server)
        .await
        .map_err(|source| ClientError::Connect { server: server.to_owned(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _driver = Owned(tokio::spawn(connection));
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    if let Ok(host) = http::HeaderValue::from_str(server) {
        request.headers_mut().insert(header::HOST, host);
    }
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), most).collect().await;
    Ok(Reply { status, body: body.map_err(ClientError::Body)?.to_bytes() })
}

/// `http://` in front of an address that has no scheme.
#[must_use]
pub fn base(server: &str) -> String {
    let server = server.trim_end_matches('/');
    if server.contains("://") { server.to_owned() } else { format!("http://{server}") }
}

/// `text` as a value of a query.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn an_answer_has_status_and_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 512];
            let size = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 418 x\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            String::from_utf8(head[..size].to_vec()).unwrap()
        });
        let reply = get(&format!("http://{address}/a?b=c"), Duration::from_secs(10)).unwrap();
        assert_eq!((reply.status, &reply.body[..]), (418, &b"hi"[..]));
        let head = server.join().unwrap();
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    }

    #[test]
    fn a_silent_server_and_a_closed_port_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/");
        let silent = get(&url, Duration::from_millis(20));
        assert!(matches!(silent, Err(ClientError::Timeout { .. })), "{silent:?}");
        drop(listener);
        let closed = get(&url, Duration::from_secs(10));
        assert!(matches!(closed, Err(ClientError::Connect { .. })), "{closed:?}");
    }

    #[test]
    fn a_url_survives_its_encoding() {
        assert_eq!(percent_encode("https://a/b?c=ü"), "https%3a%2f%2fa%2fb%3fc%3d%c3%bc");
    }

    #[test]
    fn only_http_urls_are_taken() {
        for url in ["", "/x", "https://a/", "127.0.0.1:80"] {
            let refused = get(url, Duration::from_secs(1));
            assert!(matches!(refused, Err(ClientError::Url { .. })), "{url}");
        }
    }
}
