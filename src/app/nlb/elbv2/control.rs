//! The account and what runs of it: a call changes both or neither.
//!
//! Called by the wire. Always holds: what is told as done runs and is stored; what cannot be bound or
//! stored is taken back, and the account stays as it was.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, SystemTime},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    actions::{Context, operation},
    form::Form,
    store::{StateError, Store},
    xml::Xml,
};
use crate::{
    app::nlb::fleet::{Fleet, Owner},
    nlb::{
        NlbHandle,
        account::{Account, Environment, Foreign, Maker, Owner as Shown},
        config::NlbConfig,
        server::Drained,
        stats::TargetState,
    },
    task::workers::Workers,
};

/// How often a socket that is taken is tried: it may be that of a listener that just ended.
const TRIES: u32 = 20;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// The account with its load balancers.
#[derive(Debug)]
pub(super) struct Control {
    account: Account,
    fleet: Fleet,
    workers: Workers,
    store: Option<Store>,
    /// Documents that run, by the ARN of the load balancer.
    applied: BTreeMap<String, String>,
    /// Why load balancers of before do not run.
    failed: HashMap<String, String>,
    /// How long flows of a deleted load balancer may go on.
    grace: Duration,
    leaving: JoinSet<Drained>,
}

impl Control {
    /// An account as it was stored, running.
    pub(super) async fn open(
        environment: Environment,
        store: Option<Store>,
        fleet: Fleet,
        workers: Workers,
        grace: Duration,
    ) -> Result<Self, StateError> {
        let account = match &store {
            None => Account::new(environment),
            Some(store) => Account::restore(environment, store.load()?)
                .map_err(|problem| store.broken(problem))?,
        };
        let mut control = Self {
            account,
            fleet,
            workers,
            store,
            applied: BTreeMap::new(),
            failed: HashMap::new(),
            grace,
            leaving: JoinSet::new(),
        };
        for (arn, document) in control.account.documents() {
            if let Err(problem) = control.start(&control.account, &arn).await {
                tracing::error!(%arn, %problem, "a stored load balancer does not run");
                control.failed.insert(arn, problem);
            } else {
                control.applied.insert(arn, document);
            }
        }
        Ok(control)
    }

    /// Does what a call asks for; the inside of the answer.
    pub(super) async fn call(&mut self, action: &str, form: Form) -> Result<Xml, Failure> {
        while self.leaving.try_join_next().is_some() {}
        let (xml, changed) = self.ask(action, &form)?;
        if let Some(account) = changed {
            self.keep(account).await?;
        }
        Ok(xml)
    }

    /// What the account says to a call, and what it is afterwards, if the call may change it.
    fn ask(&self, action: &str, form: &Form) -> Result<(Xml, Option<Account>), Failure> {
        let (operation, changes) = operation(action)?;
        let mut account = self.account.clone();
        account.set_foreign(&self.foreign());
        let mut xml = Xml::default();
        let mut ids = random;
        let mut maker = Maker { now: SystemTime::now(), ids: &mut ids };
        let mut context = Context {
            account: &mut account,
            maker: &mut maker,
            running: &|arn| self.running(arn),
            failed: &self.failed,
        };
        operation(&mut context, &form.whole(), &mut xml)?;
        if let Some(name) = form.unasked() {
            let text = format!("The parameter '{name}' is not served");
            return Err(Failure::sender("InvalidConfigurationRequest", text));
        }
        Ok((xml, changes.then_some(account)))
    }

