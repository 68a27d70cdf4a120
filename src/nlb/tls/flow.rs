//! A connection to a TLS listener: handshake, target, relay, line of the access log.
//!
//! Run by `listener` for each connection of a listener that has a [`Front`]. Always holds: both
//! handshakes have a limit; a target is chosen once the client has finished its own; a client is never
//! alerted for want of a name or a protocol.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{AlertDescription, ProtocolVersion, server::Acceptor};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::{
    front::{Front, Log},
    policy::{Alpn, AlpnPolicy},
    stream::Tls,
};
use crate::{
    net::relay::{End, Idle, Keepalives, Relayed, Side, Traffic, relay_until},
    nlb::{
        accesslog::{Record, quoted_list},
        flow::Flow,
        listener::{Binding, Listener, cut},
        target::Picked,
    },
    tls::{client::nobody, store::Offer, suites},
};

/// How often both sides get a keepalive once one of them has sent one (A.4); fixed.
const KEEPALIVES: Duration = Duration::from_secs(20);

/// What the log is to say of a connection, gathered as it becomes known.
#[derive(Debug, Default)]
struct Story {
    /// The handshake has ended well.
    handshake: Option<Duration>,
    received: u64,
    sent: u64,
    alert: Option<u8>,
    certificate: Option<Arc<str>>,
    cipher: &'static str,
    version: Option<&'static str>,
    domain: Option<String>,
    alpn: Option<Alpn>,
    target_alpn: Option<Alpn>,
    offered: Option<String>,
}

/// The connection to a target.
enum ToTarget {
    Plain(TcpStream),
    Tls(Box<Tls<client::TlsStream<TcpStream>>>),
}

impl Listener {
    /// Carries a connection from its first byte to its end. One that was silent for too long is given
    /// back, as bare connections: nothing more is said on them.
    pub(in crate::nlb) async fn run_tls(
        &self,
        client: TcpStream,
        flow: &Flow,
        binding: &Binding,
        front: &Front,
    ) -> Option<(TcpStream, TcpStream)> {
        let (opened, begun) = (SystemTime::now(), Instant::now());
        let mut story = Story::default();
        let expired = self.carry(client, flow, binding, front, &mut story).await;
        if let Some(log) = &front.log {
            write(log, flow, opened, begun.elapsed(), story);
        }
        expired
    }

    async fn carry(
        &self,
        client: TcpStream,
        flow: &Flow,
        binding: &Binding,
        front: &Front,
        story: &mut Story,
    ) -> Option<(TcpStream, TcpStream)> {
        let begun = Instant::now();
        let accepted = timeout(front.handshake_timeout, accept(client, front, story));
        let mut client = match self.end.run_until_cancelled(accepted).await {
            None => return None,
            Some(Ok(Ok(client))) => client,
            Some(failed) => {
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => io::ErrorKind::TimedOut.into(),
                };
                story.alert = alert(&error);
                self.stats.client_tls_errors.one();
                tracing::debug!(client = %flow.source, %error, "TLS handshake failed");
                return None;
            },
        };
        story.shaken(&client, begun.elapsed());
        let connected = self.connect_tls(flow, binding, front, story);
        let connected = self.end.run_until_cancelled(connected).await.flatten();
        let Some((target, picked)) = connected else {
            self.refuse(client.0.get_ref().0);
            return None;
        };
        let _carried = self.carries(&picked.target, picked.routing);
        let end = cut(picked.cut, &self.end);
        let traffic: Option<&Traffic> = Some(&self.stats.tls.traffic);
        let idle = Idle {
            keepalives: Keepalives::Answered(KEEPALIVES),
            ..Idle::from(binding.idle_timeout)
        };
        let (relayed, target) = match target {
            ToTarget::Plain(mut target) => {
                let relayed = relay_until(&mut *client, &mut target, idle, traffic, end).await;
                (relayed, target)
            },
            ToTarget::Tls(mut target) => {
                let relayed = relay_until(&mut *client, &mut *target, idle, traffic, end).await;
                (relayed, target.0.into_inner().0)
            },
        };
        story.ended(&relayed);
        let client = client.0.into_inner().0;
        if matches!(relayed.end, End::Idle) {
            return Some((client, target));
        }
        self.finish(&client, &target, &relayed);
        None
    }

    /// Connects to a target, with TLS if the targets have it. What ALPN came to with the client is
    /// offered there.
    async fn connect_tls(
        &self,
        flow: &Flow,
        binding: &Binding,
        front: &Front,
        story: &mut Story,
    ) -> Option<(ToTarget, Picked)> {
        let (stream, picked) = self.connect(flow, binding).await?;
        let Some(configs) = &front.targets else {
            return Some((ToTarget::Plain(stream), picked));
        };
        let alpn = story.alpn.unwrap_or(Alpn::Nothing);
        let connector = TlsConnector::from(Arc::clone(&configs[alpn as usize]));
        let shaken = timeout(front.handshake_timeout, connector.connect(nobody(), stream));
        let shaken = shaken.await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
        match shaken {
            Ok(stream) => {
                story.target_alpn = stream.get_ref().1.alpn_protocol().map(|_same| alpn);
                Some((ToTarget::Tls(Box::new(Tls(stream))), picked))
            },
            Err(error) => {
                self.stats.target_tls_errors.one();
                let target = picked.target.address;
                tracing::debug!(%target, %error, "TLS handshake with a target failed");
                None
            },
        }
    }
}

