//! Names that the zone does not hold: hickory-resolver behind two uses.
//!
//! `dns::server` forwards questions through [`Resolver::lookup`]; [`keep_resolved`] follows the
//! addresses of named endpoints in the background, so that no request ever waits for DNS
//! (reliability.md 2.9).

mod book;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType},
};
use hickory_resolver::{
    TokioResolver,
    config::{
        ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
        ResolverOpts,
    },
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    system_conf,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::book::{Book, Outcome};
use crate::zone::Resolved;

/// Time for one try at one name server.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a whole lookup, whoever asks.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time that an answer is kept, and shown as TTL to a client: OpenShift's `cache 900`
/// (spec/l4-dns.md C.9).
const MAX_TTL: Duration = Duration::from_secs(900);

/// The same for a name or type that does not exist: OpenShift's `denial 9984 30`.
const MAX_DENIAL_TTL: Duration = Duration::from_secs(30);

/// Answers kept.
const CACHE_SIZE: u64 = 9_984;

/// Names that [`keep_resolved`] looks up at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// Why a name has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver configuration, or ours, cannot be used.
    #[error("the resolver configuration cannot be used")]
    Config(#[source] NetError),
    /// No name server gave a usable answer.
    #[error("no name server answered")]
    Lookup(#[source] NetError),
    /// There is no name server to ask.
    #[error("no name server is configured")]
    NoServer,
    /// No answer came in time.
    #[error("no answer came in time")]
    Timeout,
}

/// A definite answer from outside. `NXDOMAIN` and no data are definite.
#[derive(Clone, Debug)]
pub struct Found {
    /// `NoError` or `NXDomain`.
    pub rcode: ResponseCode,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section of a negative answer.
    pub authorities: Vec<Record>,
}

/// A resolver for names outside the zone, with a cache. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
    servers: Arc<[SocketAddr]>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Resolver {
    /// The resolver of the system: `/etc/resolv.conf` and `/etc/hosts`, read once. Search domains
    /// are not used.
    ///
    /// # Errors
    /// When the file cannot be read or names no server.
    pub fn system() -> Result<Self, ResolveError> {
        let (config, options) = system_conf::read_system_conf().map_err(ResolveError::Config)?;
        let servers = config.name_servers().iter().flat_map(|server| {
            server.connections.iter().map(|via| SocketAddr::new(server.ip, via.port))
        });
        let servers = servers.collect::<BTreeSet<_>>();
        let config = ResolverConfig::from_name_servers(config.name_servers().to_vec());
        Self::build(config, options, servers)
    }

    /// A resolver that asks `addrs`, by UDP first and by TCP when an answer is cut.
    ///
    /// # Errors
    /// When `addrs` is empty.
    pub fn to(addrs: &[SocketAddr]) -> Result<Self, ResolveError> {
        let servers = addrs.iter().map(|address| {
            let via = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = address.port();
                connection
            });
            NameServerConfig::new(address.ip(), true, via.to_vec())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        Self::build(config, options, addrs.iter().copied().collect())
    }

    fn build(
        config: ResolverConfig,
        mut options: ResolverOpts,
        servers: BTreeSet<SocketAddr>,
    ) -> Result<Self, ResolveError> {
        if servers.is_empty() {
            return Err(ResolveError::NoServer);
        }
        options.timeout = TRY_TIMEOUT;
        options.cache_size = CACHE_SIZE;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_DENIAL_TTL);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let inner = builder.build().map_err(ResolveError::Config)?;
        Ok(Self { inner, servers: servers.into_iter().collect() })
    }

    /// The name servers that are asked.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Looks up `name`, which is taken as absolute.
    ///
    /// # Errors
    /// When no definite answer came within 5 s; never for a name that does not exist.
    pub async fn lookup(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Found, ResolveError> {
        let mut name = name.clone();
        name.set_fqdn(true);
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, self.inner.lookup(name, record_type));
        match lookup.await {
            Err(_elapsed) => Err(ResolveError::Timeout),
            Ok(Ok(lookup)) => Ok(Found {
                rcode: ResponseCode::NoError,
                answers: lookup.answers().to_vec(),
                authorities: Vec::new(),
            }),
            Ok(Err(error)) => negative(error),
        }
    }

    /// All addresses of `name` and how long they hold.
    async fn addresses(&self, name: &Name) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        let (v4, v6) =
            tokio::join!(self.lookup(name, RecordType::A), self.lookup(name, RecordType::AAAA));
        // One family is enough: networks without IPv6 often fail AAAA questions.
        let found = match (v4, v6) {
            (Ok(v4), Ok(v6)) => [v4.answers, v6.answers].concat(),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.answers.is_empty() => one.answers,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let ttl = found.iter().map(|record| record.ttl).min().unwrap_or(0);
        let mut addresses: Vec<IpAddr> = found
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok((addresses, Duration::from_secs(u64::from(ttl))))
    }
}

/// A lookup without records: a definite "no", or a failure.
fn negative(error: NetError) -> Result<Found, ResolveError> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            let soa = none.soa.map(|soa| soa.into_record_of_rdata());
            Ok(Found {
                rcode: none.response_code,
                answers: Vec::new(),
                authorities: soa.into_iter().collect(),
            })
        },
        error => Err(ResolveError::Lookup(error)),
    }
}

/// Keeps the addresses of all `wanted` names in `publish` until `cancel`.
///
/// A name is looked up when it is first wanted and again when its TTL ends (5 to 300 s). If that
/// fails, its last addresses stay for an hour. `publish` is sent only when an address has changed.
pub async fn keep_resolved(
    resolver: Arc<Resolver>,
    mut wanted: watch::Receiver<BTreeSet<Arc<str>>>,
    publish: watch::Sender<Arc<Resolved>>,
    cancel: CancellationToken,
) {
    let mut book = Book::default();
    let mut lookups: JoinSet<(Arc<str>, Outcome)> = JoinSet::new();
    wanted.mark_changed();
    loop {
        while lookups.len() < LOOKUPS_AT_ONCE {
            let Some(name) = book.take_due(Instant::now()) else { break };
            lookups.spawn(look_up(Arc::clone(&resolver), name));
        }
        let room = lookups.len() < LOOKUPS_AT_ONCE;
        let next = book.next_due().filter(|_| room).map(tokio::time::Instant::from_std);
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let names = wanted.borrow_and_update().clone();
                book.want(&names, Instant::now());
            },
            Some(done) = lookups.join_next(), if !lookups.is_empty() => match done {
                Ok((name, outcome)) => book.record(&name, outcome, Instant::now()),
                Err(error) => tracing::error!(%error, "a name lookup ended abnormally"),
            },
            () = sleep_until(next) => {},
        }
        let resolved = book.resolved(Instant::now());
        publish.send_if_modified(|published| {
            let changed = **published != resolved;
            if changed {
                *published = Arc::new(resolved);
            }
            changed
        });
    }
}

/// Sleeps until `when`, or for ever without one.
async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn look_up(resolver: Arc<Resolver>, name: Arc<str>) -> (Arc<str>, Outcome) {
    let Ok(absolute) = Name::from_ascii(&*name) else { return (name, Outcome::Failed) };
    let outcome = match resolver.addresses(&absolute).await {
        Ok((addresses, ttl)) => Outcome::Found { addresses, ttl },
        Err(error) => {
            tracing::warn!(%name, %error, "name not resolved, its last addresses stay in use");
            Outcome::Failed
        },
    };
    (name, outcome)
}

#[cfg(test)]
mod tests;
