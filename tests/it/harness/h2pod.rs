//! Scripted pods that speak HTTP/2 with prior knowledge, one on h2's server and one on bare frames.

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use super::watched::Watched;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Number of its connection, from 1.
    pub connection: usize,
    /// Number of the request on its connection, from 1.
    pub nth: usize,
    /// `:method`.
    pub method: String,
    /// `scheme://authority/path`, from the pseudo fields.
    pub url: String,
    /// Fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Option<HeaderMap>,
    /// How the request or the wait for its response ended, when that was a reset.
    pub reset: Option<Reason>,
}

/// What a pod does with a request, whose body it has read unless said otherwise.
#[derive(Clone, Debug)]
pub enum Act {
    /// A response: head, chunks, and trailers or the end.
    Reply(Reply),
    /// A reset instead of a response, before the body is read.
    Refuse(Reason),
    /// Head and chunks, then a reset.
    Cut(Reply, Reason),
    /// The connection ends without another byte, in the middle of whatever there is.
    Die(Reply),
    /// As the next one, once there is a permit.
    After(Arc<Semaphore>, Box<Self>),
    /// The head at once, then every chunk of the request as it comes, and trailers at its end.
    Echo(Reply),
    /// A 100, then as the next one.
    Continue(Box<Self>),
    /// A whole response, without a look at the body.
    Early(Reply),
    /// Nothing, until the other side resets the stream.
    Stall,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Fields.
    pub headers: Vec<(&'static str, String)>,
    /// DATA frames.
    pub chunks: Vec<Vec<u8>>,
    /// Trailer fields.
    pub trailers: Vec<(&'static str, &'static str)>,
}

impl Reply {
    /// A head with `status`.
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), chunks: Vec::new(), trailers: Vec::new() }
    }

    /// With a field.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// With a DATA frame.
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.chunks.push(bytes.as_ref().to_vec());
        self
    }

    /// With a trailer field.
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    fn head(&self) -> Response<()> {
        let mut builder = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        builder.body(()).expect("a response")
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let fields = self.trailers.iter();
        let map: HeaderMap = fields
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        (!map.is_empty()).then_some(map)
    }
}

/// A 200 with `text`.
pub fn ok(text: impl AsRef<[u8]>) -> Act {
    Act::Reply(Reply::new(200).chunk(text))
}

pub(super) type Script = dyn Fn(&Seen) -> Act + Send + Sync;

/// A pod; its connections end when it is dropped.
#[derive(Debug)]
pub struct H2Pod {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a pod of HTTP/2 has seen.
#[derive(Debug, Default)]
pub struct Shared {
    watched: Watched<Seen>,
    streams: AtomicUsize,
    most_streams: AtomicUsize,
}

impl Shared {
    /// Most streams at once so far.
    pub fn most_streams(&self) -> usize {
        self.most_streams.load(SeqCst)
    }
}

impl Deref for Shared {
    type Target = Watched<Seen>;

    fn deref(&self) -> &Self::Target {
        &self.watched
    }
}

impl Deref for H2Pod {
    type Target = Watched<Seen>;

    fn deref(&self) -> &Self::Target {
        &self.shared.watched
    }
}

impl Drop for H2Pod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl H2Pod {
    /// A pod on 127.0.0.1 that allows 100 streams.
    pub async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::allowing(100, script).await
    }

    /// A pod whose SETTINGS allow `streams` at once.
    pub async fn allowing(
        streams: u32,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let script: Arc<Script> = Arc::new(script);
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), script, streams));
        Self { address, shared, task }
    }

    /// Number of streams now.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, script: Arc<Script>, limit: u32) {
    // Dropped with this task, and the connections with it.
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = shared.connections.fetch_add(1, SeqCst) + 1;
        shared.open.fetch_add(1, SeqCst);
        let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
        tasks.spawn(async move {
            let _gone = serve(stream, connection, &shared, &script, limit).await;
            shared.open.fetch_sub(1, SeqCst);
        });
    }
}

