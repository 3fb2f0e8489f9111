//! The metrics of `/metrics`, each a typed handle that the driver updates with an atomic operation.
//!
//! No label has more values than are listed here, because users choose the names of topics and schemas, which would
//! create as many series; except for those of [`contracts`](super::contracts), which are limited.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::contracts::ContractMetrics;
use super::known::KnownGauge;
use super::latency::LatencyHistogram;
use super::process::Process;
use super::sides::{Side, Sides};
use super::text_format;
use crate::relay::Counters;
use crate::relay::boundary::{Lsn, Position, RefusalCode};
use crate::relay::delivery::ledger::Owed;

type Count = Gauge<u64, std::sync::atomic::AtomicU64>;

/// A relay's progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressReport {
    /// The last event taken.
    pub position: Position,
    /// How far the stream has been read.
    pub received: Lsn,
    /// How far the slot may be confirmed: everything before it is in Kafka, and so is the position, if positions are
    /// stored there.
    pub flush: Lsn,
    /// Where the server's WAL ends; `None` while that is unknown.
    pub server_end: Option<Lsn>,
    /// What is in flight.
    pub owed: Owed,
    /// Something that is not in flight yet is waiting for Kafka: an event, or a position that is to be written or read.
    pub waits: bool,
    /// Age of the oldest event that is in flight or held up by something; zero if there is none, `None` if there may be
    /// some in Postgres.
    pub lag: Option<Duration>,
}

