//! The UDP loop: one task receives and answers; only forwarded questions get a task each.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{Reply, Server};
use crate::dns::stats::Transport;

/// Longest query that is read; the rest of a longer datagram is lost and it is malformed.
const MAX_QUERY: usize = 4_096;

/// Time for the kernel to take an answer when its buffer is full.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Pause after an error of receive, so that a lasting one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(server: Arc<Server>, socket: Arc<UdpSocket>, cancel: CancellationToken) {
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let received = tokio::select! {
            () = cancel.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                server.stats.socket_errors.add_one();
                tracing::debug!(%error, "cannot receive from the DNS socket");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            },
        };
        // Port 0 cannot be answered.
        if client.port() == 0 {
            server.stats.dropped.add_one();
            continue;
        }
        match server.reply(&buffer[..length], client, Transport::Udp) {
            Reply::None => {},
            Reply::Bytes(bytes) => send(&server, &socket, &bytes, client).await,
            Reply::Forward(forward) => {
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                let (tasks, cancel) = (server.tasks.clone(), cancel.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {},
                        bytes = server.forward(*forward) => {
                            send(&server, &socket, &bytes, client).await;
                        },
                    }
                });
            },
        }
    }
}

async fn send(server: &Server, socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    let sent = match socket.try_send_to(bytes, client) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            match tokio::time::timeout(SEND_TIMEOUT, socket.send_to(bytes, client)).await {
                Ok(sent) => sent,
                Err(elapsed) => Err(elapsed.into()),
            }
        },
        sent => sent,
    };
    if let Err(error) = sent {
        server.stats.dropped.add_one();
        tracing::debug!(%error, %client, "cannot send a DNS answer");
    }
}
