//! The DNS server: a UDP loop, a TCP loop, and their limits (decisions 18).
//!
//! Called by `app`. Always holds: names of the zone are answered without a wait, so a dead resolver
//! outside never delays them (F-14); clients beyond the local networks get nothing but the zone,
//! so this is no open resolver (S-96); everything is bounded by [`Settings`].

mod tcp;
mod udp;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{Name, RecordType},
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::{self, Answer, Outside},
    log::QueryLog,
    plain::Plain,
    resolver::{Found, Ready, Resolver},
    stats::{Cell, DnsStats, Plugin, Transport},
    wire::{self, Packet, Recursion, Request, Size},
};
use crate::{task::workers::Workers, zone::Zone};

/// Limits of a DNS server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// TCP clients connected at once; more are closed.
    pub max_tcp_clients: usize,
    /// From one message of a TCP client to the end of the next, and for writing an answer.
    pub tcp_idle: Duration,
    /// Questions handed to the resolver at once; more are REFUSED (CoreDNS's
    /// `max_concurrent`).
    pub max_forwards: usize,
    /// Time for the resolver to answer one question.
    pub forward_timeout: Duration,
    /// Networks whose clients may ask for names outside the zone, beside loopback, private and
    /// link-local ones.
    pub forward_allow: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_tcp_clients: 128,
            tcp_idle: Duration::from_secs(10),
            max_forwards: 256,
            forward_timeout: Duration::from_secs(5),
            forward_allow: Vec::new(),
        }
    }
}

/// Serves `zone` on both sockets until `cancel`, with the default [`Settings`]. Names outside go to
/// `forward`.
pub async fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    zone: Arc<ArcSwap<Zone>>,
    forward: Option<Arc<Resolver>>,
    stats: Arc<DnsStats>,
    cancel: CancellationToken,
) {
    let local = udp.local_addr().ok().map(|address| address.ip());
    let server = Server::new(zone, forward, stats, Settings::default()).at(local);
    Arc::new(server).run(udp, tcp, cancel).await;
}

/// Names that are answered before the zone is asked, such as those of a load balancer.
pub trait View: std::fmt::Debug + Send + Sync {
    /// The answer to `client`; nothing if the name is not of this view. Must not wait.
    fn answer(&self, question: &Query, client: IpAddr) -> Option<Answer>;

    /// True when none of its names is in the domain of the zone, which then answers plain questions for
    /// its own without asking the view.
    fn is_apart(&self) -> bool {
        false
    }
}

/// What both loops share.
#[derive(Debug)]
pub struct Server {
    zone: Arc<ArcSwap<Zone>>,
    forward: Option<Arc<Resolver>>,
    stats: Arc<DnsStats>,
    settings: Settings,
    forwards: Arc<Semaphore>,
    /// Address of the name server's own name.
    local: Option<IpAddr>,
    view: Option<Arc<dyn View>>,
    log: Option<Arc<QueryLog>>,
    tasks: TaskTracker,
}

/// Where an answer comes from and goes to, for the counts.
#[derive(Clone, Copy, Debug)]
struct Origin {
    transport: Transport,
    plugin: Plugin,
}

/// What becomes of a packet.
enum Reply {
    /// No answer.
    None,
    /// Ready to send.
    Bytes(Vec<u8>),
    /// Ready once the resolver has answered.
    Forward(Box<Forward>),
}

