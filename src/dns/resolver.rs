//! Names that the zone does not hold: questions to name servers outside, and a cache of their answers.
//!
//! `dns::server` asks [`Resolver::ready`] and, if that has nothing, [`Resolver::ask`];
//! [`keep_resolved`] follows the addresses of named endpoints in the background.

mod book;
mod cache;
mod exchange;
mod follow;
mod pool;
mod shared;
pub mod stats;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use hickory_resolver::{Hosts, net::NetError, system_conf};
use tokio::sync::Semaphore;

use self::{
    cache::{Cache, Hit, Key},
    pool::Pool,
    shared::{Exchanges, Outcome},
    stats::ForwardStats,
};
pub use self::{
    cache::{CacheOptions, Prefetch},
    follow::keep_resolved,
    pool::{Policy, PoolOptions},
};

/// Time for a whole lookup, whoever asks.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Name servers of one zone at most (CoreDNS's limit).
pub const MAX_SERVERS: usize = 15;

/// Why a name has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver configuration cannot be used.
    #[error("the resolver configuration cannot be used")]
    Config(#[source] NetError),
    /// It was asked for together with others, and that ended in an error of ours.
    #[error("the question was given up")]
    Ended,
    /// No name server gave any answer.
    #[error("no name server answered")]
    Lookup(#[source] Arc<io::Error>),
    /// There is no name server to ask.
    #[error("no name server is configured")]
    NoServer,
    /// A name server answered with a failure.
    #[error("the name server answered {0}")]
    Refused(ResponseCode),
    /// No answer came in time.
    #[error("no answer came in time")]
    Timeout,
    /// More name servers for a zone than can be asked.
    #[error("{0} name servers for one zone, at most {MAX_SERVERS} can be used")]
    TooMany(usize),
}

/// An answer from outside. `NXDOMAIN` and no data are definite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `NoError` or `NXDomain`; `ServFail` for a failure that is remembered.
    pub rcode: ResponseCode,
    /// Answer section.
    pub answers: Vec<Record>,
    /// SOA records of a negative answer.
    pub authorities: Vec<Record>,
    /// The name server had more to say, and could not be asked by TCP.
    pub truncated: bool,
}

impl Found {
    fn of(message: Message) -> Self {
        let mut authorities = message.authorities;
        authorities.retain(|record| record.record_type() == RecordType::SOA);
        if !message.answers.is_empty() {
            authorities.clear();
        }
        Self {
            rcode: message.metadata.response_code,
            answers: message.answers,
            authorities,
            truncated: message.metadata.truncation,
        }
    }

    /// The same with this TTL, seconds, on every record.
    fn with_ttl(&self, ttl: u32) -> Self {
        let mut found = self.clone();
        for record in found.answers.iter_mut().chain(&mut found.authorities) {
            record.ttl = ttl;
        }
        found
    }
}

/// The name servers that know one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardZone {
    /// Its apex; the root is every other name.
    pub apex: Name,
    /// Where to ask; at most [`MAX_SERVERS`].
    pub servers: Vec<SocketAddr>,
}

/// How names outside are asked for.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// Order, time and number of tries.
    pub pool: PoolOptions,
    /// What is remembered.
    pub cache: CacheOptions,
    /// Answers refreshed at once, before or after their end; more are left for the next question.
    pub max_refreshes: usize,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self { pool: PoolOptions::default(), cache: CacheOptions::default(), max_refreshes: 32 }
    }
}

/// What is known of a name without a wait.
#[derive(Clone, Debug)]
pub enum Ready {
    /// No name server is set up for it.
    Elsewhere,
    /// The answer.
    Found(Found),
    /// Nothing: somebody has to be asked.
    Unknown,
}

/// A resolver for names outside the zone, with a cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Longest apex first.
    zones: Vec<(Name, Pool)>,
    servers: Vec<SocketAddr>,
    hosts: Option<Hosts>,
    cache: Mutex<Cache>,
    refreshes: Arc<Semaphore>,
    exchanges: Exchanges,
    stats: ForwardStats,
}

impl Resolver {
    /// The resolver of the system: `/etc/resolv.conf` and `/etc/hosts`, read once. Search domains
    /// are not used.
    ///
    /// # Errors
    /// When the file cannot be read or names no server.
    pub fn system() -> Result<Self, ResolveError> {
        Self::with_system(Vec::new(), ForwardOptions::default())
    }

