//! The results, typed; one JSON object for scripts.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::child::Ended;
use super::facts::{Machine, PostgresFacts, ServersFacts};
use super::{Options, Part, Payload, Shape};
use crate::config::Delivery;
use crate::lab::environment::LeftBehind;

/// The result of the benchmark. A part that was not requested is empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The environment.
    pub machine: Machine,
    /// The PostgreSQL.
    pub postgres: PostgresFacts,
    /// The Kafka, if one was needed.
    pub kafka: Option<String>,
    /// The requested measurements.
    pub settings: SettingsReport,
    /// The cost of statements.
    pub emit: Vec<EmitCost>,
    /// From the relay's start to its first record.
    pub start: Vec<StartReport>,
    /// From a commit to a consumer.
    pub latency: Vec<LatencyReport>,
    /// How fast backlogs are read.
    pub throughput: Vec<ThroughputReport>,
    /// What was created on the user's servers and could not be removed.
    pub left_behind: Vec<String>,
}

/// The requested measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SettingsReport {
    /// What was measured.
    pub parts: Vec<Part>,
    /// Events per backlog.
    pub events: u64,
    /// How many times each reader read a backlog.
    pub runs: u32,
}

/// A measured statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Statement {
    /// An insert into a business table.
    InsertOrder,
    /// An insert into a table like `outbox.event` that is neither partitioned nor published, without a function: the baseline of the
    /// comparison.
    BareInsert,
    /// An insert into `outbox.event`.
    InsertEvent,
    /// `outbox.emit`.
    Emit,
    /// `outbox.emit_message`.
    EmitMessage,
}

/// The cost of a statement: medians of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct EmitCost {
    /// The statement.
    pub statement: Statement,
    /// Statements per transaction. With one, the cost includes the commit.
    pub per_transaction: u64,
    /// The client's time, in microseconds per statement.
    pub micros: f64,
    /// CPU time of the server's process, in microseconds per statement, if the server runs on this machine and it is Linux.
    pub server_cpu_micros: Option<f64>,
    /// WAL, in bytes per statement.
    pub wal_bytes: f64,
}

/// A reader of a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BacklogReader {
    /// `pg_recvlogical` to `/dev/null`.
    PgRecvlogical,
    /// walpost without Kafka.
    WalpostNull,
    /// A plain librdkafka producer that has the records in memory.
    Producer,
    /// walpost into Kafka.
    Walpost,
}

/// One reader on one backlog.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ThroughputReport {
    /// The reader.
    pub reader: BacklogReader,
    /// Its delivery guarantee, if it has one.
    pub delivery: Option<Delivery>,
    /// Whether it checks each payload against a schema.
    pub checked: bool,
    /// The type of the payload.
    pub payload: Payload,
    /// Events per transaction.
    pub per_transaction: u64,
    /// Topics, keys and payloads of the events.
    pub shape: Shape,
    /// Events in the backlog.
    pub events: u64,
    /// All runs.
    pub runs: Vec<RunReport>,
    /// The median of each figure.
    pub median: RunReport,
    /// The median rate relative to that of pg_recvlogical in the same minutes, if that was measured.
    pub of_pg_recvlogical: Option<f64>,
    /// The median rate relative to that of a plain producer in the same minutes, if that was measured.
    pub of_producer: Option<f64>,
    /// The median rate relative to the slower of pg_recvlogical and the plain producer, if either was measured.
    pub of_lower: Option<f64>,
    /// The median rate relative to that of the same reader without checking, if payloads are checked.
    pub of_unchecked: Option<f64>,
}

/// One run of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RunReport {
    /// From its start to the first event, in milliseconds, if that is known.
    pub start_millis: Option<f64>,
    /// From the first event to the last; from the start, if the first is unknown.
    pub seconds: f64,
    /// Events in this time.
    pub events_per_second: f64,
    /// CPU time of its process from start to end, user and system, in microseconds per event.
    pub cpu_micros_per_event: f64,
    /// Its peak resident memory, in bytes; that of the plain producer includes the records.
    pub peak_rss_bytes: u64,
    /// The `linger.ms` with which the plain producer was fastest; `None` for other readers.
    pub linger_ms: Option<u32>,
}