/// A label whose values are known when the relay starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// Every metric.
pub struct Metrics {
    /// `walpost_events_total`: records that Kafka has acknowledged, including dead letters.
    events: Counter,
    /// `walpost_bytes_total`: bytes of those records' keys, values and headers.
    bytes: Counter,
    /// `walpost_returned_total`: records that Kafka returned and that were sent again.
    returned: Counter,
    /// `walpost_skipped_total`: events skipped after a reconnection, because they had been read before it.
    skipped: Counter,
    /// `walpost_violations_total`: records that break their contract and were published all the same.
    violations: Counter,
    /// `walpost_forged_messages_total`: logical messages with the prefix of events that `outbox.emit_message` did not write.
    forged_messages: Counter,
    /// `walpost_ignored_rows_total`: rows of tables that are in the publication and not in the configuration.
    ignored_rows: Counter,
    /// `walpost_dead_letters_total{code}`: dead letters by error code, in the order of [`RefusalCode::ALL`].
    dead_letters: [Counter; RefusalCode::ALL.len()],
    /// `walpost_in_flight_records`.
    in_flight_records: Count,
    /// `walpost_in_flight_bytes`.
    in_flight_bytes: Count,
    /// `walpost_received_lsn_bytes`: how far the stream has been read.
    received_lsn: Count,
    /// `walpost_flush_lsn_bytes`: how far everything is in Kafka.
    flush_lsn: Count,
    /// `walpost_ready` and `walpost_standby`, as of the last request.
    state: [Gauge; 2],
    /// `walpost_lag_bytes`: WAL between the flush LSN and the end of the server's WAL.
    lag_bytes: KnownGauge<u64>,
    /// `walpost_lag_seconds`: age of the oldest event that is not in Kafka; 0 if there is none.
    lag_seconds: KnownGauge<f64>,
    /// `walpost_retained_wal_bytes`: WAL that the slot retains on the server.
    retained_wal_bytes: KnownGauge<u64>,
    /// `walpost_max_retained_wal_bytes`: retained WAL above which the relay is not ready; 0 if there is no limit.
    max_retained_wal_bytes: Count,
    /// `walpost_maintain_failures_total`: calls of `outbox.maintain` that failed.
    maintain_failures: Counter,
    /// `walpost_partitions_ahead`: how many days ahead `outbox.event` has partitions.
    partitions_ahead: KnownGauge<i64>,
    /// `walpost_rewind_wal_bytes`: WAL that the slot of the rewind window keeps on the server's disk.
    rewind_wal_bytes: Count,
    /// `walpost_rewind_seconds`: how far back the rewind window reaches.
    rewind_seconds: Count,
    /// `walpost_unsendable_lsn_bytes`: the transaction that Postgres can't send; 0 if there is none.
    unsendable_lsn: Count,
    /// The connections.
    pub sides: Sides,
    /// `walpost_publish_latency_seconds`: from a commit to Kafka's acknowledgement of its records. For records read
    /// from a backlog it is the backlog's age.
    pub publish_latency: LatencyHistogram,
    /// `walpost_contract_*{contract,version}`: the service levels of each contract version.
    pub contracts: ContractMetrics,
    registry: Registry,
    process: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("walpost");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The relay's version", build);
        let dead_letters = Family::<CodeLabel, Counter>::default();
        let code = |code: RefusalCode| CodeLabel { code: code.as_str() };
        let mut process = Registry::with_prefix("process");
        process.register_collector(Box::new(Process));
        let metrics = Self {
            events: Counter::default(),
            bytes: Counter::default(),
            returned: Counter::default(),
            skipped: Counter::default(),
            violations: Counter::default(),
            forged_messages: Counter::default(),
            ignored_rows: Counter::default(),
            dead_letters: RefusalCode::ALL.map(|of| dead_letters.get_or_create_owned(&code(of))),
            in_flight_records: Count::default(),
            in_flight_bytes: Count::default(),
            received_lsn: Count::default(),
            flush_lsn: Count::default(),
            state: Default::default(),
            lag_bytes: KnownGauge::default(),
            lag_seconds: KnownGauge::default(),
            retained_wal_bytes: KnownGauge::default(),
            max_retained_wal_bytes: Count::default(),
            maintain_failures: Counter::default(),
            partitions_ahead: KnownGauge::default(),
            rewind_wal_bytes: Count::default(),
            rewind_seconds: Count::default(),
            unsendable_lsn: Count::default(),
            sides: Sides::new(&mut registry),
            publish_latency: LatencyHistogram::default(),
            contracts: ContractMetrics::default(),
            registry: Registry::default(),
            process,
        };
        metrics.register_flow(&mut registry);
        metrics.register_slot(&mut registry);
        registry.register("dead_letters", "Dead letters by error code", dead_letters);
        metrics.contracts.register(&mut registry);
        Self { registry, ..metrics }
    }

    fn register_flow(&self, registry: &mut Registry) {
        registry.register("events", "Records that Kafka has acknowledged", self.events.clone());
        registry.register("bytes", "Bytes of keys, values and headers of acknowledged records", self.bytes.clone());
        registry.register("returned", "Records returned by the client and sent again", self.returned.clone());
        registry.register(
            "skipped",
            "Events skipped because they had been read before a reconnection",
            self.skipped.clone(),
        );
        let violations = "Records that violate their contract and were published anyway";
        registry.register("violations", violations, self.violations.clone());
        let forged = "Logical messages with the prefix outbox that outbox.emit_message did not write";
        registry.register("forged_messages", forged, self.forged_messages.clone());
        let ignored = "Rows of tables that are in the publication and not in the configuration; they are not published";
        registry.register("ignored_rows", ignored, self.ignored_rows.clone());
        let records = Unit::Other("records".to_owned());
        let in_flight = "Records or bytes sent to Kafka and not yet acknowledged";
        registry.register_with_unit("in_flight", in_flight, records, self.in_flight_records.clone());
        registry.register_with_unit("in_flight", in_flight, Unit::Bytes, self.in_flight_bytes.clone());
        let latency = "Time from commit to acknowledgement";
        registry.register_with_unit("publish_latency", latency, Unit::Seconds, self.publish_latency.clone());
    }

    fn register_slot(&self, registry: &mut Registry) {
        let [ready, standby] = self.state.clone();
        registry.register("ready", "Whether /readyz returns 200, 1 or 0", ready);
        registry.register("standby", "Whether another relay holds the slot, 1 or 0", standby);
        let lag = "WAL between the flush LSN and the end of the server's WAL; absent while that is unknown";
        registry.register_with_unit("lag", lag, Unit::Bytes, self.lag_bytes.clone());
        let retained = "WAL that the slot retains on the server; absent while that is unknown";
        registry.register_with_unit("retained_wal", retained, Unit::Bytes, self.retained_wal_bytes.clone());
        let mut bytes = |name: &str, help: &str, gauge: &Count| {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        };
        bytes("received_lsn", "LSN up to which the stream has been read", &self.received_lsn);
        bytes("flush_lsn", "LSN up to which everything is in Kafka", &self.flush_lsn);
        bytes(
            "max_retained_wal",
            "Retained WAL above which the relay is not ready; 0 if there is no limit",
            &self.max_retained_wal_bytes,
        );
        bytes("rewind_wal", "WAL that the rewind window retains on the server", &self.rewind_wal_bytes);
        bytes(
            "unsendable_lsn",
            "LSN of the transaction that Postgres can't send; 0 if there is none",
            &self.unsendable_lsn,
        );
        let failures = "Calls of outbox.maintain that failed";
        registry.register("maintain_failures", failures, self.maintain_failures.clone());
        let ahead = "Days from now for which outbox.event has partitions";
        registry.register("partitions_ahead", ahead, self.partitions_ahead.clone());
        let window = "How far back the rewind window reaches";
        registry.register_with_unit("rewind", window, Unit::Seconds, self.rewind_seconds.clone());
        let age = "Age of the oldest event that is not in Kafka; absent while that is unknown";
        registry.register_with_unit("lag", age, Unit::Seconds, self.lag_seconds.clone());
    }

    /// Sets the metrics to the core's counters, which also count from the start of the process.
    pub fn set_counters(&self, counters: &Counters) {
        raise(&self.events, counters.acknowledged);
        raise(&self.returned, counters.returned);
        raise(&self.skipped, counters.skipped);
        raise(&self.violations, counters.violations);
        raise(&self.forged_messages, counters.forged_messages);
        raise(&self.ignored_rows, counters.ignored_rows);
        for (counter, count) in self.dead_letters.iter().zip(counters.dead_letters) {
            raise(counter, count);
        }
    }

    /// Adds bytes of acknowledged records.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }

    /// Sets the relay's progress.
    pub(super) fn set_progress(&self, progress: &ProgressReport) {
        self.in_flight_records.set(progress.owed.records as u64);
        self.in_flight_bytes.set(progress.owed.bytes as u64);
        self.received_lsn.set(progress.received.0);
        self.flush_lsn.set(progress.flush.0);
        // A standby relay has no place in the WAL yet.
        let server_end = progress.server_end.filter(|_| progress.flush > Lsn(0));
        self.lag_bytes.set(server_end.map(|end| end.0.saturating_sub(progress.flush.0)));
        self.lag_seconds.set(progress.lag.map(|lag| lag.as_secs_f64()));
    }

    /// Sets whether the relay is ready, and whether it stands by.
    pub(super) fn set_state(&self, is_ready: bool, is_standby: bool) {
        for (gauge, is) in self.state.iter().zip([is_ready, is_standby]) {
            gauge.set(i64::from(is));
        }
    }

    /// How much WAL the slot retains is unknown: the server can't be asked.
    pub fn forget_retained_wal(&self) {
        self.retained_wal_bytes.set(None);
    }

    /// Sets how much WAL the slot retains, in bytes.
    pub fn set_retained_wal_bytes(&self, bytes: u64, limit: Option<u64>) {
        self.retained_wal_bytes.set(Some(bytes));
        self.max_retained_wal_bytes.set(limit.unwrap_or_default());
    }

    /// Counts a failed call of `outbox.maintain`.
    pub(super) fn count_maintain_failure(&self) {
        self.maintain_failures.inc();
    }

    /// Sets how many days ahead there are partitions.
    pub fn set_partitions_ahead(&self, days: i64) {
        self.partitions_ahead.set(Some(days));
    }

    /// Sets how much WAL the rewind window retains, in bytes, and how far back it reaches, in seconds.
    pub(super) fn set_rewind(&self, bytes: u64, seconds: u64) {
        self.rewind_wal_bytes.set(bytes);
        self.rewind_seconds.set(seconds);
    }

    /// Sets the LSN of the transaction that Postgres can't send.
    pub(super) fn set_unsendable(&self, lsn: Option<Lsn>) {
        self.unsendable_lsn.set(lsn.unwrap_or_default().0);
    }

    /// The metrics as numbers, for the status.
    pub(super) fn read(&self) -> MetricValues {
        MetricValues {
            events: self.events.get(),
            bytes: self.bytes.get(),
            returned: self.returned.get(),
            violations: self.violations.get(),
            dead_letters: std::array::from_fn(|of| self.dead_letters[of].get()),
            in_flight_records: self.in_flight_records.get(),
            in_flight_bytes: self.in_flight_bytes.get(),
            received_lsn: Lsn(self.received_lsn.get()),
            flush_lsn: Lsn(self.flush_lsn.get()),
            lag_bytes: self.lag_bytes.get(),
            lag_seconds: self.lag_seconds.get(),
            retained_wal_bytes: self.retained_wal_bytes.get(),
            reconnects: Side::ALL.map(|side| self.sides.reconnects(side)),
        }
    }

    /// All metrics in the OpenMetrics text format, version 1.0.0.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let whole =
            text::encode_registry(&mut text, &self.registry).and_then(|()| text::encode(&mut text, &self.process));
        whole.expect("a String takes everything");
        text
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn encode_text(&self) -> String {
        text_format::of_openmetrics(&self.encode())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// The values of all metrics at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricValues {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) returned: u64,
    pub(super) violations: u64,
    pub(super) dead_letters: [u64; RefusalCode::ALL.len()],
    pub(super) in_flight_records: u64,
    pub(super) in_flight_bytes: u64,
    pub(super) received_lsn: Lsn,
    pub(super) flush_lsn: Lsn,
    pub(super) lag_bytes: Option<u64>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) retained_wal_bytes: Option<u64>,
    pub(super) reconnects: [u64; Side::ALL.len()],
}

/// Raises a counter to a total. There is one writer, so nothing interferes.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
