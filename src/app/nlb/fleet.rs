//! The load balancers of the process: that of the configuration file, those of the manifests'
//! Services, which follow the manifests, and those of the account behind the elbv2 API.
//!
//! [`follow`] is run by `wharf nlb --manifests`; `elbv2` adds and takes out its own; the API and the
//! DNS server read the rest. Always
//! holds: a Service that is refused leaves its load balancer as it is, and what cannot be bound is
//! tried again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::manifests::{self, Options, Wanted};
use crate::{
    app::findings::log_new,
    model::objects::ObjectKey,
    nlb::{NlbHandle, config::NlbConfig, server::Drained},
    source::watch::Update,
    task::workers::Workers,
    telemetry::dns::DnsMetrics,
};

/// Between two tries of what could not be bound: a port may be that of a load balancer that ends.
const RETRY: Duration = Duration::from_secs(1);

/// Load balancers. Clones refer to the same ones.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    members: Arc<Mutex<Vec<Member>>>,
    /// Of the DNS server that answers their names, once it does.
    dns: Arc<OnceLock<DnsMetrics>>,
}

#[derive(Debug)]
struct Member {
    owner: Owner,
    handle: NlbHandle,
}

/// Whose a load balancer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The account's, by its ARN.
    Account(String),
    /// The configuration file's.
    File,
    /// A Service's.
    Service(ObjectKey),
}

impl From<NlbHandle> for Fleet {
    fn from(handle: NlbHandle) -> Self {
        let members = Arc::new(Mutex::new(vec![Member { owner: Owner::File, handle }]));
        Self { members, dns: Arc::default() }
    }
}

impl Fleet {
    /// Takes in a load balancer that is configured by hand.
    pub fn join(&self, handle: NlbHandle) {
        self.add(Owner::File, handle);
    }

    /// All load balancers.
    #[must_use]
    pub fn handles(&self) -> Vec<NlbHandle> {
        self.lock().iter().map(|member| member.handle.clone()).collect()
    }

    /// Drains all at once; says whether every flow ended by itself.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let mut draining = JoinSet::new();
        for handle in self.handles() {
            draining.spawn(async move { handle.drain(grace).await });
        }
        let mut all = Drained::Clean;
        while let Some(one) = draining.join_next().await {
            if !matches!(one, Ok(Drained::Clean)) {
                all = Drained::Reset;
            }
        }
        all
    }

    /// The metrics of the DNS server that answers their names, if there is one.
    pub(super) fn dns(&self) -> Option<&DnsMetrics> {
        self.dns.get()
    }

    /// Tells of the DNS server that answers their names. The first one counts.
    pub(super) fn has_dns(&self, metrics: DnsMetrics) {
        let _first_counts = self.dns.set(metrics);
    }

    /// All load balancers with their owners.
    pub(super) fn members(&self) -> Vec<(Owner, NlbHandle)> {
        let pair = |member: &Member| (member.owner.clone(), member.handle.clone());
        self.lock().iter().map(pair).collect()
    }

    pub(super) fn of(&self, owner: &Owner) -> Option<NlbHandle> {
        let members = self.lock();
        let own = members.iter().find(|member| member.owner == *owner);
        own.map(|member| member.handle.clone())
    }

    pub(super) fn add(&self, owner: Owner, handle: NlbHandle) {
        self.lock().push(Member { owner, handle });
    }

    /// Takes out the load balancer of `owner`.
    pub(super) fn take(&self, owner: &Owner) -> Option<NlbHandle> {
        let mut members = self.lock();
        let place = members.iter().position(|member| member.owner == *owner)?;
        Some(members.remove(place).handle)
    }

    /// Takes out the load balancers of Services that are not in `wanted`.
    fn take_gone(&self, wanted: &[Wanted]) -> Vec<NlbHandle> {
        let stays = |member: &mut Member| {
            let Owner::Service(service) = &member.owner else { return true };
            wanted.iter().any(|wanted| wanted.service == *service)
        };
        let mut members = self.lock();
        let (stay, gone): (Vec<_>, Vec<_>) =
            members.drain(..).map(|mut member| (stays(&mut member), member)).partition(|it| it.0);
        members.extend(stay.into_iter().map(|it| it.1));
        gone.into_iter().map(|it| it.1.handle).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the load balancers of `fleet` those that the manifests ask for, at every change, until no
/// more come. Flows of a load balancer whose Service is gone get `grace` to end.
pub async fn follow(
    mut updates: watch::Receiver<Arc<Update>>,
    fleet: &Fleet,
    workers: &Workers,
    options: &Options,
    grace: Duration,
) {
    let (applied, leaving) = (Vec::new(), JoinSet::new());
    let mut follower = Follower { fleet, workers, grace, applied, leaving };
    let mut known = Vec::new();
    let mut wanted = Vec::new();
    let mut failed = HashSet::new();
    loop {
        let changed = updates.changed();
        let changed =
            if failed.is_empty() { Ok(changed.await) } else { timeout(RETRY, changed).await };
        match changed {
            Ok(Ok(())) => {
                let update = Arc::clone(&updates.borrow_and_update());
                let balancers = manifests::balancers(&update.objects, options);
                let findings = [&update.findings[..], &balancers.findings].concat();
                log_new(&known, &findings);
                known = findings;
                wanted = balancers.wanted;
                follower.forget(&wanted);
            },
            Ok(Err(_closed)) => return,
            Err(_retry) => {},
        }
        let errors = follower.apply(&wanted).await;
        for error in errors.difference(&failed) {
            tracing::error!("{error}");
        }
        failed = errors;
    }
}

struct Follower<'a> {
    fleet: &'a Fleet,
    workers: &'a Workers,
    grace: Duration,
    /// What runs in full.
    applied: Vec<(ObjectKey, NlbConfig)>,
    /// Load balancers that end.
    leaving: JoinSet<Drained>,
}

impl Follower<'_> {
    /// Ends the load balancers of Services that are gone.
    fn forget(&mut self, wanted: &[Wanted]) {
        while self.leaving.try_join_next().is_some() {}
        for handle in self.fleet.take_gone(wanted) {
            let grace = self.grace;
            self.leaving.spawn(async move { handle.drain(grace).await });
        }
        self.applied.retain(|(service, _)| wanted.iter().any(|its| its.service == *service));
    }

    /// Starts and changes what is not as wanted; what went wrong is tried again.
    async fn apply(&mut self, wanted: &[Wanted]) -> HashSet<String> {
        let mut errors = HashSet::new();
        for Wanted { service, config } in wanted {
            let Some(config) = config else { continue };
            let own = self.applied.iter().position(|(other, _)| other == service);
            if own.is_some_and(|index| self.applied[index].1 == *config) {
                continue;
            }
            if let Some(index) = own {
                self.applied.swap_remove(index);
            }
            let result = match self.fleet.of(&Owner::Service(service.clone())) {
                Some(handle) => handle.apply(config.clone()),
                None => {
                    let (config, cancel) = (config.clone(), CancellationToken::new());
                    let started = NlbHandle::start_on(self.workers.clone(), config, cancel).await;
                    started.map(|handle| self.fleet.add(Owner::Service(service.clone()), handle))
                },
            };
            match result {
                Ok(()) => {
                    tracing::info!(%service, name = %config.name, "load balancer applied");
                    self.applied.push((service.clone(), config.clone()));
                },
                Err(error) => {
                    errors.insert(format!("the load balancer of the Service {service}: {error}"));
                },
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests;