/// From the relay's start to its first record, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StartReport {
    /// Its delivery guarantee.
    pub delivery: Delivery,
    /// All runs.
    pub runs_millis: Vec<f64>,
    /// Their median.
    pub median_millis: f64,
}

/// From the return of a commit to a consumer that has the record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LatencyReport {
    /// The relay's delivery guarantee.
    pub delivery: Delivery,
    /// The type of the payload.
    pub payload: Payload,
    /// Topics, keys and payloads of the events. Row headers and payload size apply to backlogs only.
    pub shape: Shape,
    /// Requested events per second, each in a separate transaction.
    pub rate: u32,
    /// Committed events per second.
    pub achieved_rate: f64,
    /// Measured events.
    pub events: u64,
    /// The median, in milliseconds.
    pub p50_millis: f64,
    /// The 99th percentile.
    pub p99_millis: f64,
    /// The 99.9th percentile.
    pub p999_millis: f64,
    /// The maximum.
    pub max_millis: f64,
    /// CPU time of the relay, user and system, as a fraction of one core.
    pub relay_cpu: f64,
}

impl Report {
    pub(super) fn new(options: &Options, facts: ServersFacts) -> Self {
        let settings = SettingsReport { parts: options.parts.clone(), events: options.events, runs: options.runs };
        Self {
            machine: Machine::read(),
            postgres: facts.postgres,
            kafka: facts.kafka,
            settings,
            emit: Vec::new(),
            start: Vec::new(),
            latency: Vec::new(),
            throughput: Vec::new(),
            left_behind: Vec::new(),
        }
    }

    /// Adds what could not be removed.
    pub(super) fn with_left_behind(mut self, left: &[LeftBehind]) -> Self {
        self.left_behind = left.iter().map(ToString::to_string).collect();
        self
    }
}

impl RunReport {
    /// Of `events`, `later` arrived after the `first` ones.
    pub(super) fn new(
        events: u64,
        later: u64,
        started: Instant,
        first: Option<Instant>,
        last: Instant,
        ended: &Ended,
    ) -> Self {
        // Where all arrived at once, in one transaction or within one sample, the start is all that there is to measure from.
        let (since, timed) = match first.filter(|_| later > 0) {
            Some(first) => (first, later),
            None => (started, events),
        };
        let took = last.saturating_duration_since(since).max(Duration::from_micros(1));
        Self {
            start_millis: first.map(|first| millis(first.saturating_duration_since(started))),
            seconds: took.as_secs_f64(),
            events_per_second: timed as f64 / took.as_secs_f64(),
            cpu_micros_per_event: ended.cpu.as_secs_f64() * 1e6 / events as f64,
            peak_rss_bytes: ended.peak_rss_bytes,
            linger_ms: None,
        }
    }

    /// The median of each figure separately.
    pub(super) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let starts: Vec<f64> = runs.iter().filter_map(|run| run.start_millis).collect();
        let mut memory: Vec<u64> = runs.iter().map(|run| run.peak_rss_bytes).collect();
        memory.sort_unstable();
        let mut lingers: Vec<u32> = runs.iter().filter_map(|run| run.linger_ms).collect();
        lingers.sort_unstable();
        Self {
            start_millis: (!starts.is_empty()).then(|| median(starts)),
            seconds: of(|run| run.seconds),
            events_per_second: of(|run| run.events_per_second),
            cpu_micros_per_event: of(|run| run.cpu_micros_per_event),
            peak_rss_bytes: memory.get(memory.len() / 2).copied().unwrap_or(0),
            linger_ms: lingers.get(lingers.len() / 2).copied(),
        }
    }
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The median; 0 if empty.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

/// The quantile (0.99: 99 of 100) of ascending figures; 0 if empty.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a vector")]
pub(super) fn quantile(ascending: &[f64], share: f64) -> f64 {
    let place = (share * ascending.len() as f64).ceil() as usize;
    ascending.get(place.max(1) - 1).or(ascending.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!([vec![], vec![3.0], vec![1.0, 4.0], vec![9.0, 1.0, 2.0]].map(median), [0.0, 3.0, 2.5, 2.0]);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| quantile(&hundred, share)), [50.0, 99.0, 100.0, 100.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
