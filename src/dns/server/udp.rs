//! The UDP loop: one task receives and answers, a batch at a time; only forwarded questions get a task each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{io::Interest, net::UdpSocket};
use tokio_util::sync::CancellationToken;

use super::{Forward, Reply, Server};
use crate::{
    dns::{stats::Transport, wire::MAX_UDP},
    net::{
        datagrams::{BATCH, Batch, Exchange},
        udp,
    },
};

/// Longest query that is read; the rest of a longer datagram is lost and it is malformed.
const MAX_QUERY: usize = 4_096;

/// Time for the kernel to take an answer when its buffer is full.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Pause after an error of receive, so that a lasting one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Runs the loop `index` of the server.
pub(super) async fn run(
    server: Arc<Server>,
    index: usize,
    socket: Arc<UdpSocket>,
    cancel: CancellationToken,
) {
    // Behind "all addresses" the kernel would choose where an answer comes from.
    let any = socket.local_addr().ok().filter(|local| local.ip().is_unspecified());
    let tells = any.is_some_and(|local| udp::tell_destination(&socket, local).is_ok());
    let mut batch = Batch::new(MAX_QUERY, usize::from(MAX_UDP)).telling(tells);
    loop {
        let ready = tokio::select! {
            () = cancel.cancelled() => return,
            ready = socket.readable() => ready,
        };
        let count = match ready.and_then(|()| receive(&socket, &mut batch)) {
            Ok(count) => count,
            Err(error) => {
                server.stats.socket_errors.add_one();
                tracing::debug!(%error, "cannot receive from the DNS socket");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            },
        };
        let since = Instant::now();
        let answered = answer(&server, (index, since), &socket, &mut batch, &cancel);
        server.stats.of_loop(index).took(since.elapsed(), answered);
        send(&server, &socket, &mut batch).await;
        if count == BATCH {
            // More may wait; so may TCP clients and answers from outside.
            tokio::task::yield_now().await;
        }
    }
}

/// Receives what waits, up to a batch.
fn receive(socket: &UdpSocket, batch: &mut Batch) -> io::Result<usize> {
    let mut count = 0;
    let received = socket.try_io(Interest::READABLE, || {
        count = batch.receive(socket)?;
        // Less than there is room for is all there was: the socket need not be asked once more.
        if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match received {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(count),
    }
}

/// Puts an answer to each datagram of the batch, and hands on what is to be forwarded. How many are answered.
fn answer(
    server: &Arc<Server>,
    (index, since): (usize, Instant),
    socket: &Arc<UdpSocket>,
    batch: &mut Batch,
    cancel: &CancellationToken,
) -> u64 {
    let (cell, zone) = (server.stats.of_loop(index), server.zone.load());
    let mut answered = 0;
    for exchange in batch.exchanges() {
        let Exchange { datagram, from, to, reply, reply_length, .. } = exchange;
        // Port 0 cannot be answered.
        if from.port() == 0 {
            server.stats.dropped.add_one();
            continue;
        }
        // A panic costs this one datagram.
        let said = panic::catch_unwind(AssertUnwindSafe(|| {
            match server.reply_plain(cell, &zone, datagram, from, reply) {
                Some(length) => Said::Plain(length),
                None => Said::Reply(server.reply(datagram, from, Transport::Udp)),
            }
        }));
        match said {
            Ok(Said::Plain(length)) => *reply_length = length,
            Ok(Said::Reply(Reply::None)) => {},
            Ok(Said::Reply(Reply::Bytes(bytes))) => match reply.get_mut(..bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(&bytes);
                    *reply_length = bytes.len();
                },
                None => server.stats.dropped.add_one(),
            },
            Ok(Said::Reply(Reply::Forward(forward))) => {
                hand_on(server, socket, *forward, (from, to, datagram), cancel);
            },
            Err(_panic) => server.stats.panics.add_one(),
        }
        if *reply_length > 0 {
            answered += 1;
            if let Some(log) = &server.log {
                log.note(from, Transport::Udp, datagram, &reply[..*reply_length], since.elapsed());
            }
        }
    }
    answered
}

/// What is said to a datagram.
enum Said {
    /// So many bytes, which are in their place.
    Plain(usize),
    Reply(Reply),
}

/// Waits for the resolver in a task of its own.
fn hand_on(
    server: &Arc<Server>,
    socket: &Arc<UdpSocket>,
    forward: Forward,
    (client, to, query): (SocketAddr, Option<IpAddr>, &[u8]),
    cancel: &CancellationToken,
) {
    let logged = server.log.clone().map(|log| (log, query.to_vec(), Instant::now()));
    let (server, socket) = (Arc::clone(server), Arc::clone(socket));
    let (tasks, cancel) = (server.tasks.clone(), cancel.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {},
            bytes = server.forward(forward) => {
                if let Some((log, query, since)) = logged {
                    log.note(client, Transport::Udp, &query, &bytes, since.elapsed());
                }
                send_one(&server, &socket, &bytes, (client, to)).await;
            },
        }
    });
}

/// Sends the answers of the batch.
async fn send(server: &Server, socket: &UdpSocket, batch: &mut Batch) {
    loop {
        let lost = match socket.try_io(Interest::WRITABLE, || batch.reply(socket)) {
            Ok(lost) => lost,
            Err(_would_block) => {
                match tokio::time::timeout(SEND_TIMEOUT, socket.writable()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) | Err(_) => batch.give_up(),
                }
            },
        };
        if lost > 0 {
            server.stats.dropped.add(u64::try_from(lost).unwrap_or(u64::MAX));
        }
        return;
    }
}

/// Sends an answer that came from outside to a client, from the address that it asked.
async fn send_one(
    server: &Server,
    socket: &UdpSocket,
    bytes: &[u8],
    (client, asked): (SocketAddr, Option<IpAddr>),
) {
    let send = socket.async_io(Interest::WRITABLE, || udp::send(socket, bytes, client, asked));
    let sent = match tokio::time::timeout(SEND_TIMEOUT, send).await {
        Ok(sent) => sent,
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = sent {
        server.stats.dropped.add_one();
        tracing::debug!(%error, %client, "cannot send a DNS answer");
    }
}
