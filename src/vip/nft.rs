//! L4: Services in the kernel's packet filter, as kube-proxy's nftables mode has them.
//!
//! Driven by `app::proxy`. A change is one transaction with what has changed and nothing else; the
//! first one, and one after somebody else has touched the filter, makes the table right whatever it
//! is. Always holds: clients with affinity keep their endpoints through every change and a restart of
//! this process; what cannot be had leaves the last good table as it is.

pub mod render;
pub mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;

use self::{
    render::{Rendered, render},
    table::{Family, Names, Table, removal},
};
use crate::{
    model::objects::ObjectKey,
    net::{
        netfilter::{self, Connection},
        nft,
    },
    services::{Node, Service},
};

/// What does not change while it runs.
#[derive(Clone, Debug, Default)]
pub struct NftOptions {
    /// The node that choices are made for.
    pub node: Node,
    /// Sources that count as pods.
    pub cluster: Vec<IpNet>,
    /// Ranges of the cluster IPs: what no Service has is dropped.
    pub service_ranges: Vec<IpNet>,
    /// Addresses that node ports are on.
    pub node_addresses: Vec<IpAddr>,
}

/// An address that a Service cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub address: SocketAddr,
    /// Who has it.
    pub winner: ObjectKey,
    /// Who would like to.
    pub loser: ObjectKey,
}

/// What came of a change.
#[derive(Debug, Default)]
pub struct Applied {
    /// Virtual addresses and ports with an endpoint.
    pub serving: usize,
    /// Ports whose policy leaves no endpoint here, internal and external.
    pub no_local: [usize; 2],
    /// Addresses that a Service cannot have.
    pub taken: Vec<Taken>,
}

/// The tables in the kernel.
#[derive(Debug)]
pub struct Filter {
    options: NftOptions,
    wanted: BTreeMap<Family, Table>,
    /// What the kernel has; none when it may have anything.
    there: Option<BTreeMap<Family, Table>>,
    /// The generation that our last change made; none when somebody else may have changed something.
    generation: Option<u32>,
    udp: Fronts,
    /// Addresses whose UDP connections are to be looked at, with the endpoints that these may have.
    stale: Fronts,
}

/// Addresses of UDP ports with their endpoints.
type Fronts = BTreeMap<SocketAddr, BTreeSet<SocketAddr>>;

impl Filter {
    /// Nothing is known of the kernel's tables.
    #[must_use]
    pub fn new(options: NftOptions) -> Self {
        Self {
            options,
            wanted: BTreeMap::new(),
            there: None,
            generation: None,
            udp: Fronts::new(),
            stale: Fronts::new(),
        }
    }

    /// Takes over what the Services are now.
    ///
    /// # Errors
    /// Those of [`nft::apply`]; what was there before is there still, and the next [`Self::check`] tries
    /// again.
    pub async fn apply(&mut self, services: &[Arc<Service>]) -> io::Result<Applied> {
        let rendered = render(&self.options, services);
        self.wanted = rendered.tables;
        note_changes(&mut self.stale, &self.udp, &rendered.udp);
        self.udp = rendered.udp;
        self.make().await?;
        let Rendered { serving, no_local, taken, .. } = rendered;
        Ok(Applied { serving, no_local, taken })
    }

    /// Looks whether somebody else has changed something, and makes it right. True when there was
    /// something to do.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn check(&mut self) -> io::Result<bool> {
        let now = netfilter::generation().await?;
        let is_ours = self.there.is_some() && self.generation == Some(now);
        if !is_ours {
            self.there = None;
        }
        self.make().await?;
        Ok(!is_ours)
    }

    /// Removes the tables.
    ///
    /// # Errors
    /// Those of [`nft::apply`].
    pub async fn remove(mut self) -> io::Result<()> {
        self.wanted.clear();
        self.there = None;
        self.make_tables().await
    }

    async fn make(&mut self) -> io::Result<()> {
        self.make_tables().await?;
        if !self.stale.is_empty() {
            forget(self.stale.clone()).await?;
            self.stale.clear();
        }
        Ok(())
    }

    async fn make_tables(&mut self) -> io::Result<()> {
        let before = netfilter::generation().await.ok();
        let mut changes = 0;
        if let Some(there) = &self.there {
            let script = update(there, &self.wanted);
            if script.is_empty() {
                return Ok(());
            }
            match nft::apply(&script).await {
                Ok(()) => changes = 1,
                Err(error) => {
                    tracing::debug!(%error, "an update does not fit what is there");
                    self.there = None;
                },
            }
        }
        if self.there.is_none() {
            for family in Family::ALL {
                changes += repair(family, self.wanted.get(&family)).await?;
            }
        }
        self.there = Some(self.wanted.clone());
        let after = netfilter::generation().await.ok();
        // Somebody else's change may have come between ours.
        let is_ours =
            |after: &u32| before.map(|before| before.wrapping_add(changes)) == Some(*after);
        self.generation = after.filter(is_ours);
        Ok(())
    }
}

/// Adds to `stale` each address whose endpoints change; one that goes has none.
fn note_changes(stale: &mut Fronts, old: &Fronts, new: &Fronts) {
    for front in old.keys().filter(|front| !new.contains_key(*front)) {
        stale.insert(*front, BTreeSet::new());
    }
    for (front, endpoints) in new.iter().filter(|(front, set)| old.get(*front) != Some(*set)) {
        stale.insert(*front, endpoints.clone());
    }
}

/// Makes the kernel forget UDP connections to what is no endpoint of their address (B.5). Those of a
/// time without any endpoint lead to the address itself, and are forgotten too.
async fn forget(fronts: Fronts) -> io::Result<()> {
    let fronts = Arc::new(fronts);
    for family in Family::ALL {
        if !fronts.keys().any(|front| family.has(front.ip())) {
            continue;
        }
        let fronts = Arc::clone(&fronts);
        let stale = move |one: &Connection| {
            let endpoints = fronts.get(&one.destination);
            endpoints.is_some_and(|endpoints| !endpoints.contains(&one.answers_from))
        };
        let found = netfilter::udp_connections(family == Family::V6, stale).await?;
        netfilter::forget(found).await?;
    }
    Ok(())
}

/// The script from `there` to `wanted`, in all families.
fn update(there: &BTreeMap<Family, Table>, wanted: &BTreeMap<Family, Table>) -> String {
    let scripts = Family::ALL.map(|family| match (there.get(&family), wanted.get(&family)) {
        (None, None) => String::new(),
        (Some(_), None) => removal(family),
        (None, Some(new)) => new.replacement(family),
        (Some(old), Some(new)) => new.update(family, old),
    });
    scripts.concat()
}

/// Makes the table of `family` right, whatever is there; the number of transactions.
async fn repair(family: Family, wanted: Option<&Table>) -> io::Result<u32> {
    match (nft::table(family.name(), table::NAME).await?, wanted) {
        (None, None) => return Ok(0),
        (Some(_), None) => nft::apply(&removal(family)).await?,
        (None, Some(wanted)) => nft::apply(&wanted.replacement(family)).await?,
        (Some(listing), Some(wanted)) => {
            let repaired = nft::apply(&wanted.repair(family, &Names::read(&listing))).await;
            if let Err(error) = repaired {
                tracing::warn!(%error, "the table {} is made anew, without its clients", table::NAME);
                nft::apply(&wanted.replacement(family)).await?;
            }
        },
    }
    Ok(1)
}