    /// Makes `account` what runs and what is stored.
    async fn keep(&mut self, account: Account) -> Result<(), Failure> {
        let documents: BTreeMap<_, _> = account.documents().into_iter().collect();
        let before: BTreeMap<_, _> = self.account.documents().into_iter().collect();
        let mut started = Vec::new();
        let mut failed = self.failed.clone();
        for (arn, document) in &documents {
            if self.applied.get(arn) == Some(document) {
                continue;
            }
            started.push(arn.clone());
            match self.start(&account, arn).await {
                Ok(()) => drop(failed.remove(arn)),
                // It failed before, and this call is not about it.
                Err(problem) if before.get(arn) == Some(document) => {
                    failed.insert(arn.clone(), problem);
                    started.pop();
                },
                Err(problem) => {
                    self.take_back(&started).await;
                    return Err(Failure::sender("InvalidConfigurationRequest", problem));
                },
            }
        }
        let stored = account.stored();
        if let Some(store) = self.store.clone()
            && let Err(error) = store.save(&stored)
        {
            self.take_back(&started).await;
            let path = store.path();
            let text = format!(
                "Nothing is changed: cannot write {}: {error}; --state-dir names another directory",
                path.display()
            );
            return Err(Failure::receiver("InternalFailure", text));
        }
        let ran = std::mem::take(&mut self.applied);
        for arn in ran.keys().filter(|arn| !documents.contains_key(*arn)) {
            self.leave(arn, self.grace);
        }
        failed.retain(|arn, _| documents.contains_key(arn));
        self.applied = documents;
        self.applied.retain(|arn, _| !failed.contains_key(arn));
        (self.account, self.failed) = (account, failed);
        Ok(())
    }

    /// Puts these load balancers back to what the account has of them.
    async fn take_back(&mut self, arns: &[String]) {
        for arn in arns {
            if !self.applied.contains_key(arn) {
                self.leave(arn, Duration::ZERO);
            } else if let Err(problem) = self.start(&self.account, arn).await {
                tracing::error!(%arn, %problem, "a change could not be taken back in full");
            }
        }
    }

    /// Ends a load balancer.
    fn leave(&mut self, arn: &str, grace: Duration) {
        if let Some(handle) = self.fleet.take(&Owner::Account(arn.to_owned())) {
            self.leaving.spawn(async move { handle.drain(grace).await });
        }
    }

    /// Starts or changes a load balancer.
    async fn start(&self, account: &Account, arn: &str) -> Result<(), String> {
        let config = account.config(arn).map_err(|refusal| refusal.message)?;
        let mut tries = 1;
        loop {
            let result = self.start_once(&config, arn).await;
            match result {
                Err(problem) if problem.taken && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                },
                result => return result.map_err(|problem| problem.to_string()),
            }
        }
    }

    async fn start_once(&self, config: &NlbConfig, arn: &str) -> Result<(), NotBound> {
        let owner = Owner::Account(arn.to_owned());
        let started = match self.fleet.of(&owner) {
            Some(handle) => handle.apply(config.clone()),
            None => {
                let cancel = CancellationToken::new();
                NlbHandle::start_on(self.workers.clone(), config.clone(), cancel)
                    .await
                    .map(|handle| self.fleet.add(owner, handle))
            },
        };
        started.map_err(|error| NotBound {
            taken: error.0.iter().any(|it| it.source.kind() == std::io::ErrorKind::AddrInUse),
            text: error.to_string(),
        })
    }

    /// What runs and is not of this account.
    fn foreign(&self) -> Vec<Foreign> {
        let shown = |(owner, handle): (Owner, NlbHandle)| {
            let owner = match owner {
                Owner::Account(_) => return None,
                Owner::File => Shown::File,
                Owner::Service(service) => Shown::Service(service.to_string()),
            };
            let config = handle.config()?;
            Some(Foreign { owner, config: NlbConfig::clone(&config) })
        };
        self.fleet.members().into_iter().filter_map(shown).collect()
    }

    /// The targets of the load balancer with this ARN.
    fn running(&self, arn: &str) -> Vec<TargetState> {
        let own = |handle: &NlbHandle| {
            arn.strip_suffix(&handle.names().label).is_some_and(|rest| rest.ends_with('/'))
        };
        self.fleet.handles().into_iter().find(own).map(|it| it.targets()).unwrap_or_default()
    }
}

/// A listener could not be bound.
struct NotBound {
    /// Someone else has the socket.
    taken: bool,
    text: String,
}

impl fmt::Display for NotBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A number that does not repeat.
pub(super) fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), SystemTime::now())
}
