//! Freshness of each contract's records. Acknowledgements come in any order, and mostly many of the same kind
//! together.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::relay::Core;
use crate::relay::boundary::{ContractNumber, Timestamp};
use crate::relay::delivery::ledger::{RecordKind, Settled};
use crate::telemetry::{ContractMeter, Telemetry};

/// The meters of all contracts, by contract number.
#[derive(Default)]
pub(super) struct Freshness {
    meters: Vec<Arc<ContractMeter>>,
    /// The shortest promised freshness.
    shortest: Option<Duration>,
    /// How many of each contract's records were overdue at the last check.
    overdue: Vec<u64>,
}

/// Records that are one observation: same contract, kind and commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    committed_at: Timestamp,
    contract: ContractNumber,
    kind: RecordKind,
}

impl Group {
    pub(super) const fn of(settled: &Settled) -> Self {
        let Settled { committed_at, contract, kind, .. } = *settled;
        Self { committed_at, contract, kind }
    }
}

impl Freshness {
    /// Adds meters for contracts the core has met since the last call.
    pub(super) fn follow(&mut self, core: &Core, telemetry: &Telemetry) {
        for level in core.service_levels().iter().skip(self.meters.len()) {
            self.meters.push(telemetry.metrics.contracts.add(&level.id, level.freshness));
            self.overdue.push(0);
            self.shortest = self.shortest.into_iter().chain(level.freshness).min();
        }
    }

    /// Counts acknowledged records of a group.
    pub(super) fn observe(&self, group: Group, records: u64, telemetry: &Telemetry, clock: SystemTime) {
        let freshness = age(group.committed_at, clock);
        telemetry.metrics.publish_latency.observe(freshness, records);
        if let Some(meter) = group.contract.place().and_then(|place| self.meters.get(place)) {
            meter.observe(group.kind, freshness, records, clock);
        }
    }

    /// Counts records in flight for longer than promised.
    pub(super) fn count_overdue(&mut self, core: &Core, clock: SystemTime) {
        let Some(shortest) = self.shortest else { return };
        self.overdue.fill(0);
        // Starts at the oldest, so that nothing is visited while nothing is late.
        let old = core.in_flight().map(|(contract, at)| (contract, age(at, clock)));
        for (contract, age) in old.take_while(|(_, age)| *age > shortest) {
            let Some(place) = contract.place() else { continue };
            let is_late = self.meters.get(place).and_then(|meter| meter.promise()).is_some_and(|promise| age > promise);
            self.overdue[place] += u64::from(is_late);
        }
        for (meter, records) in self.meters.iter().zip(&self.overdue) {
            meter.set_overdue(*records);
        }
    }
}

/// How long ago a transaction committed, by two clocks that may differ.
pub(super) fn age(committed_at: Timestamp, clock: SystemTime) -> Duration {
    let committed_at = Duration::from_micros(u64::try_from(committed_at.0).unwrap_or(0));
    clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(committed_at)
}
