//! Scripted pods: raw listeners that read a request, note it, and do what the script says.

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use super::{tlspod::Wire, watched::Watched};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Number of its connection, from 1.
    pub connection: usize,
    /// Number of the request on its connection, from 1.
    pub nth: usize,
    /// `GET / HTTP/1.1`.
    pub line: String,
    /// Fields in order.
    pub headers: Vec<(String, String)>,
    /// Body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| &**value).collect()
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What a pod does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends bytes and waits for the next request.
    Reply(Vec<u8>),
    /// Sends bytes and closes; over TLS with a close_notify.
    Last(Vec<u8>),
    /// Sends bytes and closes, over TLS without a word.
    Cut(Vec<u8>),
    /// Sends bytes and then nothing more, until the other side closes.
    Stall(Vec<u8>),
    /// Closes with a reset.
    Reset,
    /// Sends bytes once the permit is given, and waits for the next request.
    After(Arc<Semaphore>, Vec<u8>),
    /// Sends a head at once and a body byte by byte with a pause before each, and waits for the next
    /// request.
    Slowly(Duration, Vec<u8>, Vec<u8>),
    /// Sends bytes and echoes whatever comes from then on.
    Tunnel(Vec<u8>),
    /// A 200 with a body of this length, as fast as it is taken; counts what was, and waits for the
    /// next request.
    Pour(u64, Arc<AtomicU64>),
    /// Does and reads nothing for as long as the pod lives.
    Unread,
}

/// A 200 with a length.
pub fn ok(body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Act::Reply(bytes)
}

/// Bytes and the next request.
pub fn raw(bytes: &str) -> Act {
    Act::Reply(bytes.as_bytes().to_vec())
}

pub(super) type Script = dyn Fn(&Seen) -> Act + Send + Sync;

/// A pod; its connections end when it is dropped.
#[derive(Debug)]
pub struct Pod {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a pod of HTTP/1 has seen.
#[derive(Debug, Default)]
pub struct Shared {
    watched: Watched<Seen>,
    stray: AtomicUsize,
}

impl Deref for Shared {
    type Target = Watched<Seen>;

    fn deref(&self) -> &Self::Target {
        &self.watched
    }
}

impl Deref for Pod {
    type Target = Watched<Seen>;

    fn deref(&self) -> &Self::Target {
        &self.shared.watched
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pod {
    /// A pod on 127.0.0.1.
    pub async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::spawn(true, script).await
    }

    /// A pod whose script runs before the request's body is read, which then never is.
    pub async fn early(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::spawn(false, script).await
    }

    /// A pod that answers every request with `text`.
    pub async fn saying(text: &'static str) -> Self {
        Self::start(move |_| ok(text)).await
    }

    async fn spawn(
        reads_bodies: bool,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::on(listener, reads_bodies, script)
    }

    fn on(
        listener: TcpListener,
        reads_bodies: bool,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let script: Arc<Script> = Arc::new(script);
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), script, reads_bodies));
        Self { address, shared, task }
    }

    /// Number of bytes that came on connections that have ended and belonged to no request.
    pub fn stray(&self) -> usize {
        self.shared.stray.load(SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    script: Arc<Script>,
    reads_bodies: bool,
) {
    // Dropped with this task, and the connections with it.
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = shared.connections.fetch_add(1, SeqCst) + 1;
        shared.open.fetch_add(1, SeqCst);
        let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
        tasks.spawn(async move {
            let _gone = serve(stream, connection, &shared, &*script, reads_bodies).await;
            shared.open.fetch_sub(1, SeqCst);
        });
    }
}

/// Serves one connection, the one with this number.
pub(super) async fn serve<S: Wire>(
    mut stream: S,
    connection: usize,
    shared: &Shared,
    script: &Script,
    reads_bodies: bool,
) -> Option<()> {
    let mut buffer = Vec::new();
    for nth in 1.. {
        let Some(mut seen) = read_head(&mut stream, &mut buffer).await else {
            shared.stray.fetch_add(buffer.len(), SeqCst);
            return None;
        };
        (seen.connection, seen.nth) = (connection, nth);
        if reads_bodies {
            read_body(&mut stream, &mut buffer, &mut seen).await?;
        }
        let act = script(&seen);
        shared.seen.lock().expect("no panic while held").push(seen);
        perform(act, &mut stream, &mut buffer).await?;
    }
    None
}

