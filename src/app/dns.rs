//! `wharf dns`: manifests in, the zone on a socket.
//!
//! Called by `cli`, and by the wiring of `wharf router --dns` and `wharf up` for [`serve_zone`].

mod command;
mod forwarding;
mod log;
mod pages;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    dns::{
        log::QueryLog,
        resolver::{self, Resolver},
        server::{Server, Settings, View},
        stats::DnsStats,
    },
    model::objects::{ObjectKey, Objects},
    net::listen,
    task::workers::Workers,
    zone::{self, Resolved, Zone, ZoneOptions},
};

pub use self::{
    command::{Serving, run},
    forwarding::{Forwarding, forwarder, parse_forward},
    pages::Ports,
};

/// What `wharf dns` is asked to do.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Manifest files and directories.
    pub manifests: Vec<PathBuf>,
    /// UDP and TCP listener.
    pub listen: SocketAddr,
    /// Cluster domain.
    pub cluster_domain: String,
    /// What it answers.
    pub answering: Answering,
}

/// What a DNS server answers, whichever command it is a part of.
#[derive(Clone, Debug, Default)]
pub struct Answering {
    /// What of the cluster the zone shows.
    pub zone: ZoneOptions,
    /// Names outside the zone.
    pub forwarding: Forwarding,
    /// Names that are looked for before those of the zone, such as a load balancer's.
    pub view: Option<Arc<dyn View>>,
}

/// `NAMESPACE/NAME` of a Service.
///
/// # Errors
/// Says what would do.
pub fn parse_service(text: &str) -> Result<ObjectKey, String> {
    let (namespace, name) = text.split_once('/').unwrap_or_default();
    if !zone::names::is_label(namespace) || !zone::names::is_label(name) {
        return Err("write NAMESPACE/NAME in lower case, such as openshift-dns/dns-default".into());
    }
    Ok(ObjectKey::new(namespace, name))
}

/// The sockets of a DNS server, bound to one port.
#[derive(Debug)]
pub struct DnsSockets {
    /// Datagrams.
    pub udp: UdpSocket,
    /// More sockets for datagrams, each for a loop of its own.
    pub more: Vec<std::net::UdpSocket>,
    /// Threads that the loops run on.
    pub workers: Workers,
    /// Streams.
    pub tcp: TcpListener,
}

/// Binds both sockets. Port 0 becomes one free port for both.
///
/// # Errors
/// When one of them cannot be bound.
pub fn bind(address: SocketAddr) -> anyhow::Result<DnsSockets> {
    bind_group(address, 1, Workers::default())
}

/// Binds a socket for streams and `loops` for datagrams, one at least, to be served by `workers`.
///
/// # Errors
/// When one of them cannot be bound.
pub fn bind_group(
    address: SocketAddr,
    loops: usize,
    workers: Workers,
) -> anyhow::Result<DnsSockets> {
    let tcp = super::bind::tcp(address)?;
    let bound = tcp.local_addr().context("reading the address of the DNS listener")?;
    let mut more = listen::udp_group(bound, loops)
        .map_err(|error| anyhow::anyhow!(listen::bind_help(bound, &error)))?;
    let udp = more.swap_remove(0);
    Ok(DnsSockets {
        udp: UdpSocket::from_std(udp).context("registering the DNS socket")?,
        more,
        workers,
        tcp: TcpListener::from_std(tcp).context("registering the DNS listener")?,
    })
}

/// What [`serve_zone`] serves with.
#[derive(Debug)]
pub struct ZoneService {
    /// Sockets to serve on.
    pub sockets: DnsSockets,
    /// Cluster domain.
    pub domain: String,
    /// What of the cluster the zone shows.
    pub options: ZoneOptions,
    /// Resolver for names outside the zone.
    pub forward: Option<Arc<Resolver>>,
    /// Counters.
    pub stats: Arc<DnsStats>,
    /// Limits.
    pub settings: Settings,
}

/// Serves the zone of `objects`, rebuilt at every change, until `cancel`. The first zone is built
/// once `objects` has a value that was sent after the channel was made; before, answers are
/// SERVFAIL.
pub async fn serve_zone(
    service: ZoneService,
    objects: watch::Receiver<Arc<Objects>>,
    cancel: CancellationToken,
) {
    serve_logged(service, None, objects, cancel).await;
}

/// [`serve_zone`] that notes what it answers in `log`, if there is one.
async fn serve_logged(
    service: ZoneService,
    log: Option<Arc<QueryLog>>,
    objects: watch::Receiver<Arc<Objects>>,
    cancel: CancellationToken,
) {
    let ZoneService { sockets, domain, options, forward, stats, settings } = service;
    let zone = Arc::new(ArcSwap::from_pointee(Zone::default()));
    let (wanted, wanted_names) = watch::channel(BTreeSet::new());
    let (publish, resolved) = watch::channel(Arc::new(Resolved::new()));
    let published = (Arc::clone(&zone), Arc::clone(&stats));
    let follow = follow(objects, resolved, (domain, options), wanted, published);
    let resolve = async {
        match &forward {
            Some(resolver) => {
                let resolver = Arc::clone(resolver);
                resolver::keep_resolved(resolver, wanted_names, publish, cancel.clone()).await;
            },
            None => cancel.cancelled().await,
        }
    };
    let local = sockets.udp.local_addr().ok().map(|address| address.ip());
    let server = Server::new(zone, forward.clone(), stats, settings);
    let serve = serve(sockets, server.at(local).with_log(log), cancel.clone());
    let follow = async {
        tokio::select! {
            () = cancel.cancelled() => {},
            () = follow => {},
        }
    };
    tokio::join!(follow, resolve, serve);
}

/// Runs `server` on all sockets until `cancel`.
async fn serve(sockets: DnsSockets, server: Server, cancel: CancellationToken) {
    let DnsSockets { udp, mut more, workers, tcp } = sockets;
    match udp.into_std() {
        Ok(first) => more.insert(0, first),
        Err(error) => tracing::error!(%error, "cannot hand on a DNS socket"),
    }
    Arc::new(server).run_on(more, tcp, &workers, cancel).await;
}

/// Rebuilds the zone whenever the objects or the resolved names change.
async fn follow(
    mut objects: watch::Receiver<Arc<Objects>>,
    mut resolved: watch::Receiver<Arc<Resolved>>,
    (domain, options): (String, ZoneOptions),
    wanted: watch::Sender<BTreeSet<Arc<str>>>,
    (zone, stats): (Arc<ArcSwap<Zone>>, Arc<DnsStats>),
) {
    let mut seen = false;
    loop {
        tokio::select! {
            changed = objects.changed() => match changed {
                Ok(()) => seen = true,
                Err(_closed) => return,
            },
            changed = resolved.changed() => if changed.is_err() {
                return;
            },
        }
        if !seen {
            continue;
        }
        let current = Arc::clone(&objects.borrow_and_update());
        let addresses = Arc::clone(&resolved.borrow_and_update());
        let names = zone::names_to_resolve(&current, &domain, false);
        wanted.send_if_modified(|known| {
            let changed = *known != names;
            *known = names;
            changed
        });
        let serial = serial(zone.load().serial);
        let next = Zone::build_with(&current, &domain, &addresses, serial, options.clone());
        zone.store(Arc::new(next));
        stats.zones.add_one();
    }
}

/// Seconds since 1970, but always more than `last`, and never 0.
fn serial(last: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(now).unwrap_or(u32::MAX).max(last.saturating_add(1))
}

#[cfg(test)]
mod tests;