    /// As [`Resolver::with`], and the name servers of the system for every other name, unless `zones`
    /// has servers for those, too.
    ///
    /// # Errors
    /// When the system's configuration cannot be used, and as [`Resolver::with`].
    pub fn with_system(
        mut zones: Vec<ForwardZone>,
        options: ForwardOptions,
    ) -> Result<Self, ResolveError> {
        if !zones.iter().any(|zone| zone.apex.is_root()) {
            zones.push(ForwardZone { apex: Name::root(), servers: system_servers()? });
        }
        let hosts = Hosts::from_system();
        let hosts = hosts.inspect_err(|error| tracing::debug!(%error, "no file of hosts")).ok();
        Self::build(zones, options, hosts)
    }

    /// A resolver that asks `addrs` for every name, by UDP first and by TCP when an answer is cut.
    ///
    /// # Errors
    /// When `addrs` is empty, or more than [`MAX_SERVERS`].
    pub fn to(addrs: &[SocketAddr]) -> Result<Self, ResolveError> {
        let root = ForwardZone { apex: Name::root(), servers: addrs.to_vec() };
        Self::with(vec![root], ForwardOptions::default())
    }

    /// A resolver that asks the servers of the longest of `zones` that a name is in. Names in none
    /// are not asked for.
    ///
    /// # Errors
    /// When a zone has no server, or more than [`MAX_SERVERS`], or there is no zone.
    pub fn with(zones: Vec<ForwardZone>, options: ForwardOptions) -> Result<Self, ResolveError> {
        Self::build(zones, options, None)
    }

