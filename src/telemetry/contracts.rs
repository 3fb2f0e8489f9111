//! Service levels: how soon the records of each contract version are in Kafka, compared with what it promises.
//!
//! What counts is the time from an event's commit, by the database's clock, to Kafka's acknowledgement of its record,
//! by the relay's; with exactly-once delivery, to the commit of its transaction. A dead letter is not a delivery: it
//! is counted separately, and is neither fresh nor late. For backfilled rows it is the time since the backfill
//! started.
//!
//! The first [`ContractNumber::LIMIT`](crate::relay::boundary::ContractNumber::LIMIT) schema versions that a relay
//! meets are measured, which bounds the number of time series; further ones, and events without a contract, count
//! only in the metrics of the whole relay.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};

use super::latency::LatencyHistogram;
use crate::relay::boundary::SchemaVersionId;
use crate::relay::delivery::ledger::RecordKind;

type Count = Gauge<u64, AtomicU64>;
type Seconds = Gauge<f64, AtomicU64>;

/// A contract version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ContractLabel {
    contract: String,
    version: String,
}

/// The service levels of all contracts.
#[derive(Default)]
pub struct ContractMetrics {
    freshness: Family<ContractLabel, LatencyHistogram>,
    promised: Family<ContractLabel, Seconds>,
    breaches: Family<ContractLabel, Counter>,
    overdue: Family<ContractLabel, Count>,
    violations: Family<ContractLabel, Counter>,
    dead_letters: Family<ContractLabel, Counter>,
    meters: Mutex<Vec<Arc<ContractMeter>>>,
}

/// The service level of one contract version. Has a single writer, and takes no lock.
#[derive(Debug)]
pub struct ContractMeter {
    label: ContractLabel,
    promise: Option<Duration>,
    freshness: LatencyHistogram,
    longest_micros: AtomicU64,
    breaches: Counter,
    /// In milliseconds since the Unix epoch; 0 if there is none.
    last_breach: AtomicU64,
    overdue: Count,
    violations: Counter,
    dead_letters: Counter,
}

/// The service level of one contract version at a moment, as in `/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContractStatus {
    /// The contract's name, which is its schema's.
    pub contract: String,
    pub version: String,
    /// Its records that Kafka has acknowledged, without dead letters.
    pub events: u64,
    /// How many of these violate the contract, which asks to publish them anyway.
    pub violations: u64,
    /// Its events that are dead letters.
    pub dead_letters: u64,
    /// Upper bound of the median time from commit to acknowledgement, in milliseconds; none beyond a minute.
    pub freshness_p50_millis: Option<f64>,
    /// The same for 99 % of records.
    pub freshness_p99_millis: Option<f64>,
    /// The longest, in milliseconds.
    pub freshness_max_millis: Option<f64>,
    /// The promised time, in milliseconds; none if there is no promise.
    pub promised_millis: Option<f64>,
    /// Records that took longer than the contract promises.
    pub breaches: u64,
    /// When the last of them was acknowledged, in milliseconds since the Unix epoch.
    pub last_breach_unix_millis: Option<u64>,
    /// Records in flight that have already taken longer, each of which is a breach once it is acknowledged.
    pub overdue: u64,
}

impl ContractMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let freshness = "Time from commit to acknowledgement, by contract";
        registry.register_with_unit("contract_freshness", freshness, Unit::Seconds, self.freshness.clone());
        let promised = "Freshness that the contract promises";
        registry.register_with_unit("contract_promised_freshness", promised, Unit::Seconds, self.promised.clone());
        registry.register(
            "contract_breaches",
            "Records that took longer than the contract promises",
            self.breaches.clone(),
        );
        let records = Unit::Other("records".to_owned());
        let overdue = "Records in flight that have already taken longer than the contract promises";
        registry.register_with_unit("contract_overdue", overdue, records, self.overdue.clone());
        let violations = "Records that violate their contract and were published anyway";
        registry.register("contract_violations", violations, self.violations.clone());
        let dead_letters = "Dead letters by contract";
        registry.register("contract_dead_letters", dead_letters, self.dead_letters.clone());
    }

    /// Starts to measure a contract version.
    pub fn add(&self, id: &SchemaVersionId, promise: Option<Duration>) -> Arc<ContractMeter> {
        let label = ContractLabel { contract: id.name.to_string(), version: id.version.to_string() };
        if let Some(promise) = promise {
            self.promised.get_or_create(&label).set(promise.as_secs_f64());
        }
        let meter = Arc::new(ContractMeter {
            promise,
            freshness: self.freshness.get_or_create_owned(&label),
            longest_micros: AtomicU64::new(0),
            breaches: self.breaches.get_or_create_owned(&label),
            last_breach: AtomicU64::new(0),
            overdue: self.overdue.get_or_create_owned(&label),
            violations: self.violations.get_or_create_owned(&label),
            dead_letters: self.dead_letters.get_or_create_owned(&label),
            label,
        });
        self.meters().push(Arc::clone(&meter));
        meter
    }

    /// All of them, by name and version.
    #[must_use]
    pub fn status(&self) -> Vec<ContractStatus> {
        let mut all: Vec<_> = self.meters().iter().map(|meter| meter.status()).collect();
        all.sort_by(|a, b| (&a.contract, &a.version).cmp(&(&b.contract, &b.version)));
        all
    }

    fn meters(&self) -> MutexGuard<'_, Vec<Arc<ContractMeter>>> {
        // An entry is added completely, or not at all.
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ContractMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.meters().iter()).finish()
    }
}

