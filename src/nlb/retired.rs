//! What listeners counted that are gone: their flows go on counting, and the sums of their zones keep
//! what they had.
//!
//! Kept by `server`, which adds each listener that it takes out. Always holds: a count of a zone never
//! goes back; what is kept is one entry for each zone and for each listener with open flows.

use std::{collections::BTreeMap, sync::Arc};

use super::stats::{ListenerStats, ListenerTotals};

type Zone = Option<Arc<str>>;

/// Counts of listeners that are gone.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// Those whose flows go on.
    leaving: Vec<(Zone, Arc<ListenerStats>)>,
    /// Those that count no more.
    gone: BTreeMap<Zone, ListenerTotals>,
}

impl Retired {
    /// Keeps the counts of a listener of `zone` that was taken out.
    pub(super) fn add(&mut self, zone: Zone, stats: &Arc<ListenerStats>) {
        self.settle();
        self.leaving.push((zone, Arc::clone(stats)));
    }

    /// The sums of `present` and of all that was kept, by zone.
    pub(super) fn by_zone(&mut self, present: Vec<ListenerTotals>) -> Vec<ListenerTotals> {
        self.settle();
        let mut zones = self.gone.clone();
        let leaving = self.leaving.iter().map(|(zone, stats)| of_zone(zone.clone(), stats));
        for totals in present.into_iter().chain(leaving) {
            merge(&mut zones, totals);
        }
        zones.into_values().collect()
    }

    /// Counts that nobody else holds do not change any more.
    fn settle(&mut self) {
        let done = |(_, stats): &mut (Zone, Arc<ListenerStats>)| Arc::strong_count(stats) == 1;
        for (zone, stats) in self.leaving.extract_if(.., done) {
            merge(&mut self.gone, of_zone(zone, &stats));
        }
    }
}

fn of_zone(zone: Zone, stats: &ListenerStats) -> ListenerTotals {
    stats.totals(Arc::default(), zone, 0)
}

fn merge(zones: &mut BTreeMap<Zone, ListenerTotals>, totals: ListenerTotals) {
    let zone = totals.availability_zone.clone();
    let sum = zones.entry(zone.clone());
    let sum = sum.or_insert_with(|| of_zone(zone, &ListenerStats::default()));
    sum.add(&totals);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(flows: u64) -> Arc<ListenerStats> {
        let stats = Arc::<ListenerStats>::default();
        stats.tcp.new.add(flows);
        stats
    }

    fn new_flows(retired: &mut Retired, present: &[(&str, &Arc<ListenerStats>)]) -> Vec<u64> {
        let present = present.iter().map(|(zone, stats)| of_zone(Some((*zone).into()), stats));
        let zones = retired.by_zone(present.collect());
        zones.iter().map(|totals| totals.new_flow_count).collect()
    }

    /// A.12: sums stay when a listener goes, grow with its last flows, and hold nothing of it when
    /// these have ended.
    #[test]
    fn sums_keep_what_is_gone() {
        let (mut retired, kept, gone) = (Retired::default(), listener(1), listener(10));
        assert_eq!(new_flows(&mut retired, &[("a", &kept), ("b", &gone)]), [1, 10]);
        retired.add(Some("b".into()), &gone);
        assert_eq!(new_flows(&mut retired, &[("a", &kept)]), [1, 10]);
        gone.tcp.new.add(5);
        assert_eq!(new_flows(&mut retired, &[("a", &kept)]), [1, 15]);
        drop(gone);
        assert_eq!(new_flows(&mut retired, &[("a", &kept)]), [1, 15]);
        assert!(retired.leaving.is_empty(), "its counts are in the sum");
        assert_eq!(new_flows(&mut retired, &[("a", &kept), ("b", &listener(2))]), [1, 17]);
    }
}