    fn build(
        mut zones: Vec<ForwardZone>,
        options: ForwardOptions,
        hosts: Option<Hosts>,
    ) -> Result<Self, ResolveError> {
        if zones.is_empty() || zones.iter().any(|zone| zone.servers.is_empty()) {
            return Err(ResolveError::NoServer);
        }
        if let Some(zone) = zones.iter().find(|zone| zone.servers.len() > MAX_SERVERS) {
            return Err(ResolveError::TooMany(zone.servers.len()));
        }
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.apex.num_labels()));
        let servers = zones.iter().flat_map(|zone| zone.servers.iter().copied());
        let servers: BTreeSet<SocketAddr> = servers.collect();
        let pools = zones.into_iter().map(|ForwardZone { mut apex, servers }| {
            apex.set_fqdn(true);
            (apex, Pool::new(&servers, options.pool))
        });
        Ok(Self(Arc::new(Inner {
            zones: pools.collect(),
            servers: servers.into_iter().collect(),
            hosts,
            cache: Mutex::new(Cache::new(options.cache)),
            refreshes: Arc::new(Semaphore::new(options.max_refreshes)),
            exchanges: Exchanges::default(),
            stats: ForwardStats::default(),
        })))
    }

    /// The name servers that are asked.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.0.servers
    }

    /// What has been counted.
    #[must_use]
    pub fn stats(&self) -> &ForwardStats {
        &self.0.stats
    }

    /// Answers in the cache: with records, and denials with failures (`coredns_cache_entries`).
    #[must_use]
    pub fn cached(&self) -> [usize; 2] {
        self.0.cache().len()
    }

    /// What is known of `name`, which is taken as absolute, without a wait. An answer that is asked
    /// for often, or that is over and still served, is asked for again behind it.
    #[must_use]
    pub fn ready(&self, name: &Name, record_type: RecordType) -> Ready {
        let key = Key::new(name, record_type);
        if let Some(found) = self.0.in_hosts(&key) {
            return Ready::Found(found);
        }
        if self.0.pool(&key.name).is_none() {
            return Ready::Elsewhere;
        }
        let stats = &self.0.stats;
        stats.requests.add_one();
        let hit = self.0.cache().get(&key, now());
        let Hit::Found { found, ttl, refresh, stale } = hit else {
            stats.misses.add_one();
            return Ready::Unknown;
        };
        if found.answers.is_empty() { &stats.denial_hits } else { &stats.hits }.add_one();
        if stale {
            stats.served_stale.add_one();
        }
        if refresh {
            self.refresh(key, stale);
        }
        Ready::Found(found.with_ttl(ttl))
    }

    fn refresh(&self, key: Key, stale: bool) {
        let stats = &self.0.stats;
        let Ok(permit) = Arc::clone(&self.0.refreshes).try_acquire_owned() else {
            stats.refreshes_refused.add_one();
            self.0.cache().gave_up(&key);
            return;
        };
        if !stale {
            stats.prefetches.add_one();
        }
        let resolver = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = resolver.ask(&key.name, key.record_type).await {
                let name = &key.name;
                tracing::debug!(%name, %error, "an answer could not be refreshed");
                resolver.0.cache().gave_up(&key);
            }
        });
    }

    /// Asks the name servers for `name`, which is taken as absolute, whatever the cache holds; together
    /// with everybody who asks the same at the time.
    ///
    /// # Errors
    /// When no definite answer came within 5 s; never for a name that does not exist.
    pub async fn ask(&self, name: &Name, record_type: RecordType) -> Result<Found, ResolveError> {
        let key = Key::new(name, record_type);
        if self.0.pool(&key.name).is_none() {
            return Err(ResolveError::NoServer);
        }
        let (resolver, asked) = (self.clone(), key.clone());
        let mut asker = self.0.exchanges.join(key, |number, publish| {
            let exchange = async move {
                let outcome = resolver.exchange(&asked).await;
                resolver.0.exchanges.finish(&asked, number);
                publish.send_replace(Some(outcome));
            };
            // A task of its own: whoever asked first may go.
            tokio::spawn(exchange).abort_handle()
        });
        if asker.joined {
            self.0.stats.shared.add_one();
        }
        let (found, ttl) = asker.outcome().await?;
        Ok(found.with_ttl(ttl))
    }

    /// Asks the name servers, and keeps what they say.
    async fn exchange(&self, key: &Key) -> Outcome {
        let pool = self.0.pool(&key.name).ok_or(ResolveError::NoServer)?;
        let asked = pool.ask(&key.name, key.record_type, &self.0.stats);
        let found = match tokio::time::timeout(LOOKUP_TIMEOUT, asked).await {
            Err(_elapsed) => return Err(ResolveError::Timeout),
            Ok(Err(ResolveError::Refused(rcode))) => {
                let failure = Found { rcode: ResponseCode::ServFail, ..Found::default() };
                self.keep(key.clone(), &Arc::new(failure));
                return Err(ResolveError::Refused(rcode));
            },
            Ok(Err(error)) => return Err(error),
            Ok(Ok(message)) => Arc::new(Found::of(message)),
        };
        let ttl = self.keep(key.clone(), &found);
        Ok((found, ttl))
    }

    /// Keeps `found`; its TTL, seconds.
    fn keep(&self, key: Key, found: &Arc<Found>) -> u32 {
        let (ttl, evicted) = self.0.cache().put(key, Arc::clone(found), now());
        (0..evicted).for_each(|_| self.0.stats.evictions.add_one());
        ttl
    }

    /// Looks up `name`, which is taken as absolute, in the cache or outside.
    ///
    /// # Errors
    /// As [`Resolver::ask`].
    pub async fn lookup(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Found, ResolveError> {
        match self.ready(name, record_type) {
            Ready::Found(found) if found.rcode == ResponseCode::ServFail => {
                Err(ResolveError::Refused(found.rcode))
            },
            Ready::Found(found) => Ok(found),
            Ready::Elsewhere => Err(ResolveError::NoServer),
            Ready::Unknown => self.ask(name, record_type).await,
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

impl Inner {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, name: &Name) -> Option<&Pool> {
        self.zones.iter().find(|(apex, _)| apex.zone_of(name)).map(|(_, pool)| pool)
    }

    fn in_hosts(&self, key: &Key) -> Option<Found> {
        let query = Query::query(key.name.clone(), key.record_type);
        let lookup = self.hosts.as_ref()?.lookup_static_host(&query)?;
        Some(Found { answers: lookup.answers().to_vec(), ..Found::default() })
    }
}

/// The name servers of `/etc/resolv.conf`.
///
/// # Errors
/// When the file cannot be read or names no server.
pub fn system_servers() -> Result<Vec<SocketAddr>, ResolveError> {
    let (config, _) = system_conf::read_system_conf().map_err(ResolveError::Config)?;
    let mut servers: Vec<SocketAddr> = Vec::new();
    for server in config.name_servers() {
        // Each is listed for UDP and for TCP.
        let port = server.connections.first().map_or(53, |connection| connection.port);
        let address = SocketAddr::new(server.ip, port);
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    if servers.is_empty() {
        return Err(ResolveError::NoServer);
    }
    servers.truncate(MAX_SERVERS);
    Ok(servers)
}

/// The runtime's time, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