/// A question on its way to the resolver.
struct Forward {
    request: Request,
    /// What the zone says, which the resolver's answer completes or replaces.
    answer: Answer,
    outside: Outside,
    resolver: Arc<Resolver>,
    transport: Transport,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Server {
    /// A server that is not running yet.
    #[must_use]
    pub fn new(
        zone: Arc<ArcSwap<Zone>>,
        forward: Option<Arc<Resolver>>,
        stats: Arc<DnsStats>,
        settings: Settings,
    ) -> Self {
        let forwards = Arc::new(Semaphore::new(settings.max_forwards));
        Self {
            zone,
            forward,
            stats,
            settings,
            forwards,
            local: None,
            view: None,
            log: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Answers the names of `view` first, if there is one.
    #[must_use]
    pub fn with_view(mut self, view: Option<Arc<dyn View>>) -> Self {
        self.view = view;
        self
    }

    /// Notes what it answers in `log`, if there is one.
    #[must_use]
    pub fn with_log(mut self, log: Option<Arc<QueryLog>>) -> Self {
        self.log = log;
        self
    }

    /// Tells the address that clients reach this server at; an unspecified one is none.
    #[must_use]
    pub fn at(mut self, local: Option<IpAddr>) -> Self {
        self.local = local.filter(|address| !address.is_unspecified());
        self
    }

    /// Serves until `cancel`, then ends every task of its own.
    pub async fn run(self: Arc<Self>, udp: UdpSocket, tcp: TcpListener, cancel: CancellationToken) {
        let udp = udp::run(Arc::clone(&self), 0, Arc::new(udp), cancel.clone());
        let here = [Handle::current()];
        let tcp = tcp::run(Arc::clone(&self), tcp, &here, cancel);
        tokio::join!(udp, tcp);
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The same, with a loop for each socket of `udp` and the streams in turn on the threads of `workers`.
    pub async fn run_on(
        self: Arc<Self>,
        udp: Vec<std::net::UdpSocket>,
        tcp: TcpListener,
        workers: &Workers,
        cancel: CancellationToken,
    ) {
        let handles = workers.handles();
        for ((index, socket), handle) in udp.into_iter().enumerate().zip(handles.iter().cycle()) {
            let (server, cancel) = (Arc::clone(&self), cancel.clone());
            let serving = async move {
                match UdpSocket::from_std(socket) {
                    Ok(socket) => udp::run(server, index, Arc::new(socket), cancel).await,
                    Err(error) => tracing::error!(%error, "cannot serve on a DNS socket"),
                }
            };
            self.tasks.spawn_on(serving, handle);
        }
        tcp::run(Arc::clone(&self), tcp, &handles, cancel).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Writes the answer to a plain question into `out`: its length. Nothing if it is for [`Self::reply`].
    fn reply_plain(
        &self,
        cell: &Cell,
        zone: &Zone,
        packet: &[u8],
        client: SocketAddr,
        out: &mut [u8],
    ) -> Option<usize> {
        if self.view.as_ref().is_some_and(|view| !view.is_apart()) {
            return None;
        }
        let plain = Plain::read(packet)?;
        let written = plain.answer(zone, self.recursion(client), out)?;
        cell.query(Transport::Udp, client.ip(), plain.record_type(), packet.len());
        cell.response(Transport::Udp, Plugin::Kubernetes, written.rcode, written.length);
        if written.size == Size::Truncated {
            self.stats.truncated.add_one();
        }
        Some(written.length)
    }

    /// Answers `packet`, or says what is still missing. Never waits.
    fn reply(&self, packet: &[u8], client: SocketAddr, transport: Transport) -> Reply {
        let request = match wire::read(packet, transport) {
            Packet::Ignored => {
                self.stats.dropped.add_one();
                return Reply::None;
            },
            Packet::Refused(rcode, bytes) => {
                let cell = self.stats.shared();
                cell.response(transport, Plugin::None, rcode, bytes.len());
                return Reply::Bytes(bytes);
            },
            Packet::Query(request) => *request,
        };
        let record_type = request.question.query_type();
        self.stats.shared().query(transport, client.ip(), record_type, packet.len());
        let viewed =
            self.view.as_ref().and_then(|view| view.answer(&request.question, client.ip()));
        let (mut answer, viewed) = match viewed {
            Some(answer) => (answer, true),
            None => (answer::answer(&self.zone.load(), &request.question, self.local), false),
        };
        let is_outside = answer.outside == Some(Outside::Question);
        let resolver = self.forward.as_ref().filter(|_| self.may_forward(client.ip()));
        let Some((outside, resolver)) = answer.outside.take().zip(resolver) else {
            let plugin = if viewed || is_outside { Plugin::None } else { Plugin::Kubernetes };
            let origin = Origin { transport, plugin };
            return Reply::Bytes(self.encode(&request, &answer, self.recursion(client), origin));
        };
        match resolver.ready(outside.name(&request.question), request.question.query_type()) {
            Ready::Elsewhere => {
                let origin = Origin { transport, plugin: Plugin::Kubernetes };
                return Reply::Bytes(self.encode(&request, &answer, Recursion::Available, origin));
            },
            Ready::Found(found) => {
                let answer = completed(answer, &outside, found);
                let origin = Origin { transport, plugin: Plugin::Forward };
                return Reply::Bytes(self.encode(&request, &answer, Recursion::Available, origin));
            },
            Ready::Unknown => {},
        }
        let Ok(permit) = Arc::clone(&self.forwards).try_acquire_owned() else {
            self.stats.forwards_refused.add_one();
            let failure = Answer::code(ResponseCode::Refused);
            let origin = Origin { transport, plugin: Plugin::Forward };
            return Reply::Bytes(self.encode(&request, &failure, Recursion::Available, origin));
        };
        self.stats.forwards.add_one();
        let resolver = Arc::clone(resolver);
        Reply::Forward(Box::new(Forward {
            request,
            answer,
            outside,
            resolver,
            transport,
            since: Instant::now(),
            _permit: permit,
        }))
    }

    /// Asks the resolver; SERVFAIL when it has no definite answer in time.
    async fn forward(&self, forward: Forward) -> Vec<u8> {
        let Forward { request, answer, outside, resolver, transport, since, _permit } = forward;
        let name = outside.name(&request.question);
        let lookup = look_up(&resolver, name, request.question.query_type());
        let found = tokio::time::timeout(self.settings.forward_timeout, lookup).await;
        let answer = match found.ok().flatten() {
            Some(found) => completed(answer, &outside, found),
            None => {
                self.stats.forward_failures.add_one();
                Answer::code(ResponseCode::ServFail)
            },
        };
        let origin = Origin { transport, plugin: Plugin::Forward };
        let bytes = self.encode(&request, &answer, Recursion::Available, origin);
        self.stats.shared().took(since.elapsed(), 1);
        bytes
    }

    fn encode(
        &self,
        request: &Request,
        answer: &Answer,
        recursion: Recursion,
        origin: Origin,
    ) -> Vec<u8> {
        let (bytes, size) = request.encode(answer, recursion);
        if size == Size::Truncated {
            self.stats.truncated.add_one();
        }
        let Origin { transport, plugin } = origin;
        self.stats.shared().response(transport, plugin, answer.rcode, bytes.len());
        bytes
    }

    fn recursion(&self, client: SocketAddr) -> Recursion {
        if self.forward.is_some() && self.may_forward(client.ip()) {
            Recursion::Available
        } else {
            Recursion::Absent
        }
    }

    /// True for clients that may ask for names outside the zone (S-96).
    fn may_forward(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let near = match client {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            },
        };
        near || self.settings.forward_allow.iter().any(|net| net.contains(&client))
    }
}

async fn look_up(resolver: &Resolver, name: &Name, record_type: RecordType) -> Option<Found> {
    let found = resolver.ask(name, record_type).await;
    found.inspect_err(|error| tracing::debug!(%name, %error, "forwarded question failed")).ok()
}

/// `answer` of the zone with what the resolver `found` outside it.
fn completed(answer: Answer, outside: &Outside, found: Found) -> Answer {
    if found.rcode == ResponseCode::ServFail {
        return Answer::code(found.rcode);
    }
    let mut answers = match outside {
        Outside::Question => Vec::new(),
        Outside::Target(_) => answer.answers,
    };
    answers.extend(found.answers);
    Answer {
        rcode: found.rcode,
        authoritative: answer.authoritative && matches!(outside, Outside::Target(_)),
        answers,
        authorities: found.authorities,
        truncated: found.truncated,
        ..Answer::default()
    }
}

#[cfg(test)]
mod tests;
