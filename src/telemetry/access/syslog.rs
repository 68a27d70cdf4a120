//! Lines on their way to a syslog daemon, a datagram each [LOG-1].
//!
//! Used by the log writer's thread alone. Always holds: no send waits longer than [`PATIENCE`]; a daemon
//! that has gone is looked for again, at most once in [`AGAIN`]; no datagram is longer than the limit
//! [LIM-2].

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    model::civil::{civil, month},
    proxy::logline::Process,
    settings::log::{Envelope, LogSettings, Target},
    telemetry::time,
};

#[cfg(test)]
mod tests;

/// Longest wait for a daemon whose queue is full.
const PATIENCE: Duration = Duration::from_millis(100);

/// Between two attempts to reach a daemon.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a name is resolved anew, since UDP does not say when nobody listens any more.
const RESOLVE: Duration = Duration::from_secs(30);

/// A daemon.
pub(super) struct Syslog {
    target: Target,
    facility: u8,
    envelope: Envelope,
    tag: String,
    max_length: usize,
    link: Option<Link>,
    tried: Option<Instant>,
    resolved: Instant,
    datagram: Vec<u8>,
    second: Option<(u64, String)>,
}

enum Link {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Link {
    fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Path(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(socket))
            },
            Target::Address(address) => udp(*address).map(Self::Udp),
            Target::Name(name, port) => {
                let mut addresses = (name.as_str(), *port).to_socket_addrs()?;
                let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                udp(addresses.next().ok_or_else(none)?).map(Self::Udp)
            },
        }
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(datagram),
            Self::Unix(socket) => socket.send(datagram),
        }
        .map(|_sent| ())
    }
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Syslog {
    pub(super) fn new(target: Target, settings: &LogSettings) -> Self {
        Self {
            target,
            facility: settings.facility,
            envelope: settings.envelope,
            tag: settings.tag.clone(),
            max_length: settings.max_length,
            link: None,
            tried: None,
            resolved: Instant::now(),
            datagram: Vec::new(),
            second: None,
        }
    }

    /// Sends one line; false when it is lost.
    pub(super) fn send(&mut self, severity: u8, line: &[u8]) -> bool {
        self.pack(severity, line, SystemTime::now());
        let now = Instant::now();
        if matches!(self.target, Target::Name(..)) && now - self.resolved >= RESOLVE {
            // A name that is not found now leaves the link as it is.
            _ = self.open(now);
        }
        // Twice: a socket may tell only now that the daemon behind it has gone before.
        for _ in 0..2 {
            if self.link.is_none() && !self.open(now) {
                return false;
            }
            let Some(link) = &self.link else { return false };
            match link.send(&self.datagram) {
                Ok(()) => return true,
                // It is there, and slow.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "syslog was not reached");
                    self.link = None;
                },
            }
        }
        false
    }

    /// True when there is a link; not tried again too soon.
    fn open(&mut self, now: Instant) -> bool {
        if self.tried.is_some_and(|tried| now - tried < AGAIN) {
            return false;
        }
        let opened = Link::open(&self.target);
        // Behind it: looking a name up may have taken longer than the pause.
        let now = Instant::now();
        (self.tried, self.resolved) = (Some(now), now);
        match opened {
            Ok(link) => self.link = Some(link),
            Err(error) => tracing::debug!(%error, "syslog cannot be reached"),
        }
        self.link.is_some()
    }

    /// Puts `line` into its envelope.
    fn pack(&mut self, severity: u8, line: &[u8], now: SystemTime) {
        let Process { host, pid } = Process::this();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (envelope, second) = (self.envelope, since.as_secs());
        let stamp = match &mut self.second {
            Some((known, text)) if *known == second => text,
            other => &mut other.insert((second, stamp(envelope, second))).1,
        };
        let out = &mut self.datagram;
        out.clear();
        _ = write!(out, "<{}>", u16::from(self.facility) * 8 + u16::from(severity));
        _ = match self.envelope {
            Envelope::Rfc3164 => write!(out, "{stamp} {host} {}[{pid}]: ", self.tag),
            Envelope::Rfc5424 => {
                let micros = since.subsec_micros();
                write!(out, "1 {stamp}.{micros:06}+00:00 {host} {} {pid} - - ", self.tag)
            },
        };
        out.extend_from_slice(line);
        // As HAProxy: the limit has room for the newline that ends the datagram.
        let mut end = out.len().min(self.max_length - 1);
        while end > 0 && out.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        out.truncate(end);
        out.push(b'\n');
    }
}

/// The part of a timestamp that lasts a second: `Nov  3 07:15:55`, or `2026-11-03T07:15:55`.
fn stamp(envelope: Envelope, second: u64) -> String {
    let unix = i64::try_from(second).unwrap_or(0);
    let full = time::seconds(unix);
    let full = full.trim_end_matches('Z');
    if envelope == Envelope::Rfc5424 {
        return full.to_owned();
    }
    let (_, number, day) = civil(unix / 86_400);
    let clock = full.split_once('T').map_or("", |(_, clock)| clock);
    format!("{} {day:>2} {clock}", month(number))
}