/// The handshake with a client.
async fn accept(
    stream: TcpStream,
    front: &Front,
    story: &mut Story,
) -> io::Result<Box<Tls<server::TlsStream<TcpStream>>>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let offer = Offer::of(&hello);
    let alpn = hello.alpn().map_or(Alpn::Nothing, |offered| front.alpn.choose(offered));
    if front.log.is_some() && front.alpn != AlpnPolicy::None {
        story.offered = hello.alpn().map(quoted_list);
    }
    let served = front.certificates.select(&offer);
    story.domain = offer.name;
    let served = served.ok_or_else(|| io::Error::other("no certificate"))?;
    // Logged even if the client refuses it.
    story.certificate = Some(Arc::clone(&served.name));
    let config = Arc::clone(served.config(alpn));
    let stream = start.into_stream(config).await?;
    story.alpn = Some(alpn);
    Ok(Box::new(Tls(stream)))
}

impl Story {
    /// The handshake with the client is done.
    fn shaken(&mut self, client: &Tls<server::TlsStream<TcpStream>>, took: Duration) {
        let session = client.0.get_ref().1;
        self.handshake = Some(took);
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        self.cipher = suites::openssl_name(suite);
        self.version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some("tlsv12"),
            Some(ProtocolVersion::TLSv1_3) => Some("tlsv13"),
            _ => None,
        };
    }

    fn ended(&mut self, relayed: &Relayed) {
        (self.received, self.sent) = (relayed.a_to_b, relayed.b_to_a);
        if let End::Failed { side: Side::A, error } = &relayed.end {
            self.alert = alert(error);
        }
    }
}

/// The code of the alert that the peer sent, if that is the error.
fn alert(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(AlertDescription::into(*alert)),
        _ => None,
    }
}

fn write(log: &Log, flow: &Flow, opened: SystemTime, lasted: Duration, story: Story) {
    let name = |alpn: Option<Alpn>| alpn.and_then(Alpn::name);
    log.log.write(Record {
        balancer: Arc::clone(&log.balancer),
        listener: Arc::clone(&log.listener),
        client: canonical(flow.source),
        destination: canonical(flow.destination),
        opened,
        lasted,
        handshake: story.handshake,
        received: story.received,
        sent: story.sent,
        alert: story.alert,
        certificate: story.certificate,
        cipher: story.cipher,
        version: story.version,
        domain: story.domain,
        alpn: name(story.alpn),
        target_alpn: name(story.target_alpn),
        offered: story.offered,
    });
}

/// An IPv4 address that a socket of both families shows as IPv6 is logged as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
