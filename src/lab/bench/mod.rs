//! `walpost bench`: cost per event, throughput and latency to Kafka, on these servers and this machine.
//!
//! The relay is measured as users run it: `walpost run` in a separate process, whose CPU time and memory are measured alone. On copies
//! of the same slot, and in turn with it, run the upper bounds: `pg_recvlogical` to `/dev/null`, which does nothing with a row,
//! walpost with a sink that discards records, and a plain Kafka producer that has the records in memory.
//!
//! # Layout
//!
//! - `shape`: topics, partitions, keys and sizes of a load
//! - `stage`, `backlog`: the database, the topics, and the events to read
//! - `child`: a child process whose time and memory are measured
//! - `recvlogical`, `null`, `producer`, `relay`: the readers of a backlog; `arrivals` observes the relay's records in Kafka
//! - `emit`, `throughput`, `latency`: the parts
//! - `facts`, `report`, `table`: the environment, the results and their presentation

mod stage;
mod shape;
mod backlog;
mod child;
mod emit;
mod recvlogical;
mod null;
mod without_kafka;
mod producer;
mod relay;
mod arrivals;
mod throughput;
mod latency;
mod facts;
mod report;
mod table;
mod error;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use error::BenchError;
pub(crate) use null::run as run_null;
pub(crate) use producer::run as run_producer;
pub(crate) use report::Report;
pub(crate) use shape::{Shape, Shapes};

use stage::Stage;

use crate::config::Delivery;
use crate::lab::environment::{Named, Servers, View, Wanted};
use crate::lab::sandbox::{Durability, KafkaOptions, KafkaSource, PostgresOptions, Tuning};
use crate::signals::Interrupts;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The cost of outbox.emit compared with a bare insert: time, CPU, bytes of WAL.
    Emit,
    /// How fast this PostgreSQL decodes: pg_recvlogical, and walpost without Kafka.
    Decode,
    /// How fast the relay publishes a backlog to Kafka, with its CPU and its memory.
    Relay,
    /// The latency from a commit to a consumer.
    Latency,
    /// The time from the relay's start to its first record.
    Start,
}

/// The type of the payload column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// As in `outbox.event`.
    Json,
    /// In a table that is otherwise the same.
    Jsonb,
    /// In a table that is otherwise the same.
    Bytea,
}

/// The benchmark's settings.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The servers that the user named.
    pub named: Named,
    /// What to measure.
    pub parts: Vec<Part>,
    /// Events per backlog.
    pub events: u64,
    /// Events per transaction: one backlog for each number.
    pub per_transaction: Vec<u64>,
    /// Payload types: one backlog for each.
    pub payloads: Vec<Payload>,
    /// Topics, keys and payloads of the events: one backlog and one load for each.
    pub shapes: Vec<Shape>,
    /// The relay's delivery guarantees to measure.
    pub deliveries: Vec<Delivery>,
    /// Events per second for the latency measurement.
    pub rates: Vec<u32>,
    /// How long to hold each rate.
    pub duration: Duration,
    /// How many times each reader reads a backlog.
    pub runs: u32,
    /// Whether to also read backlogs with their payloads checked.
    pub check: bool,
}

impl Payload {
    /// The type's name, in SQL and in names.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Bytea => "bytea",
        }
    }
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether Kafka is needed.
    fn needs_kafka(&self) -> bool {
        [Part::Relay, Part::Latency, Part::Start].into_iter().any(|part| self.has(part))
    }

    /// The servers to start if the user names none. Durable as in production; no checkpoint or vacuum happens during a run.
    fn wanted(&self) -> Wanted {
        let settings = [("max_wal_size", "16GB"), ("checkpoint_timeout", "1h"), ("autovacuum", "off")];
        let postgres = PostgresOptions {
            durability: Durability::Fsync,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..PostgresOptions::default()
        };
        // The in-process stand-in is no Kafka worth measuring.
        let kafka = KafkaOptions { source: KafkaSource::Real, tuning: Tuning::Throughput, ..KafkaOptions::default() };
        Wanted { postgres, kafka: self.needs_kafka().then_some(kafka) }
    }
}

/// Runs all requested measurements, and removes what it created.
///
/// # Errors
/// A server is unavailable, a measured program fails, or the user interrupts: the first signal ends it.
pub(crate) async fn run(options: &Options, view: &View, interrupts: &Interrupts) -> Result<Report, BenchError> {
    let started = interrupts.stop.run_until_cancelled(Servers::start(&options.named, options.wanted(), view)).await;
    let servers = match started {
        None => Err(BenchError::Interrupted),
        Some(servers) => servers.map_err(BenchError::from),
    };
    let result = match servers {
        Err(error) => Err(error),
        Ok(servers) => {
            let stage = Arc::new(Stage::name(servers)?);
            let measured = interrupts.stop.run_until_cancelled(measure(options, &stage, view)).await;
            let left = interrupts.abort.run_until_cancelled(stage.remove()).await.unwrap_or_default();
            left.iter().for_each(|left| view.note(&format!("can't remove {left}")));
            measured.unwrap_or(Err(BenchError::Interrupted)).map(|report| report.with_left_behind(&left))
        }
    };
    view.clear();
    result
}

async fn measure(options: &Options, stage: &Stage, view: &View) -> Result<Report, BenchError> {
    let mut connection = stage.prepare(options).await?;
    stage
        .made()
        .into_iter()
        .for_each(|made| view.note(&format!("created for the benchmark, removed afterwards: {made}")));
    if let Some(left) = stage.leaves(options) {
        view.note(&format!("created for the benchmark and kept: {left}"));
    }
    let mut report = Report::new(options, facts::servers(stage, &mut connection).await?);
    if report.machine.debug_build {
        view.note("this walpost was built without optimization: its figures are meaningless");
    }
    if options.has(Part::Emit) {
        report.emit = emit::measure(options, stage, view).await?;
    }
    if options.has(Part::Start) {
        report.start = throughput::start(options, stage, view).await?;
    }
    if options.has(Part::Latency) {
        report.latency = latency::measure(options, stage, view).await?;
    }
    if options.has(Part::Decode) || options.has(Part::Relay) {
        report.throughput = throughput::measure(options, stage, view).await?;
    }
    Ok(report)
}