/// Does it; `None` when the connection has ended or is to end.
async fn perform<S: Wire>(act: Act, stream: &mut S, buffer: &mut Vec<u8>) -> Option<()> {
    match act {
        Act::Reply(bytes) => say(stream, &bytes).await?,
        Act::Cut(bytes) => {
            say(stream, &bytes).await?;
            return None;
        },
        Act::Last(bytes) => {
            say(stream, &bytes).await?;
            stream.shutdown().await.ok()?;
            return None;
        },
        Act::Stall(bytes) => {
            say(stream, &bytes).await?;
            while stream.read_buf(buffer).await.ok()? > 0 {}
            return None;
        },
        Act::After(permits, bytes) => {
            permits.acquire().await.ok()?.forget();
            say(stream, &bytes).await?;
        },
        Act::Slowly(pause, head, body) => {
            stream.tcp().set_nodelay(true).ok()?;
            say(stream, &head).await?;
            for byte in body {
                tokio::time::sleep(pause).await;
                say(stream, &[byte]).await?;
            }
        },
        Act::Reset => {
            socket2::SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO)).ok()?;
            return None;
        },
        Act::Tunnel(bytes) => {
            say(stream, &bytes).await?;
            return echo(stream, std::mem::take(buffer)).await;
        },
        Act::Unread => std::future::pending().await,
        Act::Pour(length, written) => pour(stream, length, &written).await?,
    }
    Some(())
}

/// Sends bytes, all the way to the socket.
async fn say<S: Wire>(stream: &mut S, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()
}

async fn pour<S: Wire>(stream: &mut S, length: u64, written: &AtomicU64) -> Option<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    say(stream, head.as_bytes()).await?;
    let mut body = tokio::io::repeat(b'x').take(length);
    let mut chunk = vec![0; 65_536];
    loop {
        let size = body.read(&mut chunk).await.ok()?;
        if size == 0 {
            return Some(());
        }
        say(stream, &chunk[..size]).await?;
        written.fetch_add(size as u64, SeqCst);
    }
}

async fn echo<S: Wire>(stream: &mut S, mut buffer: Vec<u8>) -> Option<()> {
    loop {
        say(stream, &buffer).await?;
        buffer.clear();
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The bytes up to `mark`, without it.
async fn up_to<S: Wire>(stream: &mut S, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            let taken: Vec<u8> = buffer.drain(..at + mark.len()).collect();
            return Some(String::from_utf8_lossy(&taken[..at]).into_owned());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn take<S: Wire>(stream: &mut S, buffer: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while buffer.len() < count {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(buffer.drain(..count).collect())
}

async fn read_head<S: Wire>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head = up_to(stream, buffer, b"\r\n\r\n").await?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    Some(Seen { line, headers: lines.filter_map(field).collect(), ..Seen::default() })
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

async fn read_body<S: Wire>(stream: &mut S, buffer: &mut Vec<u8>, seen: &mut Seen) -> Option<()> {
    if !seen.all("transfer-encoding").is_empty() {
        loop {
            let size = up_to(stream, buffer, b"\r\n").await?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            seen.body.extend(take(stream, buffer, size).await?);
            take(stream, buffer, 2).await?;
        }
        loop {
            let line = up_to(stream, buffer, b"\r\n").await?;
            if line.is_empty() {
                return Some(());
            }
            seen.trailers.extend(field(&line));
        }
    }
    let length = seen.all("content-length").first().and_then(|length| length.parse().ok());
    seen.body = take(stream, buffer, length.unwrap_or(0)).await?;
    Some(())
}

/// A pod of one connection: its first head is read, the rest is up to `pod`.
pub async fn bare<F>(pod: impl FnOnce(TcpStream, Seen) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let seen = read_head(&mut stream, &mut head).await.expect("just read");
        pod(stream, seen).await;
    });
    address
}

/// An address where connections are refused for as long as this lives: bound, not listening.
#[derive(Debug)]
pub struct Refusing {
    /// The address.
    pub address: SocketAddr,
    socket: socket2::Socket,
}

impl Refusing {
    /// A new one on 127.0.0.1.
    pub fn bound() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        Self { address: address.expect("bound"), socket }
    }

    /// A pod that answers every request with `text` listens there from now on.
    pub fn repaired(self, text: &'static str) -> Pod {
        self.socket.listen(128).expect("a listener");
        self.socket.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(self.socket.into()).expect("a listener");
        Pod::on(listener, true, move |_| ok(text))
    }
}

/// An address where connections are neither accepted nor refused for as long as this lives: its queue
/// is full.
#[derive(Debug)]
pub struct BlackHole {
    /// The address.
    pub address: SocketAddr,
    _socket: socket2::Socket,
    _queued: Vec<std::net::TcpStream>,
}

impl BlackHole {
    /// A new one on 127.0.0.1.
    pub fn start() -> Self {
        let Refusing { address, socket } = Refusing::bound();
        socket.listen(0).expect("a listener");
        let connect =
            || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let queued = std::iter::from_fn(connect).collect();
        Self { address, _socket: socket, _queued: queued }
    }
}
