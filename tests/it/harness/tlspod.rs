//! Pods that speak TLS, and behind it HTTP/1.1 or HTTP/2 as ALPN says; scripted like the others.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use rustls::{HandshakeKind, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{h2pod, pod};

/// A connection that a scripted pod of HTTP/1 can serve.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How a pod meets a connection.
#[derive(Clone, Debug)]
pub enum Opening {
    /// A handshake.
    Tls(Arc<ServerConfig>),
    /// A handshake, once there is a permit.
    After(Arc<Semaphore>, Arc<ServerConfig>),
    /// Reads a part of the ClientHello and closes.
    Close,
    /// Reads and says nothing.
    Silence,
    /// Speaks HTTP without TLS.
    Plain,
}

/// What a handshake came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaken {
    /// The name that the router sent.
    pub sni: Option<String>,
    /// What ALPN chose.
    pub alpn: Option<String>,
    /// An earlier session went on.
    pub resumed: bool,
    /// The router presented a certificate.
    pub identified: bool,
}

/// A pod; its connections end when it is dropped.
#[derive(Debug)]
pub struct TlsPod {
    /// Where it listens.
    pub address: SocketAddr,
    /// What came over HTTP/1.
    pub http1: Arc<pod::Shared>,
    /// What came over HTTP/2.
    pub http2: Arc<h2pod::Shared>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    shaken: Mutex<Vec<Shaken>>,
    failed: Mutex<Vec<String>>,
}

impl Drop for TlsPod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Scripts {
    opening: Box<dyn Fn(usize) -> Opening + Send + Sync>,
    http1: Arc<pod::Script>,
    http2: Arc<h2pod::Script>,
}

impl TlsPod {
    /// A pod that meets connection `n`, from 1, as `opening` says.
    pub async fn start(
        opening: impl Fn(usize) -> Opening + Send + Sync + 'static,
        http1: impl Fn(&pod::Seen) -> pod::Act + Send + Sync + 'static,
        http2: impl Fn(&h2pod::Seen) -> h2pod::Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let (old, new) = (Arc::<pod::Shared>::default(), Arc::<h2pod::Shared>::default());
        let scripts = Arc::new(Scripts {
            opening: Box::new(opening),
            http1: Arc::new(http1),
            http2: Arc::new(http2),
        });
        let seen = (Arc::clone(&shared), Arc::clone(&old), Arc::clone(&new));
        let task = tokio::spawn(accept(listener, seen, scripts));
        Self { address, http1: old, http2: new, shared, task }
    }

    /// A pod that says which protocol, connection and request it was.
    pub async fn telling(config: Arc<ServerConfig>) -> Self {
        Self::meeting(move |_| Opening::Tls(Arc::clone(&config))).await
    }

    /// The same, with other openings.
    pub async fn meeting(opening: impl Fn(usize) -> Opening + Send + Sync + 'static) -> Self {
        Self::start(
            opening,
            |seen| pod::ok(format!("h1 {} {}", seen.connection, seen.nth)),
            |seen| h2pod::ok(format!("h2 {} {}", seen.connection, seen.nth)),
        )
        .await
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Number of connections now.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// The handshakes that succeeded.
    pub fn shaken(&self) -> Vec<Shaken> {
        self.shared.shaken.lock().expect("no panic while held").clone()
    }

    /// Why the others failed.
    pub fn failed(&self) -> Vec<String> {
        self.shared.failed.lock().expect("no panic while held").clone()
    }
}

type Seen = (Arc<Shared>, Arc<pod::Shared>, Arc<h2pod::Shared>);

async fn accept(listener: TcpListener, seen: Seen, scripts: Arc<Scripts>) {
    // Dropped with this task, and the connections with it.
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let nth = seen.0.connections.fetch_add(1, SeqCst) + 1;
        seen.0.open.fetch_add(1, SeqCst);
        let (seen, scripts) = (seen.clone(), Arc::clone(&scripts));
        tasks.spawn(async move {
            let _gone = serve(stream, nth, &seen, &scripts).await;
            seen.0.open.fetch_sub(1, SeqCst);
        });
    }
}

async fn serve(mut stream: TcpStream, nth: usize, seen: &Seen, scripts: &Scripts) -> Option<()> {
    let (shared, http1, http2) = seen;
    let config = match (scripts.opening)(nth) {
        Opening::Tls(config) => config,
        Opening::After(permits, config) => {
            permits.acquire().await.ok()?.forget();
            config
        },
        Opening::Close => {
            stream.read_exact(&mut [0; 16]).await.ok()?;
            return None;
        },
        Opening::Silence => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok()?;
            return None;
        },
        Opening::Plain => {
            stream.read_exact(&mut [0; 16]).await.ok()?;
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.ok()?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok()?;
            return None;
        },
    };
    let stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            shared.failed.lock().expect("no panic while held").push(error.to_string());
            return None;
        },
    };
    let (_, session) = stream.get_ref();
    let chosen = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let is_http2 = chosen.as_deref() == Some("h2");
    shared.shaken.lock().expect("no panic while held").push(Shaken {
        sni: session.server_name().map(str::to_owned),
        alpn: chosen,
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        identified: session.peer_certificates().is_some(),
    });
    if is_http2 {
        h2pod::serve(stream, nth, http2, &scripts.http2, 100).await.ok()
    } else {
        pod::serve(stream, nth, http1, &*scripts.http1, true).await
    }
}
