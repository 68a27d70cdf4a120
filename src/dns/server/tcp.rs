//! The TCP loop: a task for each client, at most so many; queries of one client are answered in
//! their order (RFC 7766).

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Reply, Server};
use crate::dns::stats::Transport;

/// Longest query that is read; a client that announces more is closed.
const MAX_QUERY: usize = 4_096;

/// Pause after an error of accept such as EMFILE, so that it does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Accepts clients and hands them to the runtimes of `handles` in turn.
pub(super) async fn run(
    server: Arc<Server>,
    listener: TcpListener,
    handles: &[Handle],
    cancel: CancellationToken,
) {
    let mut handles = handles.iter().cycle();
    let room = Arc::new(Semaphore::new(server.settings.max_tcp_clients));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                server.stats.socket_errors.add_one();
                tracing::debug!(%error, "cannot accept a DNS client");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            },
        };
        let (Ok(permit), Some(handle)) = (Arc::clone(&room).try_acquire_owned(), handles.next())
        else {
            server.stats.tcp_clients_refused.add_one();
            continue;
        };
        server.stats.tcp_clients.add_one();
        let (task_server, cancel) = (Arc::clone(&server), cancel.clone());
        let serving = async move {
            let _permit = permit;
            tokio::select! {
                () = cancel.cancelled() => {},
                ended = client_loop(&task_server, stream.into_std(), client) => if let Err(error) = ended {
                    tracing::debug!(%error, %client, "DNS client closed");
                },
            }
        };
        server.tasks.spawn_on(serving, handle);
    }
}

/// Answers one query after the other until the client closes, idles or misbehaves.
async fn client_loop(
    server: &Server,
    stream: io::Result<std::net::TcpStream>,
    client: SocketAddr,
) -> io::Result<()> {
    // Registered anew with the runtime that serves it, which may not be the one that accepted it.
    let mut stream = TcpStream::from_std(stream?)?;
    let idle = server.settings.tcp_idle;
    stream.set_nodelay(true)?;
    loop {
        let Some(query) = timeout(idle, read_message(&mut stream)).await?? else { return Ok(()) };
        let since = Instant::now();
        let bytes = match server.reply(&query, client, Transport::Tcp) {
            Reply::None => return Ok(()),
            Reply::Bytes(bytes) => {
                server.stats.shared().took(since.elapsed(), 1);
                bytes
            },
            Reply::Forward(forward) => server.forward(*forward).await,
        };
        if let Some(log) = &server.log {
            log.note(client, Transport::Tcp, &query, &bytes, since.elapsed());
        }
        timeout(idle, write_message(&mut stream, bytes)).await??;
    }
}

/// One message behind its length; `None` when the client has closed or announces too much.
async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MAX_QUERY {
        return Ok(None);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Length and message in one write, so that they share a segment.
async fn write_message(stream: &mut TcpStream, mut message: Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    message.splice(..0, length.to_be_bytes());
    stream.write_all(&message).await
}