/// Serves one connection, the one with this number.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: usize,
    shared: &Arc<Shared>,
    script: &Arc<Script>,
    limit: u32,
) -> Result<(), h2::Error> {
    let dead = Arc::new(Semaphore::new(0));
    let mut server = h2::server::Builder::new()
        .max_concurrent_streams(limit)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut tasks = JoinSet::new();
    let mut nth = 0;
    loop {
        let (request, respond) = tokio::select! {
            accepted = server.accept() => match accepted {
                Some(accepted) => accepted?,
                None => return Ok(()),
            },
            _ = dead.acquire() => return Ok(()),
        };
        nth += 1;
        let (shared, script, dead) = (Arc::clone(shared), Arc::clone(script), Arc::clone(&dead));
        tasks.spawn(async move {
            let now = shared.streams.fetch_add(1, SeqCst) + 1;
            shared.most_streams.fetch_max(now, SeqCst);
            answer(request, respond, (connection, nth), &shared, &*script, &dead).await;
            shared.streams.fetch_sub(1, SeqCst);
        });
    }
}

/// Reads the request as far as the script wants, notes it, and acts.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    (connection, nth): (usize, usize),
    shared: &Shared,
    script: &Script,
    dead: &Semaphore,
) {
    let (parts, mut body) = request.into_parts();
    let mut seen = Seen {
        connection,
        nth,
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: parts.headers,
        ..Seen::default()
    };
    let mut act = script(&seen);
    // Where a request is noted that has waited; places never move.
    let mut place = None;
    if let Act::After(permits, next) = act {
        let index = note(shared, None, seen.clone());
        let permit = tokio::select! {
            permit = permits.acquire() => permit.expect("never closed"),
            reason = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {
                shared.seen.lock().expect("no panic while held")[index].reset = reason.ok();
                return;
            },
        };
        permit.forget();
        place = Some(index);
        act = *next;
    }
    if let Act::Continue(next) = act {
        let interim = Response::builder().status(100).body(()).expect("a response");
        respond.send_informational(interim).expect("an open stream");
        act = *next;
    }
    match act {
        Act::Refuse(reason) => {
            note(shared, place, seen);
            respond.send_reset(reason);
        },
        Act::Stall => {
            let index = note(shared, place, seen);
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            shared.seen.lock().expect("no panic while held")[index].reset = reason.ok();
        },
        Act::Early(reply) => {
            note(shared, place, seen);
            send(&mut respond, &reply, true);
        },
        Act::Echo(reply) => {
            let index = note(shared, place, seen);
            let mut stream = respond.send_response(reply.head(), false).expect("open");
            let end = echo(&mut body, &mut stream, &reply).await;
            shared.seen.lock().expect("no panic while held")[index].reset = end;
        },
        Act::Reply(_) | Act::Cut(..) | Act::Die(_) => {
            if let Err(reason) = read(&mut body, &mut seen).await {
                seen.reset = reason;
                note(shared, place, seen);
                return;
            }
            note(shared, place, seen);
            match act {
                Act::Reply(reply) => {
                    send(&mut respond, &reply, true);
                },
                Act::Cut(reply, reason) => {
                    let mut stream = send(&mut respond, &reply, false).expect("a body");
                    flush(&mut stream).await;
                    stream.send_reset(reason);
                },
                Act::Die(reply) => {
                    if reply.status != 0 {
                        let mut stream = send(&mut respond, &reply, false).expect("a body");
                        flush(&mut stream).await;
                    }
                    dead.add_permits(1);
                    // The connection is dropped before this stream could be reset.
                    std::future::pending::<()>().await;
                },
                _ => unreachable!("dealt with above"),
            }
        },
        Act::After(..) | Act::Continue(_) => unreachable!("dealt with above"),
    }
}

fn note(shared: &Shared, place: Option<usize>, seen: Seen) -> usize {
    let mut all = shared.seen.lock().expect("no panic while held");
    if let Some(index) = place {
        all[index] = seen;
        return index;
    }
    all.push(seen);
    all.len() - 1
}

async fn read(body: &mut RecvStream, seen: &mut Seen) -> Result<(), Option<Reason>> {
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| error.reason())?;
        let _open = body.flow_control().release_capacity(chunk.len());
        seen.body.extend_from_slice(&chunk);
    }
    seen.trailers = body.trailers().await.map_err(|error| error.reason())?;
    Ok(())
}