impl ContractMeter {
    /// How soon after its commit a record is promised to be in Kafka.
    #[must_use]
    pub const fn promise(&self) -> Option<Duration> {
        self.promise
    }

    /// `records` of a kind were acknowledged at `clock`, each this long after its commit.
    pub fn observe(&self, kind: RecordKind, freshness: Duration, records: u64, clock: SystemTime) {
        match kind {
            RecordKind::Record => {}
            RecordKind::Violating => _ = self.violations.inc_by(records),
            RecordKind::DeadLetter => {
                self.dead_letters.inc_by(records);
                return;
            }
        }
        self.freshness.observe(freshness, records);
        self.longest_micros.fetch_max(micros(freshness), Ordering::Relaxed);
        if self.promise.is_some_and(|promise| freshness > promise) {
            self.breaches.inc_by(records);
            let since_epoch = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.last_breach.store(micros(since_epoch) / 1_000, Ordering::Relaxed);
        }
    }

    /// This many of its records are in flight and have taken longer than promised.
    pub fn set_overdue(&self, records: u64) {
        self.overdue.set(records);
    }

    fn status(&self) -> ContractStatus {
        let millis = |duration: Duration| micros(duration) as f64 / 1_000.0;
        let quantile = |share| self.freshness.quantile(share).map(millis);
        let events = self.freshness.count();
        let longest = Duration::from_micros(self.longest_micros.load(Ordering::Relaxed));
        ContractStatus {
            contract: self.label.contract.clone(),
            version: self.label.version.clone(),
            events,
            violations: self.violations.get(),
            dead_letters: self.dead_letters.get(),
            freshness_p50_millis: quantile(0.5),
            freshness_p99_millis: quantile(0.99),
            freshness_max_millis: (events > 0).then(|| millis(longest)),
            promised_millis: self.promise.map(millis),
            breaches: self.breaches.get(),
            last_breach_unix_millis: Some(self.last_breach.load(Ordering::Relaxed)).filter(|at| *at > 0),
            overdue: self.overdue.get(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: u64 = 1_700_000_000_000;

    fn meter(contracts: &ContractMetrics, promise: Option<Duration>) -> Arc<ContractMeter> {
        contracts.add(&SchemaVersionId { name: "order.placed".into(), version: "1".into() }, promise)
    }

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(LONG_AGO)
    }

    #[test]
    fn late_records_are_breaches_and_dead_letters_are_not() {
        let contracts = ContractMetrics::default();
        let meter = meter(&contracts, Some(Duration::from_secs(1)));
        meter.observe(RecordKind::Record, Duration::from_secs(1), 97, clock());
        let before = contracts.status().remove(0);
        assert_eq!(
            (before.events, before.breaches, before.last_breach_unix_millis),
            (97, 0, None),
            "as long is not longer"
        );
        meter.observe(RecordKind::Violating, Duration::from_millis(1_001), 2, clock());
        meter.observe(RecordKind::DeadLetter, Duration::from_secs(3_600), 5, clock());
        meter.set_overdue(3);
        let status = contracts.status().remove(0);
        let expected = ContractStatus {
            contract: "order.placed".to_owned(),
            version: "1".to_owned(),
            events: 99,
            violations: 2,
            dead_letters: 5,
            freshness_p50_millis: Some(1_000.0),
            freshness_p99_millis: Some(2_500.0),
            freshness_max_millis: Some(1_001.0),
            promised_millis: Some(1_000.0),
            breaches: 2,
            last_breach_unix_millis: Some(LONG_AGO),
            overdue: 3,
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn without_a_promise_there_are_no_breaches() {
        let contracts = ContractMetrics::default();
        meter(&contracts, None).observe(RecordKind::Record, Duration::from_secs(3_600), 1, clock());
        let status = contracts.status().remove(0);
        assert_eq!((status.events, status.breaches, status.promised_millis), (1, 0, None));
        assert_eq!((status.freshness_p50_millis, status.freshness_max_millis), (None, Some(3_600_000.0)));
    }
}
