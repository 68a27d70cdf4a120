//! A syslog daemon on a UDP port of its own.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};
use wharf::settings::{
    RouterSettings,
    log::{INFO, Target},
};

use crate::harness::within;

/// A pod that answers whatever it hears with what is no TLS, and closes.
pub(crate) async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _heard = stream.read(&mut [0; 4096]).await;
            let _said = stream.write_all(b"no TLS").await;
        }
    });
    address
}

/// The daemon.
pub(crate) struct Daemon {
    socket: UdpSocket,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// A datagram.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What syslog puts in front, with its last blank.
    pub(crate) envelope: String,
    /// The line.
    pub(crate) text: String,
}

impl Line {
    /// Of the bytes of a datagram.
    pub(crate) fn of(datagram: &[u8]) -> Self {
        let text = std::str::from_utf8(datagram).expect("ASCII");
        let text = text.strip_suffix('\n').expect("a newline at the end");
        assert!(!text.contains('\n'), "one line: {text}");
        let (envelope, text) = text.split_once("]: ").expect("an envelope");
        Self { envelope: format!("{envelope}]: "), text: text.to_owned() }
    }

    /// The line with its date as `DATE` and its times, as far as they were reached, as 0.
    pub(crate) fn without_times(&self) -> String {
        let (before, rest) = self.text.split_once('[').expect("a date");
        let (_date, rest) = rest.split_once("] ").expect("a date");
        let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        let times = words[2].split('/').map(|time| if time.starts_with('-') { "-1" } else { "0" });
        words[2] = times.collect::<Vec<_>>().join("/");
        format!("{before}[DATE] {}", words.join(" "))
    }
}

impl Daemon {
    /// One that listens.
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        Self { socket, address }
    }

    /// The log of a router with `settings` comes here.
    pub(crate) fn takes_the_log_of(&self, settings: &mut RouterSettings) {
        settings.access_log = true;
        settings.log.target = Some(Target::Address(self.address));
        settings.log.level = INFO;
    }

    /// The next line.
    pub(crate) async fn line(&self) -> Line {
        let mut space = vec![0; 70_000];
        let read = within("a line of the log", self.socket.recv(&mut space)).await;
        Line::of(&space[..read.expect("a datagram")])
    }

    /// The next `count` lines.
    pub(crate) async fn lines(&self, count: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
        }
        lines
    }
}