/// Head, chunks, and trailers; with `end` also the end of the stream.
fn send(respond: &mut SendResponse<Bytes>, reply: &Reply, end: bool) -> Option<SendStream<Bytes>> {
    let trailers = reply.trailers();
    let bare = end && reply.chunks.is_empty() && trailers.is_none();
    let mut stream = respond.send_response(reply.head(), bare).ok()?;
    if bare {
        return None;
    }
    for (index, chunk) in reply.chunks.iter().enumerate() {
        let last = end && trailers.is_none() && index + 1 == reply.chunks.len();
        stream.send_data(chunk.clone().into(), last).ok()?;
    }
    if let Some(trailers) = trailers.filter(|_| end) {
        stream.send_trailers(trailers).ok()?;
    }
    Some(stream)
}

/// Lets the frames go out.
async fn flush(stream: &mut SendStream<Bytes>) {
    stream.reserve_capacity(1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Until the request ends; the reason when it was reset.
async fn echo(
    body: &mut RecvStream,
    stream: &mut SendStream<Bytes>,
    reply: &Reply,
) -> Option<Reason> {
    while let Some(chunk) = body.data().await {
        match chunk {
            Ok(chunk) => {
                let _open = body.flow_control().release_capacity(chunk.len());
                if stream.send_data(chunk, false).is_err() {
                    return None;
                }
            },
            Err(error) => return error.reason(),
        }
    }
    match reply.trailers() {
        Some(trailers) => stream.send_trailers(trailers).ok()?,
        None => stream.send_data(Bytes::new(), true).ok()?,
    }
    None
}

/// A pod of one connection with one stream, which is up to `pod`.
pub async fn bare<F>(
    pod: impl FnOnce(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        // Large windows: so many small updates take their time.
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
        let mut server = builder.handshake(stream).await.expect("HTTP/2");
        let (request, respond) = server.accept().await.expect("a stream").expect("a request");
        tokio::spawn(pod(request, respond));
        // Runs the connection.
        while server.accept().await.is_some() {}
    });
    address
}

/// Sends a part as the window allows; false when the other side takes no more.
pub async fn push(stream: &mut SendStream<Bytes>, mut part: Bytes) -> bool {
    while !part.is_empty() {
        stream.reserve_capacity(part.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        if stream.send_data(part.split_to(room.min(part.len())), false).is_err() {
            return false;
        }
    }
    true
}

/// What a pod of bare frames does with a HEADERS frame.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// `:status 200` and the end of the stream.
    Ok,
    /// GOAWAY with this last stream, and nothing more until the other side closes.
    GoAway {
        /// Last stream that was looked at.
        last: u32,
    },
}

/// A pod of bare frames, which sees the number of the connection and the stream.
#[derive(Debug)]
pub struct FramePod {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<(usize, u32)>>>,
    task: JoinHandle<()>,
}

impl Drop for FramePod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FramePod {
    /// A pod that does what `script` says of connection and stream.
    pub async fn start(script: impl Fn(usize, u32) -> Frame + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::<Mutex<Vec<(usize, u32)>>>::default();
        let noted = Arc::clone(&seen);
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                let (noted, script) = (Arc::clone(&noted), Arc::clone(&script));
                tasks.spawn(async move { frames(stream, connection, &noted, &*script).await });
            }
        });
        Self { address, seen, task }
    }

    /// Connection and stream of every request so far.
    pub fn seen(&self) -> Vec<(usize, u32)> {
        self.seen.lock().expect("no panic while held").clone()
    }
}

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

async fn frames(
    mut socket: TcpStream,
    connection: usize,
    noted: &Mutex<Vec<(usize, u32)>>,
    script: &(dyn Fn(usize, u32) -> Frame + Send + Sync),
) -> Option<()> {
    socket.read_exact(&mut [0; 24]).await.ok()?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        socket.read_exact(&mut vec![0; length as usize]).await.ok()?;
        if head[3] == SETTINGS && head[4] == 0 {
            socket.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?;
        }
        if head[3] != HEADERS {
            continue;
        }
        noted.lock().expect("no panic while held").push((connection, stream));
        let bytes = match script(connection, stream) {
            // 0x88 is `:status: 200` of the static table.
            Frame::Ok => frame(HEADERS, END_STREAM_AND_HEADERS, stream, &[0x88]),
            Frame::GoAway { last } => {
                let payload = [last.to_be_bytes(), [0; 4]].concat();
                frame(GOAWAY, 0, 0, &payload)
            },
        };
        socket.write_all(&bytes).await.ok()?;
    }
}
